// Images, trash, libvirt and journal in memory, for the rooms of restores and of proofs. A life of siphond can be ended at any effect, as kill -9 does; the
// world stays for the next one.

import { pino } from 'pino';
import { createJournal } from '../../../../src/sidecar/journal.ts';
import { Restores } from '../../../../src/snapshot/restore/room.ts';
import { Proofs } from '../../../../src/snapshot/verify/room.ts';
import { OperatingError } from '../../../../src/wire/errors.ts';
import type { JobRecord } from '../../../../src/wire/journal.ts';
import type { CephPort, Cluster, LibvirtPort } from '../../../../src/wire/ports.ts';
import {
  type RestoreMethods,
  type RestoreRecord,
  stagingName,
} from '../../../../src/wire/restore-protocol.ts';
import type { Proof } from '../../../../src/wire/verify-api.ts';
import type { GuestLook } from '../../../../src/wire/verify-protocol.ts';
import type { SnapshotSet } from '../../../../src/wire/vocabulary.ts';

export const UUID = '11111111-2222-4333-8444-555555555555';
const source = (image: string, target: string) =>
  `<disk type='network' device='disk'><source protocol='rbd' name='vms/${image}'/><target dev='${target}'/></disk>`;
const XML = `<domain><name>web</name><uuid>${UUID}</uuid><devices>${source('root', 'vda')}${source('data', 'vdb')}</devices></domain>`;

const diskOf = (target: string, image: string) => ({
  target,
  image,
  pool: 'vms',
  namespace: '',
  poolId: 1,
  imageId: `${image}-0`,
  snapId: 4,
  sizeBytes: 1024,
});
export const SET = {
  schema: 1,
  id: 's1',
  fsid: 'f',
  domainUuid: UUID,
  domainName: 'web',
  disks: [diskOf('vda', 'root'), diskOf('vdb', 'data')],
  leftOut: [],
  domainXml: XML,
} as unknown as SnapshotSet;

export class World {
  /** Names to ids, of what is not in the trash. */
  readonly images = new Map([
    ['root', 'root-0'],
    ['data', 'data-0'],
  ]);
  readonly trash = new Set<string>();
  readonly records = new Map<string, RestoreRecord>();
  readonly jobs = new Map<string, JobRecord>();
  /** XML of the domains that libvirt has, by UUID. */
  readonly domains = new Map([[UUID, XML]]);
  isActive = false;
  /** UUIDs of the domains of proofs that run. */
  readonly booted = new Set<string>();
  /** What their agents say. */
  guest: GuestLook = UP;
  /** What is kept with the set. */
  proof: Proof | undefined;
  freeBytes = 2 ** 32;
  /** May throw before a call of Ceph or libvirt takes effect. */
  before: (method: string, params: unknown) => void = () => undefined;
  rolledBack = 0;
  flattened: string[] = [];
  #clones = 0;

  /** All images, those in the trash too. */
  get state() {
    return {
      images: Object.fromEntries([...this.images].toSorted(([a], [b]) => a.localeCompare(b))),
      trash: [...this.trash].toSorted(),
      records: [...this.records.keys()],
      domains: this.domains.size,
      booted: this.booted.size,
      open: [...this.jobs.values()].filter(({ state }) => state === 'open').length,
    };
  }

  methods(): Partial<{
    [K in keyof RestoreMethods | 'status' | 'dropLock' | 'clusterHealth']: (
      params: never,
    ) => unknown;
  }> {
    const { images, trash, records } = this;
    type Params<K extends keyof RestoreMethods> = RestoreMethods[K]['params'];
    return {
      status: () => ({ fsid: 'f', client: 'client.1' }),
      dropLock: () => ({ was: 'absent' }),
      clusterHealth: () => ({ status: 'HEALTH_OK', checks: [], totalBytes: 9, usedBytes: 1 }),
      poolName: () => ({ name: 'vms' }),
      lookRestore: ({ to, oldId }: Params<'lookRestore'>) => {
        const imageId = images.get(to.image);
        return {
          toPoolId: 1,
          source: { kind: 'there', isTrashed: false, isProtected: false, sizeBytes: 1024 },
          ...(oldId !== undefined && { isOldThere: trash.has(oldId) }),
          ...(imageId !== undefined && { present: { imageId, users: [] } }),
        };
      },
      cloneDisk: ({ id, disk }: Params<'cloneDisk'>) => {
        const imageId = `clone-${++this.#clones}`;
        images.set(stagingName(id, disk.target), imageId);
        return { imageId, isProtected: false };
      },
      placeDisk: ({ id, disk }: Params<'placeDisk'>) => {
        const present = images.get(disk.to.image);
        if (present === disk.newId) return null;
        if (present !== disk.oldId) throw failure('mismatch');
        if (present !== undefined) trash.add(present);
        images.set(disk.to.image, disk.newId);
        images.delete(stagingName(id, disk.target));
        return null;
      },
      unplaceDisk: ({ id, disk: { to, target, newId, oldId } }: Params<'unplaceDisk'>) => {
        if (newId !== undefined && images.get(to.image) === newId) images.delete(to.image);
        images.delete(stagingName(id, target));
        if (oldId !== undefined && trash.delete(oldId)) images.set(to.image, oldId);
        return { clone: 'removed' };
      },
      rollBackDisk: () => void this.rolledBack++,
      flattenDisk: ({ disk }: Params<'flattenDisk'>) => void this.flattened.push(disk.newId),
      unprotectSnapshot: () => ({ was: 'absent' }),
      putRestore: (record: RestoreRecord) => void records.set(record.id, structuredClone(record)),
      removeRestore: ({ id }: RestoreRecord) => void records.delete(id),
      findRestores: () =>
        [...records.values()].map((record) => {
          const isThere = record.disks.every(({ oldId = '' }) => trash.has(oldId));
          return isThere ? record : { ...record, isPurged: true };
        }),
    };
  }

  libvirt(method: string, params: { domain?: string; xml?: string }): unknown {
    if (method === 'mayDefine') return null;
    if (method === 'define') {
      this.domains.set(/<uuid>(.*)<\/uuid>/.exec(params.xml ?? '')?.[1] ?? '', params.xml ?? '');
      return { uuid: '' };
    }
    const ofProof = this.#ofProof(method, params);
    if (ofProof !== undefined) return ofProof;
    const xml = this.domains.get(params.domain ?? '');
    if (xml === undefined) throw failure('not-found');
    if (method === 'domainXml') return xml;
    return { uuid: params.domain, isActive: this.isActive, hasManagedSave: false };
  }

  #ofProof(method: string, { domain = '', xml = '' }: { domain?: string; xml?: string }): unknown {
    const { booted } = this;
    if (method === 'startProof') {
      booted.add(/<uuid>(.*)<\/uuid>/.exec(xml)?.[1] ?? '');
      return { kind: 'started' };
    }
    if (method === 'lookAtProof') return booted.has(domain) ? this.guest : { kind: 'gone' };
    if (method === 'attachToProof') return { kind: 'attached' };
    if (method === 'execInProof') {
      return { kind: 'ran', exitCode: 0, output: 'vda\t\text4\tclean\t\nvdb\t\text4\tclean\t' };
    }
    if (method === 'endProof') return { was: booted.delete(domain) ? 'ended' : 'absent' };
    return undefined;
  }
}

const UP: GuestLook = {
  kind: 'answers',
  agent: '10.0',
  filesystems: [{ mountpoint: '/', device: 'vda', type: 'ext4', disks: ['vda'] }],
};

export function failure(code: 'not-found' | 'mismatch' | 'busy' | 'unavailable'): OperatingError {
  return new OperatingError({ code, op: 'call', subject: 'test' });
}

/** A call that never returns: whoever made it is dead. */
const never = new Promise<never>(() => undefined);

export class Life {
  readonly room: Restores;
  readonly proofs: Proofs;
  readonly journal;
  effects = 0;
  isTaking = false;
  readonly died = Promise.withResolvers<'died'>();
  readonly #world: World;
  readonly #endsAt: number;

  constructor(world: World, endsAt = Number.POSITIVE_INFINITY) {
    this.#world = world;
    this.#endsAt = endsAt;
    const log = pino({ level: 'silent' });
    const rows = {
      put: (record: JobRecord) => {
        if (this.#effect()) world.jobs.set(record.id, structuredClone(record));
      },
      get: (id: string) => world.jobs.get(id),
      open: () => [...world.jobs.values()].filter(({ state }) => state === 'open'),
      list: () => [...world.jobs.values()],
    };
    const methods = world.methods();
    const ceph = {
      call: (method: keyof typeof methods, params: never) =>
        this.#native(method, params, () => methods[method]?.(params)),
    };
    const libvirt = {
      call: (method: string, params: never) =>
        this.#native(method, params, () => world.libvirt(method, params)),
    };
    const cluster = { name: 'c', ceph: ceph as unknown as CephPort } as Cluster;
    this.journal = createJournal({ rows, log, now: () => 1 });
    const parts = {
      journal: this.journal,
      byFsid: async () => cluster,
      libvirt: libvirt as unknown as LibvirtPort,
      nvram: {
        pathOf: () => '/nvram',
        keep: async () => undefined,
        drop: async () => undefined,
      },
      log: { info: () => undefined, warn: () => undefined },
      now: () => 1,
      onDefect: (error: unknown) => {
        throw error;
      },
    };
    const uuid = () => UUID.replaceAll('1', '9');
    this.room = new Restores({
      ...parts,
      clusters: () => [cluster],
      findSet: async () => SET,
      isTaking: () => this.isTaking,
      draw: { uuid, mac: () => '52:54:00:00:00:01' },
      host: 'h1',
    });
    const kept = () => {
      const { proof } = world;
      return { ...SET, ...(proof && { proof }), state: 'complete' as const };
    };
    this.proofs = new Proofs({
      ...parts,
      catalogue: { get: (id) => (id === SET.id ? kept() : undefined), list: () => [kept()] },
      limits: () => ({ worstHealth: 'warn', fullPercent: 85, softSnapshots: 9, hardSnapshots: 9 }),
      verify: () => ({ level: 'agent', bootMs: 1, memoryBytesMax: 2 ** 30, vcpusMax: 1 }),
      freeBytes: () => world.freeBytes,
      hasShares: () => true,
      drawUuid: uuid,
      wait: async () => undefined,
      record: async (_, proof) => {
        await this.#native('record', proof, () => (world.proof = proof));
      },
    });
  }

  /** Resolves with how it ended: `died` where this life ended before. */
  async ends(work: () => Promise<{ readonly finished: Promise<unknown> }>): Promise<string> {
    const done = work().then(({ finished }) => finished);
    const told = done.then(
      () => 'done',
      (error: OperatingError) => error.code,
    );
    return Promise.race([told, this.died.promise]);
  }

  async recover(): Promise<void> {
    const all = Promise.all([this.room.recover(), this.proofs.recover()]);
    await Promise.race([all, this.died.promise]);
  }

  /** Whether it still happens. */
  #effect(): boolean {
    this.effects += 1;
    if (this.effects < this.#endsAt) return true;
    this.died.resolve('died');
    return false;
  }

  /** Each call may be the last before its effect, and after it. */
  async #native(method: string, params: unknown, effect: () => unknown): Promise<unknown> {
    if (!this.#effect()) return never;
    this.#world.before(method, params);
    const result = effect();
    await new Promise((resolve) => setImmediate(resolve));
    return this.#effect() ? result : never;
  }
}
