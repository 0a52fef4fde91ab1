import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  createImage,
  createSnapshot,
  errno,
  Image,
  imageId,
  listImages,
  listTrash,
  moveToTrash,
  purgeTrash,
  removeFromTrash,
  removeSnapshot,
  restoreFromTrash,
} from '../src/index.ts';
import { failed, json, makeImage, makePool, type TestPool } from './support.ts';

let at: TestPool;
before(async () => {
  at = await makePool();
});
after(() => at[Symbol.asyncDispose]());

const removing = 'rbd_trash_remove_with_progress';

async function trashed(name: string, delaySeconds = 0): Promise<string> {
  await createImage(at.pool, name, 1 << 20);
  const id = await imageId(at.pool, name);
  await moveToTrash(at.pool, name, delaySeconds);
  return id;
}

test('an image in the trash is listed there alone, as rbd does, and comes back', async () => {
  const id = await trashed('ünwanted', 3600);
  const [seen] = await json<{ id: string; name: string }[]>('rbd', 'trash', 'ls', at.name);
  const [entry, ...more] = await listTrash(at.pool);
  assert.deepEqual(
    [entry?.id, entry?.name, entry?.source, more.length],
    [seen?.id, seen?.name, 'user', 0],
  );
  assert.equal(entry?.id, id);
  assert(Math.abs(entry.movedAt.getTime() - Date.now()) < 60_000);
  const deferred = entry.deferredUntil.getTime() - entry.movedAt.getTime();
  assert(Math.abs(deferred - 3_600_000) <= 1000, String(deferred));
  assert.deepEqual(await listImages(at.pool), []);
  await restoreFromTrash(at.pool, id, 'wanted');
  assert.deepEqual(await listTrash(at.pool), []);
  assert.equal(await imageId(at.pool, 'wanted'), id);
});

test('an image comes back by its own name, unless that is taken', async () => {
  const id = await trashed('again');
  await createImage(at.pool, 'again', 1 << 20);
  const taken = restoreFromTrash(at.pool, id);
  await assert.rejects(taken, failed('rbd_trash_restore', errno.EEXIST));
  await restoreFromTrash(at.pool, id, 'again-2');
  const absent = restoreFromTrash(at.pool, 'absent');
  await assert.rejects(absent, failed('rbd_trash_restore', errno.ENOENT));
});

test('it is removed before its time by force only', async () => {
  const id = await trashed('kept', 3600);
  await assert.rejects(removeFromTrash(at.pool, id), failed(removing, errno.EPERM));
  const told: number[] = [];
  const onProgress = (done: number, total: number) => told.push(done / total);
  await removeFromTrash(at.pool, id, { force: true, onProgress });
  assert(told.every((part) => part <= 1));
  await assert.rejects(removeFromTrash(at.pool, id), failed(removing, errno.ENOENT));
});

test('an image with snapshots goes to the trash, and is not removed from it', async () => {
  await using image = await makeImage(at.pool, 'snapped', 1 << 20);
  await createSnapshot(image, 'one');
  const id = await image.id();
  await moveToTrash(at.pool, 'snapped');
  await image.write(Buffer.from('goes on'), 0);
  await image.close();
  await assert.rejects(removeFromTrash(at.pool, id), failed(removing, errno.ENOTEMPTY));
  await using inTrash = await Image.open(at.pool, { id }, { writable: true });
  await removeSnapshot(inTrash, 'one');
  await inTrash.close();
  await removeFromTrash(at.pool, id);
});

test('purging removes what is due, and says if some of that has to stay', async () => {
  const later = await trashed('later', 3600);
  await trashed('due');
  const left = async () => (await listTrash(at.pool)).map((entry) => entry.id).toSorted();
  const soon = new Date(Date.now() + 10_000);
  await purgeTrash(at.pool, soon);
  assert.deepEqual(await left(), [later]);
  await using image = await makeImage(at.pool, 'held', 1 << 20);
  await createSnapshot(image, 'one');
  const held = await image.id();
  await image.close();
  await moveToTrash(at.pool, 'held');
  await trashed('due-too');
  await assert.rejects(purgeTrash(at.pool, soon), failed('rbd_trash_purge', errno.ENOTEMPTY));
  assert.deepEqual(await left(), [held, later].toSorted());
  await assert.rejects(moveToTrash(at.pool, 'absent'), failed('rbd_trash_move', errno.ENOENT));
});
