import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import {
  allocatedExtents,
  cloneImage,
  copyImage,
  createImage,
  createSnapshot,
  deepCopyImage,
  errno,
  Image,
  ImageReader,
  ImageWriter,
  imageId,
  listSnapshots,
  parentOf,
  renameImage,
  resizeImage,
  sparsifyImage,
} from '../src/index.ts';
import { command, failed, makeImage, makePool, type TestPool } from './support.ts';

const mebibyte = 1 << 20;
let at: TestPool;
before(async () => {
  at = await makePool();
});
after(() => at[Symbol.asyncDispose]());

const exported = (name: string) => command('rbd', 'export', `${at.name}/${name}`, '-');

test('writes in flight at once are what rbd exports', async () => {
  await using image = await makeImage(at.pool, 'written', 16 * mebibyte + 100);
  const writer = ImageWriter.attach(image);
  const whole = randomBytes(16 * mebibyte + 100);
  const writes: Promise<void>[] = [];
  for (let offset = 0; offset < whole.length; offset += 333_333) {
    writes.push(writer.write(whole.subarray(offset, offset + 333_333), offset));
  }
  assert.equal(writer.inFlight, writes.length);
  await Promise.all(writes);
  await writer.writeZeroes(5 * mebibyte, 4 * mebibyte);
  whole.fill(0, 5 * mebibyte, 9 * mebibyte);
  await writer.flush();
  assert((await exported('written')).equals(whole));
  const back = Buffer.alloc(1000);
  assert.equal(await writer.read(back, 4_999_500), 1000);
  assert(back.equals(whole.subarray(4_999_500, 5_000_500)));
  const beyond = writer.write(Buffer.alloc(1), 17 * mebibyte);
  await assert.rejects(beyond, failed('rbd_aio_write2', errno.EINVAL));
});

test('a writer wants a writable image, and to be alone', async () => {
  await createImage(at.pool, 'lone', mebibyte);
  await using reader = await Image.open(at.pool, { name: 'lone' });
  assert.throws(() => ImageWriter.attach(reader), { name: 'AssertionError' });
  await using image = await Image.open(at.pool, { name: 'lone' }, { writable: true });
  ImageWriter.attach(image);
  const second = () => ImageReader.attach(image);
  assert.throws(second, failed('rbd_set_image_notification', errno.EINVAL));
});

test('zeros are written, and whole objects of them become holes', async () => {
  await using image = await makeImage(at.pool, 'zeroed', 12 * mebibyte);
  await image.write(Buffer.alloc(12 * mebibyte, 1), 0);
  await image.writeZeroes(3 * mebibyte, 6 * mebibyte);
  const want = Buffer.alloc(12 * mebibyte, 1).fill(0, 3 * mebibyte, 9 * mebibyte);
  assert((await exported('zeroed')).equals(want));
  const [first, second] = await allocatedExtents(image);
  assert.deepEqual(
    [first, second],
    [
      [0, 4 * mebibyte],
      [8 * mebibyte, 4 * mebibyte],
    ],
  );
});

test('an image grows, and shrinks only when told so', async () => {
  await using image = await makeImage(at.pool, 'sized', 4 * mebibyte, { order: 20 });
  await image.write(Buffer.alloc(4 * mebibyte, 1), 0);
  await resizeImage(image, 6 * mebibyte);
  assert.equal(await image.size(), 6 * mebibyte);
  await assert.rejects(resizeImage(image, mebibyte), failed('rbd_resize2', errno.EINVAL));
  const told: number[] = [];
  const onProgress = (done: number, total: number) => told.push(done / total);
  await resizeImage(image, mebibyte, { shrink: true, onProgress });
  assert(told.length > 0);
  assert((await exported('sized')).equals(Buffer.alloc(mebibyte, 1)));
});

test('zeros that were written become holes', async () => {
  await using image = await makeImage(at.pool, 'sparse', 8 * mebibyte);
  await image.write(Buffer.alloc(8 * mebibyte), 0);
  await image.write(Buffer.from('x'), 5 * mebibyte);
  assert.deepEqual(await allocatedExtents(image), [[0, 8 * mebibyte]]);
  await sparsifyImage(image);
  assert.deepEqual(await allocatedExtents(image), [[4 * mebibyte, 4 * mebibyte]]);
  const odd = sparsifyImage(image, 5000);
  await assert.rejects(odd, failed('rbd_sparsify_with_progress', errno.EINVAL));
});

test('a copy has neither parent nor snapshots, a deep one has both', async () => {
  await using source = await makeImage(at.pool, 'source', 8 * mebibyte);
  await source.write(randomBytes(mebibyte), 3 * mebibyte);
  await createSnapshot(source, 'base');
  const target = { pool: at.pool, image: 'child' };
  await cloneImage({ pool: at.pool, image: 'source', snapshot: 'base' }, target);
  await using child = await Image.open(at.pool, { name: 'child' }, { writable: true });
  await child.write(randomBytes(1000), 7 * mebibyte);
  await createSnapshot(child, 'own');
  const unsafe = copyImage(child, { pool: at.pool, image: 'copy' });
  await assert.rejects(unsafe, { name: 'AssertionError' });
  await child.close();
  await using settled = await Image.open(at.pool, { name: 'child' });
  const told: number[] = [];
  const onProgress = (done: number, total: number) => told.push(done / total);
  await copyImage(settled, { pool: at.pool, image: 'copy' }, { onProgress });
  await deepCopyImage(settled, { pool: at.pool, image: 'deep' }, { onProgress });
  assert(told.length > 1 && told.every((part) => part <= 1));
  const want = await exported('child');
  for (const [name, parent, snapshots] of [
    ['copy', undefined, 0],
    ['deep', 'source', 1],
  ] as const) {
    await using image = await Image.open(at.pool, { name });
    const got = await exported(name);
    const differs = got.findIndex((value, index) => value !== want[index]);
    assert.deepEqual([name, got.length, differs], [name, want.length, -1]);
    assert.equal((await parentOf(image))?.name, parent);
    assert.equal((await listSnapshots(image)).length, snapshots);
  }
  const taken = copyImage(settled, { pool: at.pool, image: 'deep' });
  await assert.rejects(taken, failed('rbd_copy_with_progress4', errno.EEXIST));
});

test('an image is renamed under those who have it open', async () => {
  await using image = await makeImage(at.pool, 'before', mebibyte);
  const id = await image.id();
  await renameImage(at.pool, 'before', 'after');
  assert.equal(await imageId(at.pool, 'after'), id);
  await image.write(Buffer.from('still'), 0);
  const absent = renameImage(at.pool, 'before', 'other');
  await assert.rejects(absent, failed('rbd_rename', errno.ENOENT));
});
