import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  createImage,
  createSnapshot,
  errno,
  Image,
  listSnapshots,
  protectSnapshot,
  removeSnapshot,
  renameSnapshot,
  resizeImage,
  rollbackToSnapshot,
  snapshotExists,
  snapshotId,
  snapshotName,
  trashedSnapshotName,
  unprotectSnapshot,
} from '../src/index.ts';
import { command, failed, json, makeImage, makePool, type TestPool } from './support.ts';

let at: TestPool;
before(async () => {
  at = await makePool();
});
after(() => at[Symbol.asyncDispose]());

interface Listed {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  readonly protected: 'true' | 'false';
  readonly timestamp: string;
  readonly namespace?: { readonly type: string };
}

const writable = { writable: true };

test('snapshots are those of rbd snap ls', async () => {
  await createImage(at.pool, 'listed', 3 << 20);
  await using image = await Image.open(at.pool, { name: 'listed' }, writable);
  assert.deepEqual(await listSnapshots(image), []);
  const start = Date.now();
  await createSnapshot(image, 'zuerst');
  await createSnapshot(image, 'später', { quiesce: false });
  await protectSnapshot(image, 'später');
  const want = await json<Listed[]>('rbd', 'snap', 'ls', '--all', `${at.name}/listed`);
  const got = await listSnapshots(image);
  const seen = got.map(({ id, name, sizeBytes, type }) => ({ id, name, size: sizeBytes, type }));
  const told = want.map(({ id, name, size, namespace }) => ({
    id,
    name,
    size,
    type: namespace?.type,
  }));
  assert.deepEqual(seen, told);
  assert.deepEqual(
    got.map((each) => String(each.protected)),
    want.map((each) => each.protected),
  );
  for (const [index, { createdAt }] of got.entries()) {
    assert(createdAt.getTime() >= start - 1000 && createdAt.getTime() <= Date.now() + 1000);
    const seconds = Math.floor(createdAt.getTime() / 1000);
    assert.equal(seconds, Date.parse(`${want[index]?.timestamp} UTC`) / 1000);
  }
  const last = want[1];
  assert.equal(await snapshotId(image, 'später'), last?.id);
  assert.deepEqual(
    [await snapshotExists(image, 'später'), await snapshotExists(image, 'nie')],
    [true, false],
  );
  await unprotectSnapshot(image, 'später');
});

test('errors say what is wrong', async () => {
  await createImage(at.pool, 'wrong', 1 << 20);
  await using image = await Image.open(at.pool, { name: 'wrong' }, writable);
  await createSnapshot(image, 'one');
  await assert.rejects(createSnapshot(image, 'one'), failed('rbd_snap_create', errno.EEXIST));
  await assert.rejects(removeSnapshot(image, 'two'), failed('rbd_snap_remove', errno.ENOENT));
  await assert.rejects(removeSnapshot(image, 999), failed('rbd_snap_remove_by_id', errno.ENOENT));
  await assert.rejects(unprotectSnapshot(image, 'one'), failed('rbd_snap_unprotect', errno.EINVAL));
  await protectSnapshot(image, 'one');
  await assert.rejects(protectSnapshot(image, 'one'), failed('rbd_snap_protect', errno.EBUSY));
  await assert.rejects(removeSnapshot(image, 'one'), failed('rbd_snap_remove', errno.EBUSY));
  await unprotectSnapshot(image, 'one');
  await using reader = await Image.open(at.pool, { name: 'wrong' });
  await assert.rejects(createSnapshot(reader, 'three'), failed('rbd_snap_create', errno.EROFS));
});

test('snapshots are removed by name and by id', async () => {
  await createImage(at.pool, 'removed', 1 << 20);
  await using image = await Image.open(at.pool, { name: 'removed' }, writable);
  await Promise.all(['a', 'b', 'c'].map((name) => createSnapshot(image, name)));
  const id = await snapshotId(image, 'b');
  assert(id !== null);
  await Promise.all([removeSnapshot(image, 'a'), removeSnapshot(image, id)]);
  const names = (await listSnapshots(image)).map((snapshot) => snapshot.name);
  assert.deepEqual(names, ['c']);
});

test('one that has clones of format 2 goes to the trash when removed', async () => {
  await createImage(at.pool, 'cloned', 1 << 20);
  await using image = await Image.open(at.pool, { name: 'cloned' }, writable);
  await createSnapshot(image, 'base');
  const [from, to] = [`${at.name}/cloned@base`, `${at.name}/child`];
  await command('rbd', 'clone', '--rbd-default-clone-format', '2', from, to);
  await removeSnapshot(image, 'base');
  const [left, ...more] = await listSnapshots(image);
  assert.deepEqual([left?.type, left?.protected, more], ['trash', false, []]);
  assert.equal(await snapshotExists(image, 'base'), false);
  assert.equal(await trashedSnapshotName(image, left?.id ?? 0), 'base');
  await createSnapshot(image, 'kept');
  const kept = trashedSnapshotName(image, (await snapshotId(image, 'kept')) ?? 0);
  await assert.rejects(kept, failed('rbd_snap_get_trash_namespace', errno.EINVAL));
});

test('a read-only handle shows the snapshots of when it was opened', async () => {
  await createImage(at.pool, 'stale', 1 << 20);
  await using image = await Image.open(at.pool, { name: 'stale' }, writable);
  await using reader = await Image.open(at.pool, { name: 'stale' });
  await createSnapshot(image, 'new');
  assert.deepEqual(await listSnapshots(reader), []);
  await using fresh = await Image.open(at.pool, { name: 'stale' });
  assert.equal((await listSnapshots(fresh)).length, 1);
});

test('a snapshot is renamed, and named by its id', async () => {
  await using image = await makeImage(at.pool, 'renamed', 1 << 20);
  await createSnapshot(image, 'old');
  const id = (await snapshotId(image, 'old')) ?? 0;
  await renameSnapshot(image, 'old', 'neu-ü');
  assert.equal(await snapshotName(image, id), 'neu-ü');
  assert.equal(await snapshotId(image, 'neu-ü'), id);
  assert.equal(await snapshotName(image, 999), null);
  await assert.rejects(renameSnapshot(image, 'old', 'x'), failed('rbd_snap_rename', errno.ENOENT));
  await createSnapshot(image, 'other');
  const taken = renameSnapshot(image, 'other', 'neu-ü');
  await assert.rejects(taken, failed('rbd_snap_rename', errno.EEXIST));
});

test('rolling back gives the bytes and the size of the snapshot, and tells how far it is', async () => {
  await using image = await makeImage(at.pool, 'rolled', 8 << 20, { order: 20 });
  await image.write(Buffer.alloc(5 << 20, 'a'), 0);
  await createSnapshot(image, 'then');
  const before = await command('rbd', 'export', `${at.name}/rolled@then`, '-');
  await image.write(Buffer.alloc(5 << 20, 'b'), 1 << 20);
  await resizeImage(image, 12 << 20);
  const told: [number, number][] = [];
  await rollbackToSnapshot(image, 'then', (done, total) => told.push([done, total]));
  assert((await command('rbd', 'export', `${at.name}/rolled`, '-')).equals(before));
  assert(told.length > 1 && told.every(([done, total]) => done <= total));
  const absent = rollbackToSnapshot(image, 'never');
  await assert.rejects(absent, failed('rbd_snap_rollback_with_progress', errno.ENOENT));
  await using reader = await Image.open(at.pool, { name: 'rolled' });
  const refused = rollbackToSnapshot(reader, 'then');
  await assert.rejects(refused, failed('rbd_snap_rollback_with_progress', errno.EROFS));
});
