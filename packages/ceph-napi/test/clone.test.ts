import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import {
  abilities,
  allocatedExtents,
  cloneImage,
  createSnapshot,
  errno,
  flattenImage,
  groupSnapshot,
  Image,
  imageId,
  listChildren,
  listSnapshots,
  moveToTrash,
  parentOf,
  protectSnapshot,
  removeSnapshot,
  snapshotId,
} from '../src/index.ts';
import { command, failed, json, makeImage, makePool, type TestPool } from './support.ts';

const mebibyte = 1 << 20;
const writable = { writable: true };
let at: TestPool;
let baseId = 0;
const content = randomBytes(6 * mebibyte);
before(async () => {
  at = await makePool();
  await using parent = await makeImage(at.pool, 'parent', 32 * mebibyte, { order: 20 });
  await parent.write(content, mebibyte);
  await parent.setMetadata('origin', 'here');
  await createSnapshot(parent, 'base');
  baseId = (await snapshotId(parent, 'base')) ?? 0;
});
after(() => at[Symbol.asyncDispose]());

const from = () => ({ pool: at.pool, image: 'parent', snapshot: 'base' });
const to = (image: string) => ({ pool: at.pool, image });
const has = (symbol: string) => abilities().some((one) => one.symbol === symbol && one.present);

test('a clone of format 2 is as rbd sees it, and knows its parent', async () => {
  await cloneImage(from(), to('clone'));
  await using clone = await Image.open(at.pool, { name: 'clone' });
  const info = await json<{ parent: { pool: string; image: string; snapshot: string } }>(
    'rbd',
    'info',
    `${at.name}/clone`,
  );
  assert.deepEqual([info.parent.image, info.parent.snapshot], ['parent', 'base']);
  assert.deepEqual(await parentOf(clone), {
    poolId: at.pool.id,
    poolName: at.name,
    namespace: '',
    id: await imageId(at.pool, 'parent'),
    name: 'parent',
    trashed: false,
    snapshot: { id: baseId, name: 'base', type: 'user' },
  });
  assert.equal(await clone.metadata('origin'), 'here');
  await using parent = await Image.open(at.pool, { name: 'parent' });
  assert.equal(await parentOf(parent), null);
});

test('children are listed, of a snapshot or of all, in the trash too', async () => {
  await using image = await makeImage(at.pool, 'mother', mebibyte);
  for (const name of ['one', 'two']) {
    await createSnapshot(image, name);
    await cloneImage({ pool: at.pool, image: 'mother', snapshot: name }, to(`of-${name}`));
  }
  const id = await imageId(at.pool, 'of-two');
  await moveToTrash(at.pool, 'of-two');
  const names = (await listChildren(image)).map(({ name, trashed }) => [name, trashed]);
  assert.deepEqual(
    names.toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
    [
      ['of-one', false],
      ['of-two', true],
    ],
  );
  await using two = await Image.open(at.pool, { name: 'mother' }, { snapshot: 'two' });
  const [child, ...more] = await listChildren(two);
  assert.deepEqual([child?.id, child?.poolName, more.length], [id, at.name, 0]);
});

test('format 1 wants a protected snapshot', async () => {
  await using image = await makeImage(at.pool, 'old-style', mebibyte);
  await createSnapshot(image, 'base');
  const clone = () => cloneImage({ ...from(), image: 'old-style' }, to('v1'), { format: 1 });
  await assert.rejects(clone(), failed('rbd_clone3', errno.EINVAL));
  await protectSnapshot(image, 'base');
  await clone();
  assert.equal((await listChildren(image)).length, 1);
});

test('what cannot be cloned says why', async () => {
  const wrong = cloneImage({ ...from(), snapshot: 'absent' }, to('never'));
  await assert.rejects(wrong, failed('rbd_clone3', errno.ENOENT));
  const taken = cloneImage(from(), to('parent'));
  await assert.rejects(taken, failed('rbd_clone3', errno.EEXIST));
});

test('flattening tells how far it is, and leaves an image of its own', async () => {
  await cloneImage(from(), to('flat'));
  await using image = await Image.open(at.pool, { name: 'flat' }, writable);
  const told: number[] = [];
  await flattenImage(image, { onProgress: (done, total) => told.push(done / total) });
  assert(told.length >= 32 && told.every((part) => part >= 0 && part <= 1), `${told.length}`);
  assert.equal(await parentOf(image), null);
  const own = await allocatedExtents(image, { includeParent: false });
  assert.deepEqual(own, [[mebibyte, 6 * mebibyte]]);
  const bytes = await command('rbd', 'export', `${at.name}/flat`, '-');
  assert(bytes.subarray(mebibyte, 7 * mebibyte).equals(content));
  await assert.rejects(flattenImage(image), failed('rbd_flatten_with_progress', errno.EINVAL));
});

test('a signal stops flattening, and a second one goes on', async () => {
  await cloneImage(from(), to('stopped'));
  await using image = await Image.open(at.pool, { name: 'stopped' }, writable);
  const stop = new AbortController();
  const onProgress = () => stop.abort();
  const stopped = flattenImage(image, { onProgress, signal: stop.signal });
  await assert.rejects(stopped, failed('rbd_flatten_with_progress', errno.ECANCELED));
  assert.equal((await parentOf(image))?.name, 'parent');
  await flattenImage(image);
  assert.equal(await parentOf(image), null);
});

test('a snapshot is cloned by its id where the library can, a trashed one nowhere', async () => {
  const clone = cloneImage({ ...from(), snapshot: baseId }, to('by-id'));
  if (!has('rbd_clone4')) {
    await assert.rejects(clone, failed('rbd_clone4', errno.ENOSYS));
    return;
  }
  await clone;
  await using image = await Image.open(at.pool, { name: 'by-id' });
  assert.equal((await parentOf(image))?.snapshot.id, baseId);
  const absent = cloneImage({ ...from(), snapshot: 99_999 }, to('never'));
  await assert.rejects(absent, failed('rbd_clone4', errno.ENOENT));
});

test('a clone has its data where it is told, and the format that the cluster has configured', async () => {
  await using data = await makePool();
  await cloneImage(from(), to('split'), { format: 'configured', dataPool: data.name });
  await using clone = await Image.open(at.pool, { name: 'split' });
  assert.equal(await clone.dataPoolId(), data.pool.id);
  const info = await json<{ data_pool: string }>('rbd', 'info', `${at.name}/split`);
  assert.equal(info.data_pool, data.name);
  await using parent = await Image.open(at.pool, { name: 'parent' });
  assert.equal(await parent.dataPoolId(), at.pool.id);
  await command('rbd', 'rm', '--no-progress', `${at.name}/split`);
});

test('a group`s snapshot tells its members, and they are cloned by id, where the library can', async () => {
  await using image = await makeImage(at.pool, 'member', mebibyte);
  await command('rbd', 'group', 'create', `${at.name}/group`);
  await command('rbd', 'group', 'image', 'add', `${at.name}/group`, `${at.name}/member`);
  await command('rbd', 'group', 'snap', 'create', `${at.name}/group@set`);
  const [snapshot] = await listSnapshots(image);
  assert.equal(snapshot?.type, 'group');
  if (has('rbd_group_snap_get_info')) {
    const { id, ...info } = await groupSnapshot(at.pool, 'group', 'set');
    assert.notEqual(id, '');
    assert.deepEqual(info, {
      name: 'set',
      complete: true,
      members: [{ imageName: 'member', poolId: at.pool.id, snapshotId: snapshot.id }],
    });
    await cloneImage({ pool: at.pool, image: 'member', snapshot: snapshot.id }, to('of-group'));
    await using clone = await Image.open(at.pool, { name: 'of-group' }, writable);
    assert.equal((await parentOf(clone))?.snapshot.type, 'group');
    await flattenImage(clone);
    const absent = groupSnapshot(at.pool, 'group', 'absent');
    await assert.rejects(absent, failed('rbd_group_snap_get_info', errno.ENOENT));
  } else {
    const refused = groupSnapshot(at.pool, 'group', 'set');
    await assert.rejects(refused, failed('rbd_group_snap_get_info', errno.ENOSYS));
  }
  await command('rbd', 'group', 'snap', 'rm', `${at.name}/group@set`);
  await command('rbd', 'group', 'rm', `${at.name}/group`);
});

test('a removed snapshot lives on for its clones', async () => {
  await using image = await makeImage(at.pool, 'outlived', mebibyte);
  await createSnapshot(image, 'base');
  await cloneImage({ ...from(), image: 'outlived' }, to('survivor'));
  await removeSnapshot(image, 'base');
  await using clone = await Image.open(at.pool, { name: 'survivor' }, writable);
  assert.equal((await parentOf(clone))?.snapshot.type, 'trash');
  await flattenImage(clone);
  await using fresh = await Image.open(at.pool, { name: 'outlived' }, writable);
  assert.deepEqual(await listSnapshots(fresh), []);
});
