import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import {
  allocatedExtents,
  createImage,
  createSnapshot,
  errno,
  Image,
  ImageReader,
  imageId,
  maxReadsInFlight,
  removeImage,
} from '../src/index.ts';
import { command, connect, failed, makePool, type TestPool, until } from './support.ts';

const mebibyte = 1 << 20;
const size = 48 * mebibyte + 12_345;
let at: TestPool;
before(async () => {
  at = await makePool();
  await createImage(at.pool, 'disk', size);
  await using image = await Image.open(at.pool, { name: 'disk' }, { writable: true });
  await image.write(randomBytes(5 * mebibyte + 77), 1_000_001);
  await image.write(randomBytes(mebibyte), 23 * mebibyte - 1);
  await image.write(randomBytes(9999), size - 9999);
  await createSnapshot(image, 'base');
});
after(() => at[Symbol.asyncDispose]());

/** The whole image, read in pieces of an odd length, all in flight at once, into memory that is shared. */
async function readAll(image: Image, piece: number): Promise<Buffer> {
  const reader = ImageReader.attach(image);
  const whole = Buffer.from(new SharedArrayBuffer(await image.size()));
  const reads: Promise<void>[] = [];
  for (let offset = 0; offset < whole.length; offset += piece) {
    const part = whole.subarray(offset, offset + piece);
    const read = reader.read(part, offset);
    reads.push(read.then((length) => assert.equal(length, part.length)));
  }
  assert.equal(reader.inFlight, reads.length);
  await Promise.all(reads);
  assert.equal(reader.inFlight, 0);
  return whole;
}

test('reads in flight at once give what rbd export gives', async () => {
  await using image = await Image.open(at.pool, { name: 'disk' }, { snapshot: 'base' });
  const got = await readAll(image, 1_000_003);
  assert((await command('rbd', 'export', `${at.name}/disk@base`, '-')).equals(got));
});

test('a clone reads its own bytes and its parent`s', async () => {
  const [from, to] = [`${at.name}/disk@base`, `${at.name}/clone`];
  await command('rbd', 'clone', '--rbd-default-clone-format', '2', from, to);
  await using image = await Image.open(at.pool, { name: 'clone' }, { writable: true });
  await image.write(randomBytes(100_000), 3 * mebibyte);
  await image.flush();
  const got = await readAll(image, 777_777);
  assert((await command('rbd', 'export', `${at.name}/clone`, '-')).equals(got));
});

test('a read past the end is cut there; one that begins there fails, and harms no other', async () => {
  await using image = await Image.open(at.pool, { name: 'disk' });
  const reader = ImageReader.attach(image);
  const [good, bad, cut] = await Promise.allSettled([
    reader.read(Buffer.alloc(4096), 0),
    reader.read(Buffer.alloc(4096), size + 1),
    reader.read(Buffer.alloc(4096), size - 100),
  ]);
  assert.deepEqual(good, { status: 'fulfilled', value: 4096 });
  assert.deepEqual(cut, { status: 'fulfilled', value: 100 });
  assert(bad.status === 'rejected' && failed('rbd_aio_read2', errno.EINVAL)(bad.reason));
  assert.equal(await reader.read(Buffer.alloc(10), 5), 10);
});

test('small views of the JavaScript heap are read into as they are', async () => {
  await using image = await Image.open(at.pool, { name: 'disk' });
  const reader = ImageReader.attach(image);
  const views = Array.from({ length: 200 }, () => new Uint8Array(8));
  await Promise.all(views.map((view, index) => reader.read(view, 1_000_001 + index * 8)));
  const whole = Buffer.alloc(1600);
  await reader.read(whole, 1_000_001);
  assert(Buffer.concat(views).equals(whole));
});

test('closing the image waits for its reads; then it cannot be read', async () => {
  const image = await Image.open(at.pool, { name: 'disk' });
  const reader = ImageReader.attach(image);
  const reads = Array.from({ length: 32 }, (_, index) =>
    reader.read(Buffer.alloc(mebibyte), index * mebibyte),
  );
  await image.close();
  assert.deepEqual(
    await Promise.all(reads),
    Array.from({ length: 32 }, () => mebibyte),
  );
  await assert.rejects(reader.read(Buffer.alloc(1), 0), { message: 'image is closed' });
});

test('an image has one reader', async () => {
  await using image = await Image.open(at.pool, { name: 'disk' });
  const reader = ImageReader.attach(image);
  const again = () => ImageReader.attach(image);
  assert.throws(again, failed('rbd_set_image_notification', errno.EINVAL));
  assert.equal(await reader.read(Buffer.alloc(10), 0), 10);
});

test('what cannot be read into is a programmer`s error', async () => {
  await using image = await Image.open(at.pool, { name: 'disk' });
  const reader = ImageReader.attach(image);
  const resizable = new Uint8Array(new ArrayBuffer(8, { maxByteLength: 16 }));
  await assert.rejects(reader.read(resizable, 0), { name: 'AssertionError' });
  await assert.rejects(reader.read(new Uint8Array(0), 0), { name: 'AssertionError' });
  await assert.rejects(reader.read(Buffer.alloc(1), -1), { name: 'AssertionError' });
  await assert.rejects(reader.read(Buffer.alloc(1), 0.5), { name: 'AssertionError' });
  const most = Array.from({ length: maxReadsInFlight }, () => reader.read(Buffer.alloc(1), 0));
  await assert.rejects(reader.read(Buffer.alloc(1), 0), { name: 'AssertionError' });
  await Promise.all(most);
});

test('a removed image reads as zeros to who has it open, and only a fresh open tells', async () => {
  await createImage(at.pool, 'doomed', 8 * mebibyte);
  await using writer = await Image.open(at.pool, { name: 'doomed' }, { writable: true });
  await writer.write(Buffer.alloc(mebibyte, 7), 0);
  await writer.close();
  const id = await imageId(at.pool, 'doomed');
  await using image = await Image.open(at.pool, { id });
  await removeImage(at.pool, 'doomed');
  const reader = ImageReader.attach(image);
  const buffer = Buffer.alloc(mebibyte, 1);
  assert.equal(await reader.read(buffer, 0), mebibyte);
  assert(buffer.equals(Buffer.alloc(mebibyte)));
  await assert.rejects(
    Image.open(at.pool, { id }),
    failed('rbd_open_by_id_read_only', errno.ENOENT),
  );
});

test('a read that the cluster does not answer ends in ETIMEDOUT, and the reader goes on after it', async () => {
  await using other = await makePool();
  await createImage(other.pool, 'disk', mebibyte);
  await using hasty = await connect({ osdTimeoutMs: 1000 });
  await using pool = await hasty.openPool(other.name);
  await using image = await Image.open(pool, { name: 'disk' });
  const reader = ImageReader.attach(image);
  const read = () => reader.read(Buffer.alloc(4096), 0);
  assert.equal(await read(), 4096);
  // Two copies asked of a cluster of one OSD: this pool serves nothing until one is enough again.
  const settings = ['size 2', 'min_size 2'].map((each) => each.split(' '));
  for (const setting of settings)
    await command('ceph', 'osd', 'pool', 'set', other.name, ...setting);
  await until(async () => await read().then(() => false, failed('rbd_aio_read2', errno.ETIMEDOUT)));
  await command('ceph', 'osd', 'pool', 'set', other.name, 'min_size', '1');
  await until(
    async () =>
      await read().then(
        (length) => length === 4096,
        () => false,
      ),
  );
});

test('a process ends by itself when nothing is in flight, and not before its read is done', async () => {
  const source = `
    const { Cluster, Image, ImageReader } = await import(${JSON.stringify(new URL('../src/index.ts', import.meta.url))});
    const cluster = await Cluster.connect({ user: 'admin' });
    const image = await Image.open(await cluster.openPool('${at.name}'), { name: 'disk' });
    ImageReader.attach(image).read(Buffer.alloc(4096), 0).then((length) => console.log('read', length));`;
  const args = ['--input-type=module', '-e', source];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 20_000 });
  assert.equal(stdout, 'read 4096\n');
});

test('a copy by extents is the image', async () => {
  await using image = await Image.open(at.pool, { name: 'disk' }, { snapshot: 'base' });
  const reader = ImageReader.attach(image);
  const copy = Buffer.alloc(size);
  const extents = await allocatedExtents(image);
  assert(extents.length > 1);
  await Promise.all(
    extents.map(([offset, length]) => reader.read(copy.subarray(offset, offset + length), offset)),
  );
  assert((await command('rbd', 'export', `${at.name}/disk@base`, '-')).equals(copy));
});
