// A cluster in memory, as publishing sees it, and lives of siphond that may end at any effect.

import { writeFileSync } from 'node:fs';
import { pino } from 'pino';
import { createJournal, type JobJournal } from '../../../src/sidecar/journal.ts';
import { snapshotFiles } from '../../../src/sidecar/snapshot-files.ts';
import { createPublishing, type Publishing } from '../../../src/snapshot/publish/publishing.ts';
import { type ErrorCode, OperatingError } from '../../../src/wire/errors.ts';
import type { JobRecord } from '../../../src/wire/journal.ts';
import type { CephPort, Cluster, FillPort } from '../../../src/wire/ports.ts';
import type {
  CloneAt,
  CloneFormat,
  PublishEntry,
  PublishMethods,
} from '../../../src/wire/publish-protocol.ts';
import type { SaveMethods } from '../../../src/wire/save-protocol.ts';
import type { SnapshotSet, SourceIds } from '../../../src/wire/vocabulary.ts';
import type { CephMethods, SnapshotAt } from '../../../src/wire/worker-protocol.ts';

interface Image {
  readonly id: string;
  parent: number | undefined;
  hasSnap: boolean;
}

type Fakes = {
  [K in keyof PublishMethods]: (params: PublishMethods[K]['params']) => PublishMethods[K]['result'];
} & {
  [K in keyof SaveMethods]: (params: SaveMethods[K]['params']) => SaveMethods[K]['result'];
} & {
  [K in 'readManifest' | 'setManifest']: (
    params: CephMethods[K]['params'],
  ) => CephMethods[K]['result'];
} & { status(): { client: string; fsid: string }; dropLock(): { was: 'absent' } };

export class PublishWorld {
  readonly images = new Map<string, Image>();
  readonly entries = new Map<string, PublishEntry>();
  readonly protectedSnaps = new Set<number>();
  /** By IMAGEID@SNAPID; of a set's disks the first has one. */
  readonly manifests = new Map([['id-vda@10', 'signed']]);
  readonly jobs = new Map<string, JobRecord>();
  format: CloneFormat = 2;
  isFull = false;
  hasManager = true;
  /** Absent: the config names none. */
  folder: string | undefined;
  nowMs = 1_000_000;
  client = 'client.1';
  /** May throw before a call takes effect. */
  before: (method: string, params: unknown) => void = () => undefined;
  #ids = 0;

  openJobs(): JobRecord[] {
    return [...this.jobs.values()].filter(({ state }) => state === 'open');
  }

  find(id: string | undefined): string | undefined {
    return [...this.images].find(([, image]) => image.id === id)?.[0];
  }

  readonly fakes: Fakes = {
    status: () => ({ client: this.client, fsid: '' }),
    dropLock: () => ({ was: 'absent' }),
    readManifest: (ids) => ({ envelope: this.manifests.get(manifestKey(ids)) ?? null }),
    setManifest: ({ ids, envelope }) => {
      if (envelope === null) this.manifests.delete(manifestKey(ids));
      else this.manifests.set(manifestKey(ids), envelope);
      return null;
    },
    lookAtSource: () => ({ sizeBytes: 4096, ancestors: 0, mayClone: true, isEncrypted: false }),
    lookAtPlace: ({ image }) => ({
      poolId: 5,
      isNameTaken: this.images.has(image),
      isFull: this.isFull,
      format: this.format,
      client: this.client,
    }),
    measureDisk: () => ({ neededBytes: 4096 }),
    saveDisk: ({ partialPath, ids }) => {
      writeFileSync(partialPath, ids.imageId, { flag: 'wx' });
      return { sizeBytes: 4096, allocatedBytes: 4096 };
    },
    protectSource: ({ snapId }) => {
      this.protectedSnaps.add(snapId);
      return { was: 'protected' };
    },
    releaseSource: ({ snapId }: SnapshotAt) => {
      const isUsed = [...this.images.values()].some(({ parent }) => parent === snapId);
      if (!isUsed) this.protectedSnaps.delete(snapId);
      return { was: isUsed ? 'in-use' : 'released' };
    },
    makeClone: ({ to, entry }) => {
      const id = `i${++this.#ids}`;
      const { snapId } = entry.source;
      if (this.format === 1 && !this.protectedSnaps.has(snapId)) throw failure('usage');
      this.images.set(to.marked, { id, parent: snapId, hasSnap: true });
      this.entries.set(to.marked, { ...entry, imageId: id });
      return { imageId: id, snapId: 1 };
    },
    makeCopy: ({ to, entry }) => {
      const id = `i${++this.#ids}`;
      this.images.set(to.marked, { id, parent: undefined, hasSnap: true });
      this.entries.set(to.marked, { ...entry, imageId: id });
      return { imageId: id, snapId: 1 };
    },
    nameClone: ({ at, image }) => {
      const name = this.find(at.imageId);
      if (name === undefined) throw failure('not-found');
      if (name !== at.marked) return { was: 'already' };
      if (this.images.has(image)) throw failure('refused');
      this.images.set(image, this.images.get(name) as Image);
      this.images.delete(name);
      return { was: 'named' };
    },
    flattenClone: ({ at }) => {
      const name = this.find(at.imageId);
      const image = name === undefined ? undefined : this.images.get(name);
      if (image === undefined) return { was: 'gone' };
      image.parent = undefined;
      return { was: 'flattened' };
    },
    flattenByTask: ({ at }) => {
      if (!this.hasManager) return { was: 'unserved', why: 'no manager' };
      return this.fakes.flattenClone({ at });
    },
    dropTask: () => null,
    lookWhoUses: () => ({ users: [] }),
    removeClone: ({ at }) => {
      const name = at.imageId === undefined ? at.marked : this.find(at.imageId);
      const was = name !== undefined && this.images.delete(name) ? 'removed' : 'absent';
      this.entries.delete(at.marked);
      return { was };
    },
    dropEntry: ({ marked }: CloneAt) => {
      this.entries.delete(marked);
      return null;
    },
    findEntries: () =>
      [...this.entries].map(([marked, entry]) => {
        const { imageId = '' } = entry;
        const name = this.find(imageId);
        const state = name === undefined ? 'gone' : name === marked ? 'unnamed' : 'named';
        const at = { poolId: 5, namespace: '', marked, imageId };
        return { ...entry, at, pool: 'images', state };
      }),
  };
}

const manifestKey = ({ imageId, snapId }: SourceIds) => `${imageId}@${snapId}`;

export function failure(code: ErrorCode): OperatingError {
  return new OperatingError({ code, op: 'call', subject: 'test' });
}

class Dead extends Error {}

/** One life of siphond, which may end at its n-th effect. */
export class PublishLife {
  readonly room: Publishing;
  readonly journal: JobJournal;
  effects = 0;
  readonly #world: PublishWorld;
  readonly #endsAt: number;
  readonly #died = Promise.withResolvers<void>();

  constructor(world: PublishWorld, set: SnapshotSet, endsAt = Number.POSITIVE_INFINITY) {
    this.#world = world;
    this.#endsAt = endsAt;
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
    this.journal = createJournal({ rows, log, now: () => world.nowMs });
    const cluster = {
      name: 'ceph',
      fsid: async () => set.fsid,
      ceph: this.#ceph(),
    } as unknown as Cluster;
    const get = (id: string) =>
      id === set.id ? { ...set, state: 'complete' as const } : undefined;
    this.room = createPublishing({
      journal: this.journal,
      catalogue: { get, put: nothing, remove: nothing, list: () => [] },
      byFsid: async () => cluster,
      clusters: () => [cluster],
      limitFlatten: (run) => run(),
      limitCopy: (run) => run(),
      flattenRate: () => undefined,
      files: () => {
        const { folder } = world;
        return folder === undefined ? undefined : { folder, format: 'raw', reserveBytes: 0 };
      },
      disk: snapshotFiles,
      startFileWorker: () => ({ ...this.#ceph(), [Symbol.asyncDispose]: async () => undefined }),
      host: 'h1',
      log: { info: nothing, warn: nothing },
      now: () => world.nowMs,
      onDefect: (error) => {
        if (!(error instanceof Dead)) throw error;
      },
    });
  }

  get isDead(): boolean {
    return this.effects >= this.#endsAt;
  }

  /** As far as this life lasts. */
  async lives<T>(work: () => Promise<T>): Promise<T | undefined> {
    const alive = async () => {
      try {
        return await work();
      } catch (error) {
        if (error instanceof Dead) return undefined;
        throw error;
      }
    };
    return (await Promise.race([alive(), this.#died.promise])) ?? undefined;
  }

  /** Recovers until no job is open. */
  async recover(): Promise<void> {
    for (let round = 0; round < 5 && this.#world.openJobs().length > 0; round += 1) {
      await this.lives(() => this.room.recover());
      for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setImmediate(done));
      this.#world.nowMs += 60_000;
    }
  }

  #effect(): void {
    if (!this.isDead) this.effects += 1;
    if (!this.isDead) return;
    this.#died.resolve();
    throw new Dead();
  }

  /** Each call may be the last before its effect, and after it. */
  #ceph(): CephPort & FillPort {
    const answer = async (method: keyof Fakes, params: never) => {
      try {
        this.#effect();
        this.#world.before(method, params);
        await new Promise((done) => setImmediate(done));
        const result = this.#world.fakes[method](params);
        this.#effect();
        return result;
      } catch (error) {
        if (error instanceof Dead) return new Promise(() => undefined);
        throw error;
      }
    };
    return { call: answer as unknown as (CephPort & FillPort)['call'] };
  }
}

const nothing = () => undefined;
