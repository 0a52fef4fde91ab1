// All that siphon does as each of its cephx identities, through real workers.

import assert from 'node:assert/strict';
import type { Identity } from '../../../src/wire/caps.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { CloneFormat } from '../../../src/wire/publish-protocol.ts';
import type { RestoreDisk } from '../../../src/wire/restore-protocol.ts';
import type { SnapshotSet, SourceIds } from '../../../src/wire/vocabulary.ts';
import type {
  CephMethods,
  CephSettings,
  FillMethods,
  SnapshotAt,
} from '../../../src/wire/worker-protocol.ts';
import { startWorker, type Worker } from '../../../src/worker/supervisor/index.ts';
import { run } from '../support/host.ts';
import { CONF, json, log, PROGRAM, soon } from '../worker/ceph-worker.ts';

export type Users = CephSettings['users'];

/** Where images lie: pools, and a namespace of both. */
export interface Site {
  readonly images: string;
  readonly vms: string;
  readonly namespace: string;
  readonly ids: SourceIds;
  readonly vmsId: number;
  /** A protected snapshot of the disk. */
  readonly source: SnapshotAt;
  /** A folder for files. */
  readonly scratch: string;
}

/** One identity's view: its worker, where it works, and its users, for a fill worker. */
export interface World extends Site {
  readonly ceph: Worker<CephMethods>;
  readonly users: Users;
}
export type Operation = (world: World) => Promise<unknown>;

const sourceName = ({ images: pool, namespace }: Site) => {
  return { pool, namespace, image: 'src', snap: 'snap' };
};
const disk = ({ vms: pool, namespace }: Site, image = 'disk') => ({ pool, namespace, image });

async function fill(world: World): Promise<void> {
  await using worker = startWorker<FillMethods>({
    role: 'fill',
    settings: null,
    kind: 'one-shot',
    program: PROGRAM,
    log,
  });
  const { users, ids } = world;
  const spec = {
    ceph: { conf: CONF, users, timeoutMs: 5000 },
    ids,
    name: sourceName(world),
    plan: { digests: [] },
    partialPath: `${world.scratch}/${users.fill.name}`,
    rawBecomes: 'raw',
  } as const;
  await worker.call('fill', spec, { deadlineMs: 60_000 });
}

let snaps = 0;

/** A snapshot comes and goes. */
export const snapshotOf = (image: string): Operation => {
  return async (world) => {
    const { ceph } = world;
    const at = disk(world, image);
    const snap = `siphon.caps${++snaps}`;
    const { sizeBytes: _, ...made } = await ceph.call('createSnapshot', { ...at, snap }, soon);
    const marked = await ceph.call('listMarked', at, soon);
    assert.deepEqual(
      marked.filter((each) => each.snap === snap),
      [made],
    );
    assert.ok('allocatedBytes' in (await ceph.call('measureSnapshot', made, soon)));
    assert.deepEqual(await ceph.call('removeSnapshot', made, soon), { was: 'removed' });
  };
};

/** Ticks come back, and foresee a commit, or tell why they do not. */
export const arm: Operation = async (world) => {
  const { ceph } = world;
  const disks = [{ ...disk(world), snap: `siphon.caps${++snaps}` }];
  const { prepared } = await ceph.call('prepareSnapshots', { disks }, soon);
  try {
    const { board } = await ceph.call('board', {}, soon);
    await ceph.call('arm', { board, leadMs: 100 }, soon);
  } finally {
    await ceph.call('dropPrepared', { prepared }, soon);
  }
};

/** The disk's snapshot becomes an image, by a clone of this format; and goes again. */
const publishBy = (format: CloneFormat): Operation => {
  return async ({ ceph, images: pool, namespace, ids: { poolId }, source }) => {
    const image = `published${++snaps}`;
    const to = { pool, namespace, image };
    await ceph.call('lookAtSource', source, soon);
    await ceph.call('lookAtPlace', to, soon);
    const marked = { poolId, namespace, marked: `siphon.${image}` };
    const entry = { schema: 1, host: 'h', set: 's', source, format, image } as const;
    const { imageId } = await ceph.call('makeClone', { to: marked, entry }, soon);
    const at = { ...marked, imageId };
    await ceph.call('nameClone', { at, image }, soon);
    await ceph.call('flattenClone', { at }, soon);
    await ceph.call('findEntries', { pool, namespace }, soon);
    await ceph.call('removeClone', { at }, soon);
  };
};

function setIn({ vms: pool, namespace, vmsId: poolId, ids: { fsid } }: Site): SnapshotSet {
  const at = { poolId, imageId: 'x', snapId: 1, sizeBytes: 1 };
  return {
    schema: 1,
    id: 'set',
    fsid,
    domainUuid: 'u',
    domainName: 'd',
    host: 'h',
    createdAtMs: 1,
    event: 'manual',
    wanted: { devices: 'all', quiesce: 'try', instant: 'auto' },
    quiesced: 'none',
    instant: 'none',
    way: 'native',
    disks: [{ target: 'vda', pool, namespace, image: 'x', ...at }],
    leftOut: [],
    keptFiles: [{ what: 'nvram', path: '/vars' }],
    domainXml: '<domain/>',
  };
}

/** A disk with a snapshot of siphon's, by the admin. */
async function restorable(world: World, image = 'disk'): Promise<RestoreDisk> {
  const { vms, namespace, vmsId: poolId } = world;
  const spec = [vms, namespace, image].filter(Boolean).join('/');
  const snap = 'siphon.restorable';
  await run('rbd', ['snap', 'create', '--no-progress', `${spec}@${snap}`]); // once
  const { id: imageId } = await json<{ id: string }>('rbd', 'info', spec);
  const all = await json<{ id: number; name: string }[]>('rbd', 'snap', 'ls', spec);
  const snapId = all.find(({ name }) => name === snap)?.id ?? assert.fail(spec);
  const from = { poolId, namespace, imageId, snapId, snap };
  const to = { poolId, namespace, image };
  return { target: 'vda', from, wasProtected: false, to, name: spec, oldId: imageId };
}

async function putBackAndForth(world: World, image: string): Promise<void> {
  const { ceph } = world;
  const id = `r-${++snaps}`;
  const disk = await restorable(world, image);
  const { imageId: newId } = await ceph.call('cloneDisk', { id, disk }, soon);
  const cloned = { ...disk, newId };
  const { fsid } = world.ids;
  const of = { setId: 's', host: 'h', domainUuid: 'u', domainName: 'd', createdAtMs: 1 };
  const record = { schema: 1, id, fsid, ...of, disks: [cloned] } as const;
  await ceph.call('putRestore', record, soon);
  await ceph.call('placeDisk', { id, disk: cloned }, soon);
  await ceph.call('unplaceDisk', { id, disk: cloned }, soon);
  await ceph.call('removeRestore', record, soon);
}

/** All that siphon does as each identity. */
export const OPERATIONS: Readonly<Record<Identity, Readonly<Record<string, Operation>>>> = {
  fill: {
    'ask the monitors': ({ ceph }) => ceph.call('status', { as: 'fill' }, soon),
    'find a source': (world) => world.ceph.call('resolveSource', sourceName(world), soon),
    'describe a source': ({ ceph, ids }) => ceph.call('describeSource', ids, soon),
    'check a source': ({ ceph, ids }) => ceph.call('checkSource', ids, soon),
    fill,
  },
  snapshot: {
    'ask the monitors': ({ ceph }) => ceph.call('status', { as: 'snapshot' }, soon),
    'look who uses a disk': (world) => world.ceph.call('imageUse', disk(world), soon),
    "read a disk's head": (world) =>
      world.ceph.call('readHead', { ...disk(world), lengthBytes: 4096 }, soon),
    "read a base's head": (world) =>
      world.ceph.call('readHead', { ...sourceName(world), lengthBytes: 4096 }, soon),
    'look who uses a clone': (world) => world.ceph.call('imageUse', disk(world, 'clone'), soon),
    'snapshot a disk': snapshotOf('disk'),
    'snapshot a clone': snapshotOf('clone'),
    arm,
    'record a set': (world) => world.ceph.call('putSet', setIn(world), soon),
    'keep a file of a set': (world) => {
      const what = 'nvram' as const;
      return world.ceph.call('keepFile', { set: setIn(world), what, base64: 'c3RhdGU=' }, soon);
    },
    'find sets': async ({ ceph, vms, namespace }) => {
      const { closed } = await ceph.call('findSets', {}, soon);
      const place = namespace === '' ? vms : `${vms}/${namespace}`;
      if (!closed.includes(place)) return;
      throw new OperatingError({ code: 'denied', op: 'find sets', subject: place });
    },
    'protect a source': ({ ceph, source }) => ceph.call('protectSource', source, soon),
    'release a source': async ({ ceph, source }) => {
      await ceph.call('releaseSource', source, soon);
      await ceph.call('protectSource', source, soon);
    },
    'ask for health': ({ ceph }) => ceph.call('clusterHealth', {}, soon),
    'forget a set': (world) => world.ceph.call('removeSet', setIn(world), soon),
  },
  restore: {
    'look at a disk': async (world) => {
      const { from, to } = await restorable(world);
      await world.ceph.call('lookRestore', { from, to: { ...to, pool: world.vms } }, soon);
    },
    'put a disk back, and take that back': (world) => putBackAndForth(world, 'disk'),
    'put a clone back': (world) => putBackAndForth(world, 'clone'),
    'roll a disk back': async (world) => {
      await world.ceph.call('rollBackDisk', { disk: await restorable(world) }, soon);
    },
    'flatten a clone': async (world) => {
      const id = `r-${++snaps}`;
      const disk = await restorable(world);
      const { imageId: newId } = await world.ceph.call('cloneDisk', { id, disk }, soon);
      await world.ceph.call('flattenDisk', { disk: { ...disk, newId } }, soon);
      await world.ceph.call('unplaceDisk', { id, disk: { ...disk, newId } }, soon);
    },
    'find restores': (world) => world.ceph.call('findRestores', {}, soon),
  },
  publish: {
    'describe a source': ({ ceph, ids }) =>
      ceph.call('setProperties', { ids, properties: { os_hash_algo: 'sha512' } }, soon),
    'forget a description': ({ ceph, ids }) =>
      ceph.call('setProperties', { ids, properties: null }, soon),
    'publish a snapshot': publishBy(2),
    'publish by a clone of format 1': publishBy(1),
  },
};

export function operationOf(identity: Identity, name: string): Operation {
  return OPERATIONS[identity][name] ?? assert.fail(`no operation of ${identity}: ${name}`);
}
