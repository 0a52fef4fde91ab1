// Clones put in the place of disks and taken back, compared with `rbd`: also from wherever a killed worker left it.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Cluster, callMethod } from 'ceph-napi';
import {
  type ClonedDisk,
  type RestoreDisk,
  type RestoreRecord,
  stagingName,
} from '../../../src/wire/restore-protocol.ts';
import type { CephMethods } from '../../../src/wire/worker-protocol.ts';
import type { Worker } from '../../../src/worker/supervisor/index.ts';
import { must, run, sh } from '../support/host.ts';
import { fileCleanup, freshPool } from '../support/images.ts';
import { cephWorker, failing, json, makeUsers, soon } from './ceph-worker.ts';
import { holdLock } from './lock-owner.ts';

const cleanup = fileCleanup();
let pool: string;
let data: string;
let worker: Worker<CephMethods>;
let count = 0;
const ids = new Map<string, number>();

before(async () => {
  [pool, data] = [await freshPool(cleanup), await freshPool(cleanup)];
  await must('rbd', 'namespace', 'create', `${pool}/tenant`);
  const users = await makeUsers(cleanup, pool, data);
  worker = cephWorker(users);
  cleanup.after(async () => await worker[Symbol.asyncDispose]());
  for (const { poolname, poolnum } of await json<{ poolname: string; poolnum: number }[]>(
    'ceph',
    'osd',
    'lspools',
  )) {
    ids.set(poolname, poolnum);
  }
});

interface Info {
  readonly id: string;
  readonly object_size: number;
  readonly data_pool?: string;
  readonly features: readonly string[];
  readonly parent?: { readonly trash: string };
}
const info = (spec: string) => json<Info>('rbd', 'info', spec);
const snapsOf = (spec: string) =>
  json<{ id: number; name: string; protected: string }[]>('rbd', 'snap', 'ls', spec);
const namesIn = async (place: string) => (await json<string[]>('rbd', 'ls', place)).toSorted();
const trashOf = (place: string) =>
  json<{ id: string; name: string }[]>('rbd', 'trash', 'ls', '--all', place);
const digest = (spec: string) => sh(`rbd export --no-progress '${spec}' - | sha256sum`);

interface Made {
  readonly place: string;
  readonly spec: string;
  readonly disk: RestoreDisk;
  /** What its snapshot and it itself hold. */
  readonly before: string;
  readonly after: string;
}

/** A disk of 8 MiB whose snapshot is siphon's, and which was written to since. */
async function make(namespace = '', ...options: readonly string[]): Promise<Made> {
  const image = `disk${++count}`;
  const place = namespace === '' ? pool : `${pool}/${namespace}`;
  const spec = `${place}/${image}`;
  const write = (pattern: number, at: string) =>
    must('qemu-io', '-f', 'raw', '-c', `write -P ${pattern} ${at}`, `rbd:${spec}`);
  await must('rbd', 'create', '--size', '8M', ...options, spec);
  await must('rbd', 'image-meta', 'set', spec, 'owner', 'somebody');
  await write(7, '64k 512k');
  await must('rbd', 'snap', 'create', '--no-progress', `${spec}@siphon.s1`);
  const before = await digest(`${spec}@siphon.s1`);
  await write(9, '256k 2M');
  await must('rbd', 'resize', '--no-progress', '--size', '9M', spec);
  const { id: oldId } = await info(spec);
  const [snap] = await snapsOf(spec);
  const poolId = ids.get(pool) ?? -1;
  const from = { poolId, namespace, imageId: oldId, snapId: snap?.id ?? -1, snap: 'siphon.s1' };
  const to = { poolId, namespace, image };
  const disk = { target: 'vda', from, wasProtected: false, to, name: spec, oldId };
  return { place, spec, disk, before, after: await digest(spec) };
}

async function clone(id: string, disk: RestoreDisk): Promise<ClonedDisk> {
  const { imageId } = await worker.call('cloneDisk', { id, disk }, soon);
  return { ...disk, newId: imageId };
}
const place = (id: string, disk: ClonedDisk) => worker.call('placeDisk', { id, disk }, soon);
const unplace = (id: string, disk: RestoreDisk) => worker.call('unplaceDisk', { id, disk }, soon);

for (const namespace of ['', 'tenant']) {
  const where = namespace === '' ? 'a pool' : 'a namespace';
  test(`in ${where} a clone takes its disk's place, as that was made, and is taken back; each may be done again`, async () => {
    const more = [
      '--object-size',
      '1M',
      '--data-pool',
      data,
      '--image-feature',
      'layering,exclusive-lock,object-map',
    ];
    const { place: at, spec, disk, before, after } = await make(namespace, ...more);
    const asked = { from: disk.from, to: { ...disk.to, pool } };
    const seen = await worker.call('lookRestore', asked, soon);
    assert.deepEqual(seen.present, { imageId: disk.oldId, users: [] });
    assert.equal(seen.source.kind === 'there' && seen.source.isTrashed, false);
    const was = await info(spec);
    const cloned = await clone('r-1', disk);
    await place('r-1', cloned);
    await place('r-1', cloned);
    assert.equal(await digest(spec), before);
    const is = await info(spec);
    assert.equal(is.id, cloned.newId);
    assert.deepEqual([is.object_size, is.data_pool], [was.object_size, data]);
    assert.deepEqual(
      is.features.filter((each) => each !== 'operations'),
      was.features.filter((each) => each !== 'operations'),
    );
    assert.equal(await must('rbd', 'image-meta', 'get', spec, 'owner'), 'somebody');
    const [old] = (await trashOf(at)).filter(({ id }) => id === disk.oldId);
    assert.equal(old?.name, disk.to.image, 'rbd trash restore knows what it was called');

    // Once more from the same set, whose image is in the trash by now.
    const again = { ...disk, oldId: cloned.newId };
    const second = await clone('r-2', again);
    assert.ok((await trashOf(at)).some(({ id }) => id === disk.oldId));
    await place('r-2', second);
    assert.equal(await digest(spec), before);
    assert.deepEqual(await unplace('r-2', second), { clone: 'removed' });
    assert.equal((await info(spec)).id, cloned.newId);
    assert.deepEqual(await unplace('r-1', cloned), { clone: 'removed' });
    assert.deepEqual(await unplace('r-1', cloned), { clone: 'absent' });
    assert.equal(await digest(spec), after);
    assert.deepEqual(
      (await namesIn(at)).filter((name) => name.startsWith('siphon.')),
      [],
    );
    assert.deepEqual(
      (await trashOf(at)).filter(({ name }) => name === disk.to.image),
      [],
    );
  });
}

/** As librbd has it until the move's last step: TRASH_IMAGE_STATE_MOVING, of one that is NORMAL (cls_rbd, trash_state_set). */
async function cutOffMove(spec: string): Promise<void> {
  const { id } = await info(spec);
  await must('rbd', 'trash', 'mv', spec);
  await using cluster = await Cluster.connect({ conf: '/etc/ceph/ceph.conf', user: 'admin' });
  await using at = await cluster.openPool(pool);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(id.length);
  const input = Buffer.concat([length, Buffer.from(id), Buffer.from([1, 0])]);
  await callMethod(at, 'rbd_trash', { class: 'rbd', name: 'trash_state_set' }, input);
}

/** What is left of a worker that was killed there, by Ceph's own tools. */
const CUT: Readonly<Record<string, (made: Made, cloned: ClonedDisk) => Promise<unknown>>> = {
  'the old disk was in the trash': ({ spec }) => must('rbd', 'trash', 'mv', spec),
  'the old disk was all but in the trash': ({ spec }) => cutOffMove(spec),
  'the new name had an object, and the directory the old one': ({ spec, disk }) => {
    const staged = stagingName('r-3', disk.target);
    return sh(`rbd trash mv '${spec}'
      rados -p ${pool} get rbd_id.${staged} /tmp/${disk.to.image}.id
      rados -p ${pool} put rbd_id.${disk.to.image} /tmp/${disk.to.image}.id`);
  },
  'the clone had the name, and an object of its former one was left': ({
    spec,
    disk,
    place: at,
  }) => {
    const staged = stagingName('r-3', disk.target);
    return sh(`rbd trash mv '${spec}'
      rados -p ${pool} get rbd_id.${staged} /tmp/${disk.to.image}.id
      rbd rename '${at}/${staged}' '${spec}'
      rados -p ${pool} put rbd_id.${staged} /tmp/${disk.to.image}.id`);
  },
};

for (const [what, cut] of Object.entries(CUT)) {
  for (const direction of ['forward', 'back'] as const) {
    test(`after ${what}, it goes ${direction}`, async () => {
      const made = await make();
      const { disk, spec, before, after, place: at } = made;
      const cloned = await clone('r-3', disk);
      await cut(made, cloned);
      if (direction === 'forward') {
        await place('r-3', cloned);
        assert.equal(await digest(spec), before);
        assert.ok((await trashOf(at)).some(({ id }) => id === disk.oldId));
      }
      assert.deepEqual(await unplace('r-3', cloned), { clone: 'removed' });
      assert.equal(await digest(spec), after);
      assert.deepEqual(
        (await namesIn(at)).filter((name) => name.startsWith('siphon.')),
        [],
      );
      const objects = (await must('rados', '-p', pool, 'ls')).split('\n');
      assert.deepEqual(
        objects.filter((name) => name.startsWith('rbd_id.siphon.')),
        [],
      );
    });
  }
}

test('after the clone was all but in the trash, it goes back', async () => {
  const { disk, spec, after, place: at } = await make();
  const cloned = await clone('r-12', disk);
  await place('r-12', cloned);
  await cutOffMove(spec);
  assert.deepEqual(await unplace('r-12', cloned), { clone: 'removed' });
  assert.equal(await digest(spec), after);
  assert.equal((await trashOf(at)).filter(({ name }) => name === disk.to.image).length, 0);
});

test('a set can be deleted under its clone; the old disk goes from the trash when the clone is flattened', async () => {
  const { disk, spec, before, place: at } = await make();
  const cloned = await clone('r-4', disk);
  await place('r-4', cloned);
  assert.deepEqual(await worker.call('removeSnapshot', disk.from, soon), { was: 'removed' });
  assert.equal(await digest(spec), before);
  const gone = ['trash', 'rm', '--no-progress', '--force', `${at}/${disk.oldId}`];
  assert.notEqual((await run('rbd', gone)).code, 0, 'the clone still needs it');
  await worker.call('flattenDisk', { disk: cloned }, soon);
  await worker.call('flattenDisk', { disk: cloned }, soon);
  assert.equal((await info(spec)).parent, undefined);
  await must('rbd', ...gone);
  assert.equal(await digest(spec), before);
  const missing = worker.call('unplaceDisk', { id: 'r-4', disk: cloned }, soon);
  await failing(missing, 'not-found', /cannot be put back: it is no longer in the trash/);
  assert.equal(await digest(spec), before, 'it is as it was');
});

test('where clones are of format 1 the snapshot is protected, as long as it has clones', async () => {
  await must('rbd', 'config', 'pool', 'set', pool, 'rbd_default_clone_format', '1');
  try {
    const { disk, spec, before } = await make();
    const protectedNow = async () => {
      const [snap] = await snapsOf(spec).catch(() => []);
      return snap?.protected;
    };
    const { imageId, isProtected } = await worker.call('cloneDisk', { id: 'r-5', disk }, soon);
    assert.equal(isProtected, true);
    assert.equal(await protectedNow(), 'true');
    const cloned = { ...disk, newId: imageId };
    await place('r-5', cloned);
    assert.equal(await digest(spec), before);
    await failing(worker.call('removeSnapshot', disk.from, soon), 'busy', /protected/);
    assert.deepEqual(await worker.call('unprotectSnapshot', disk.from, soon), { was: 'in-use' });
    await unplace('r-5', cloned);
    assert.equal(await protectedNow(), 'false');
    const kept = { ...disk, wasProtected: true };
    await must('rbd', 'snap', 'protect', `${spec}@siphon.s1`);
    await unplace('r-6', await clone('r-6', kept));
    assert.equal(await protectedNow(), 'true', 'somebody else wanted it so');
  } finally {
    await must('rbd', 'config', 'pool', 'remove', pool, 'rbd_default_clone_format');
  }
});

test('whoever has the disk open is told, and keeps it; so does whoever opened the clone', async () => {
  const { disk, spec } = await make();
  const owner = await holdLock(cleanup, { ...disk.to, pool });
  const after = await digest(spec);
  const cloned = await clone('r-7', disk);
  try {
    const asked = { from: disk.from, to: { ...disk.to, pool } };
    const { present } = await worker.call('lookRestore', asked, soon);
    assert.deepEqual(
      present?.users.map(({ isOwner, isWatching }) => ({ isOwner, isWatching })),
      [{ isOwner: true, isWatching: true }],
    );
    await failing(place('r-7', cloned), 'busy', /client\.\d+ at .* has it open/);
    await failing(worker.call('rollBackDisk', { disk }, soon), 'busy', /has it open/);
  } finally {
    owner.kill('SIGKILL');
  }
  assert.equal(await digest(spec), after);
});

test('a rollback makes the image itself what it was; only of siphon’s own snapshots', async () => {
  const { disk, spec, before } = await make();
  await worker.call('rollBackDisk', { disk }, soon);
  assert.equal(await digest(spec), before);
  assert.equal((await info(spec)).id, disk.oldId);
  const foreign = { ...disk, from: { ...disk.from, snap: 'daily' } };
  await failing(worker.call('rollBackDisk', { disk: foreign }, soon), 'refused', /siphon's/);
  const stolen = worker.call('cloneDisk', { id: 'r-8', disk: foreign }, soon);
  await failing(stolen, 'refused', /siphon's/);
});

test('a clone that has snapshots stays in the trash, and another image of the name is not touched', async () => {
  const { disk, spec, after, place: at } = await make();
  const cloned = await clone('r-9', disk);
  await place('r-9', cloned);
  await must('rbd', 'snap', 'create', '--no-progress', `${spec}@theirs`);
  assert.deepEqual(await unplace('r-9', cloned), { clone: 'in-trash' });
  assert.equal(await digest(spec), after);
  assert.ok((await trashOf(at)).some(({ id }) => id === cloned.newId));

  const other = await make();
  const late = await clone('r-10', other.disk);
  await sh(
    `rbd rename '${other.spec}' '${other.spec}.moved'; rbd create --size 1M '${other.spec}'`,
  );
  await failing(place('r-10', late), 'mismatch', /somebody replaced it/);
  await failing(unplace('r-10', late), 'mismatch', /somebody replaced it/);
});

test('a restore that can be undone is recorded in its pools, and found', async () => {
  const { disk } = await make();
  const fsid = await must('ceph', 'fsid');
  const record: RestoreRecord = {
    schema: 1,
    id: 'r-11',
    setId: 's1',
    fsid,
    host: 'h1',
    domainUuid: 'u',
    domainName: 'd',
    createdAtMs: 1,
    disks: [disk],
  };
  await must('rbd', 'trash', 'mv', disk.name);
  await worker.call('putRestore', record, soon);
  const mine = async () =>
    (await worker.call('findRestores', {}, soon)).filter(({ id }) => id === record.id);
  assert.deepEqual(await mine(), [record]);
  await must('rbd', 'trash', 'restore', `${pool}/${disk.oldId}`);
  assert.deepEqual(await mine(), [{ ...record, isPurged: true }]);
  await worker.call('removeRestore', record, soon);
  assert.deepEqual(await mine(), []);
});
