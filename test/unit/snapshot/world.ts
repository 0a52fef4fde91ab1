// Ceph, libvirt, catalogue and journal in memory, for the room of snapshots. A life of siphond can be ended at any effect, as
// kill -9 does: nothing that it would have done after that is done. The world stays for the next life.

import { pino } from 'pino';
import { parseDomain } from '../../../src/domain/domain.ts';
import { stripPasswords } from '../../../src/domain/strip-passwords.ts';
import { createJournal, type JobJournal } from '../../../src/sidecar/journal.ts';
import type { Limits } from '../../../src/snapshot/limits.ts';
import { WANTED_DEFAULT } from '../../../src/snapshot/policy-shape.ts';
import type { SnapshotParts, StateRead } from '../../../src/snapshot/ports.ts';
import { createSnapshots, type Snapshots } from '../../../src/snapshot/service.ts';
import type { SetState } from '../../../src/wire/api.ts';
import { type ErrorCode, OperatingError } from '../../../src/wire/errors.ts';
import type { Holdable, HoldMethods } from '../../../src/wire/hold-protocol.ts';
import type { JobRecord } from '../../../src/wire/journal.ts';
import type { Pause } from '../../../src/wire/pause.ts';
import type { CephPort, Cluster, LibvirtPort } from '../../../src/wire/ports.ts';
import type {
  Policy,
  ReleaseReason,
  SnapshotSet,
  StateKind,
} from '../../../src/wire/vocabulary.ts';
import type { CephMethods, ClusterHealth, DiskAt } from '../../../src/wire/worker-protocol.ts';
import { armMethods, cephMethods, holdMethods } from './fakes.ts';

export const FSID = '5f3c1f1e-0000-4000-8000-0123456789ab';

export interface Image {
  readonly imageId: string;
  readonly snaps: Map<number, string>;
  lockOwners: string[];
  watchers: string[];
}

/** A policy for every domain; what a test does not say is as in a file that does not. */
export function policyOf(fields: Partial<Policy> & Pick<Policy, 'name'>): Policy {
  const selects = { domains: ['*'], uuids: [], tags: [] };
  return {
    ...WANTED_DEFAULT,
    ...selects,
    on: ['shutdown'],
    keepLast: 1,
    keepPeriods: {},
    ...fields,
  };
}

const LIMITS: Limits = {
  worstHealth: 'warn',
  fullPercent: 85,
  softSnapshots: 6,
  hardSnapshots: 8,
};

export const DAILY = policyOf({ name: 'daily', keepLast: 2 });

export class World {
  readonly images = new Map<string, Image>();
  readonly omap = new Map<string, SnapshotSet>();
  /** What Ceph says of how much a snapshot has. */
  measured: CephMethods['measureSnapshot']['result'] = { allocatedBytes: 1024 };
  /** What sets keep: names of objects to what they hold. */
  readonly objects = new Map<string, string>();
  readonly catalogue = new Map<string, SnapshotSet & { state: SetState }>();
  readonly jobs = new Map<string, JobRecord>();
  policies: readonly Policy[] = [DAILY];
  pauses: readonly Pause[] = [];
  health: ClusterHealth = { status: 'HEALTH_OK', checks: [], totalBytes: 100, usedBytes: 1 };
  /** Of the domain, as libvirt says it; undefined: it does not answer. */
  isActive: boolean | undefined = false;
  /** The connection of siphon's worker. */
  client = 'client.100';
  /** Why it stopped, as its state says; undefined: libvirt does not know. */
  stopReason: ReleaseReason | undefined;
  /** Of the guest, by siphon: noted, and held. What PID 1 does with what is noted is not here. */
  readonly guarded = new Set<string>();
  readonly held = new Set<string>();
  /** What libvirt says of a hold. */
  holdable: Holdable = { kind: 'running' };
  /** What a freeze gets: filesystems, or why not. */
  frozen: number | string = 2;
  /** May throw, or wait, before libvirt answers. */
  beforeLibvirt: () => Promise<void> | void = () => undefined;
  domainXml = '';
  keeps: readonly StateKind[] = ['nvram'];
  /** Files of its state, by path. */
  readonly files = new Map<string, string>();
  /** Whether libvirt knows the domain. */
  isDefined = true;
  nowMs = Date.UTC(2026, 10, 20, 23, 15);
  /** May throw, or wait, before a call of Ceph takes effect. */
  beforeCeph: (method: string, params: unknown) => Promise<void> | void = () => undefined;
  #lastSnapId = 0;

  constructor(images: readonly string[] = ['root']) {
    for (const [index, name] of images.entries()) {
      const imageId = `id${index}`;
      this.images.set(name, { imageId, snaps: new Map(), lockOwners: [], watchers: [] });
    }
  }

  nextSnapId(): number {
    this.#lastSnapId += 1;
    return this.#lastSnapId;
  }

  image({ image, imageId }: Pick<DiskAt, 'image' | 'imageId'>): Image {
    const found =
      imageId === undefined
        ? this.images.get(image)
        : [...this.images.values()].find((each) => each.imageId === imageId);
    if (found === undefined) throw failure('not-found', `image ${image}`);
    return found;
  }

  rename(from: string, to: string): void {
    this.images.set(to, this.image({ image: from }));
    this.images.delete(from);
  }

  /** All names of snapshots, of all images. */
  snapshots(): string[] {
    return [...this.images.values()].flatMap((image) => [...image.snaps.values()]);
  }

  openJobs(): JobRecord[] {
    return [...this.jobs.values()].filter((job) => job.state === 'open');
  }

  /** The last job that began. */
  lastJob(): JobRecord | undefined {
    return [...this.jobs.values()].at(-1);
  }
}

export function failure(code: ErrorCode, subject = 'test'): OperatingError {
  return new OperatingError({ code, op: 'call', subject });
}

class Dead extends Error {}

/** One life of siphond, which may end at its n-th effect. */
export class Life {
  readonly room: Snapshots;
  readonly journal: JobJournal;
  readonly defects: unknown[] = [];
  readonly warnings: string[] = [];
  effects = 0;
  readonly #world: World;
  readonly #endsAt: number;
  readonly #died = Promise.withResolvers<void>();

  constructor(world: World, endsAt = Number.POSITIVE_INFINITY) {
    this.#world = world;
    this.#endsAt = endsAt;
    const parts = this.#parts();
    this.journal = parts.journal;
    this.room = createSnapshots(parts);
  }

  get isDead(): boolean {
    return this.effects >= this.#endsAt;
  }

  /** Recovers, as far as this life lasts. */
  async recover(): Promise<void> {
    const recovered = this.room.recover().catch((error: unknown) => {
      if (!(error instanceof Dead)) throw error;
    });
    await Promise.race([recovered, this.#died.promise]);
    await this.settle();
  }

  /** Until all that was begun has ended, or this life has. */
  async settle(): Promise<void> {
    await Promise.race([this.room.idle(), this.#died.promise]);
    if (!this.isDead) await new Promise((resolve) => setImmediate(resolve));
  }

  #effect(): void {
    if (!this.isDead) this.effects += 1;
    if (!this.isDead) return;
    this.#died.resolve();
    throw new Dead();
  }

  #parts(): SnapshotParts & { readonly journal: JobJournal } {
    const world = this.#world;
    const log = pino({ level: 'silent' });
    const rows = {
      put: (record: JobRecord) => {
        this.#effect();
        world.jobs.set(record.id, structuredClone(record));
      },
      get: (id: string) => world.jobs.get(id),
      open: () => world.openJobs(),
      list: () => [...world.jobs.values()],
    };
    const cluster = { name: 'ceph', fsid: async () => FSID, ceph: this.#ceph() } as const;
    return {
      journal: createJournal({ rows, log, now: () => world.nowMs }),
      catalogue: {
        put: (set, state) => {
          this.#effect();
          world.catalogue.set(set.id, { ...structuredClone(set), state });
        },
        remove: (id) => {
          this.#effect();
          world.catalogue.delete(id);
        },
        get: (id) => world.catalogue.get(id),
        list: (uuid) =>
          [...world.catalogue.values()].filter(
            (set) => (uuid ?? set.domainUuid) === set.domainUuid,
          ),
      },
      clusterOf: async () => cluster as unknown as Cluster,
      byFsid: async () => cluster as unknown as Cluster,
      libvirt: this.#libvirt(),
      policies: () => world.policies,
      pauses: () => world.pauses,
      limits: () => LIMITS,
      keeps: () => world.keeps,
      readState: async ({ path }): Promise<StateRead> => {
        const text = world.files.get(path);
        if (text === undefined) return { kind: 'unread', why: 'there is none' };
        return { kind: 'read', path, bytes: Buffer.from(text) };
      },
      limit: (run) => run(),
      host: 'h1',
      log: {
        info: () => undefined,
        warn: (_, message) => void this.warnings.push(message),
      },
      now: () => world.nowMs,
      wait: async (ms, signal) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        const timer = setTimeout(resolve, Math.min(ms, 100));
        signal.addEventListener('abort', () => resolve());
        await promise;
        clearTimeout(timer);
      },
      jitterMs: () => 1,
      counts: { commitMissed: () => undefined, guestHeld: () => undefined },
      onDefect: (error) => {
        if (!(error instanceof Dead)) this.defects.push(error);
      },
    };
  }

  #libvirt(): LibvirtPort {
    const holds = holdMethods(this.#world);
    const answer = async (method: string, params: never) => {
      if (Object.hasOwn(holds, method)) {
        return this.#native(async () => holds[method as keyof HoldMethods](params));
      }
      await this.#world.beforeLibvirt();
      const { isActive, domainXml, stopReason: reason } = this.#world;
      if (isActive === undefined) throw failure('unavailable');
      if (!this.#world.isDefined) throw failure('not-found');
      if (method === 'domainXml') return domainXml;
      if (method === 'lastStop') return isActive ? { isActive } : { isActive, reason };
      return { ...parseDomain(domainXml), isActive, isPersistent: true, hasManagedSave: false };
    };
    return { call: answer as unknown as LibvirtPort['call'] };
  }

  /** Each call may be the last before its effect, and after it. */
  async #native<T>(call: () => Promise<T>): Promise<T> {
    try {
      this.#effect();
      const result = await call();
      this.#effect();
      return result;
    } catch (error) {
      if (error instanceof Dead) return new Promise(() => undefined);
      throw error;
    }
  }

  #ceph(): CephPort {
    const world = this.#world;
    const methods = { ...cephMethods(world), ...armMethods(world) };
    const answer = async (method: keyof typeof methods, params: never) => {
      // When a commit comes is nobody's effect.
      if (method === 'armEnd' || method === 'board') return methods[method](params);
      return this.#native(async () => {
        await world.beforeCeph(method, params);
        await new Promise((resolve) => setImmediate(resolve));
        return methods[method](params);
      });
    };
    return { call: answer as unknown as CephPort['call'] };
  }
}

export function releaseOf(xml: string, reason: ReleaseReason = 'shutdown', isLate = false) {
  return { ...untoldOf(xml), reason, isLate };
}

/** The same of a libvirt that gives no reason. */
export function untoldOf(xml: string) {
  return { domain: parseDomain(xml), xml: stripPasswords(xml), atMs: 1, isLate: false };
}
