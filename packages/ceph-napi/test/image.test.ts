import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  createImage,
  createSnapshot,
  errno,
  feature,
  Image,
  imageId,
  listImages,
  removeImage,
  snapshotId,
} from '../src/index.ts';
import { command, failed, json, makePool, type TestPool } from './support.ts';

let at: TestPool;
before(async () => {
  at = await makePool();
});
after(() => at[Symbol.asyncDispose]());

interface Info {
  readonly id: string;
  readonly size: number;
  readonly object_size: number;
  readonly order: number;
  readonly block_name_prefix: string;
  readonly features: readonly string[];
}

test('an image is what rbd says it is', async () => {
  await createImage(at.pool, 'ünï', 10_000_001, { order: 20 });
  const info = await json<Info>('rbd', 'info', `${at.name}/ünï`);
  await using image = await Image.open(at.pool, { name: 'ünï' });
  assert.equal(await image.id(), info.id);
  assert.equal(await image.blockNamePrefix(), info.block_name_prefix);
  const { sizeBytes, objectSizeBytes, order, objects } = await image.stat();
  assert.deepEqual([sizeBytes, objectSizeBytes, order], [info.size, info.object_size, info.order]);
  assert.deepEqual([await image.size(), objects], [10_000_001, 10]);
  const names = ['layering', 'exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten'];
  assert.deepEqual(info.features, names);
  const mask = feature.layering | feature.exclusiveLock | feature.objectMap;
  assert.equal(await image.features(), mask | feature.fastDiff | feature.deepFlatten);
});

test('an image keeps its id when its name goes to another', async () => {
  await createImage(at.pool, 'first', 1 << 20);
  const id = await imageId(at.pool, 'first');
  await command('rbd', 'rename', `${at.name}/first`, `${at.name}/renamed`);
  await createImage(at.pool, 'first', 2 << 20);
  await using byId = await Image.open(at.pool, { id });
  await using byName = await Image.open(at.pool, { name: 'first' });
  assert.deepEqual([await byId.size(), await byName.size()], [1 << 20, 2 << 20]);
  assert.equal(await byId.id(), id);
  assert.notEqual(await byName.id(), id);
});

test('a snapshot is opened by name and by id', async () => {
  await createImage(at.pool, 'snapped', 1 << 20);
  await using image = await Image.open(at.pool, { name: 'snapped' }, { writable: true });
  await createSnapshot(image, 'then');
  await command('rbd', 'resize', '--size', '3M', `${at.name}/snapped`);
  const id = await snapshotId(image, 'then');
  assert(id !== null);
  for (const snapshot of ['then', id]) {
    await using old = await Image.open(at.pool, { name: 'snapped' }, { snapshot });
    assert.equal(await old.size(), 1 << 20);
  }
  await using now = await Image.open(at.pool, { name: 'snapped' });
  assert.equal(await now.size(), 3 << 20);
});

test('an image or snapshot that does not exist is ENOENT', async () => {
  const open = (ref: Parameters<typeof Image.open>[1], options = {}) =>
    assert.rejects.bind(null, Image.open(at.pool, ref, options));
  await createImage(at.pool, 'bare', 1 << 20);
  await open({ name: 'absent' })(failed('rbd_open_read_only', errno.ENOENT));
  await open({ id: 'absent' })(failed('rbd_open_by_id_read_only', errno.ENOENT));
  await open({ name: 'absent' }, { writable: true })(failed('rbd_open', errno.ENOENT));
  await open({ id: 'absent' }, { writable: true })(failed('rbd_open_by_id', errno.ENOENT));
  const byName = failed('rbd_snap_set', errno.ENOENT);
  await open({ name: 'bare' }, { snapshot: 'absent' })(byName);
  const byId = failed('rbd_snap_set_by_id', errno.ENOENT);
  await open({ name: 'bare' }, { snapshot: 12_345 })(byId);
});

test('a read-only image refuses to be written', async () => {
  await createImage(at.pool, 'read-only', 1 << 20);
  await using image = await Image.open(at.pool, { name: 'read-only' });
  await assert.rejects(image.write(Buffer.from('x'), 0), failed('rbd_write', errno.EROFS));
});

test('an object map that is marked invalid is reported so', async () => {
  await createImage(at.pool, 'flagged', 1 << 20);
  await using image = await Image.open(at.pool, { name: 'flagged' });
  assert.deepEqual(await image.flags(), { objectMapInvalid: false, fastDiffInvalid: false });
  await command('rbd', 'feature', 'disable', `${at.name}/flagged`, 'fast-diff', 'object-map');
  await using written = await Image.open(at.pool, { name: 'flagged' }, { writable: true });
  await written.write(Buffer.alloc(4096, 1), 0);
  await written.close();
  await command('rbd', 'feature', 'enable', `${at.name}/flagged`, 'object-map', 'fast-diff');
  await using unsure = await Image.open(at.pool, { name: 'flagged' });
  assert.deepEqual(await unsure.flags(), { objectMapInvalid: true, fastDiffInvalid: true });
});

test('creating and removing say why they cannot', async () => {
  await createImage(at.pool, 'once', 1 << 20);
  await assert.rejects(createImage(at.pool, 'once', 1 << 20), failed('rbd_create4', errno.EEXIST));
  await using image = await Image.open(at.pool, { name: 'once' }, { writable: true });
  await assert.rejects(removeImage(at.pool, 'once'), failed('rbd_remove', errno.EBUSY));
  await createSnapshot(image, 'kept');
  await image.close();
  await assert.rejects(removeImage(at.pool, 'once'), failed('rbd_remove', errno.ENOTEMPTY));
  await assert.rejects(removeImage(at.pool, 'absent'), failed('rbd_remove', errno.ENOENT));
});

test('more images than the first room are listed, with their ids', async () => {
  await using many = await makePool();
  const names = Array.from({ length: 270 }, (_, index) => `image-${index}`);
  for (let first = 0; first < names.length; first += 8) {
    const some = names.slice(first, first + 8);
    await Promise.all(some.map((name) => createImage(many.pool, name, 1 << 20, { features: 1 })));
  }
  const listed = await listImages(many.pool);
  assert.deepEqual(listed.map((image) => image.name).toSorted(), names.toSorted());
  const one = listed.find((image) => image.name === 'image-77');
  assert.equal(one?.id, await imageId(many.pool, 'image-77'));
});

test('metadata are set, listed in pages, and removed', async () => {
  await createImage(at.pool, 'noted', 1 << 20);
  await using image = await Image.open(at.pool, { name: 'noted' }, { writable: true });
  const long = 'ß'.repeat(20_000);
  const want = new Map([['long', long]]);
  for (let index = 0; index < 70; index += 1) want.set(`key-${index}`, `value-${index}`);
  for (const [key, value] of want) await image.setMetadata(key, value);
  assert.deepEqual(await image.listMetadata(), want);
  assert.equal(await image.metadata('long'), long);
  assert.equal(await image.metadata('absent'), null);
  await image.removeMetadata('long');
  assert.equal(await image.metadata('long'), null);
  await assert.rejects(image.removeMetadata('long'), failed('rbd_metadata_remove', errno.ENOENT));
});
