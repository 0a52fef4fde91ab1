import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  abilities,
  allocatedExtents,
  createImage,
  createSnapshot,
  type Extent,
  errno,
  Image,
  removeSnapshot,
  snapshotId,
} from '../src/index.ts';
import { command, failed, json, makePool, type TestPool } from './support.ts';

const mebibyte = 1 << 20;
let at: TestPool;
before(async () => {
  at = await makePool();
  await createImage(at.pool, 'parent', 64 * mebibyte + 513);
  await using image = await Image.open(at.pool, { name: 'parent' }, { writable: true });
  await image.write(Buffer.alloc(4096, 1), 0);
  await image.write(Buffer.alloc(5 * mebibyte, 2), 7 * mebibyte);
  await createSnapshot(image, 'half');
  await image.write(Buffer.alloc(513, 3), 64 * mebibyte);
  await image.write(Buffer.alloc(9 * mebibyte, 3), 31 * mebibyte);
  await createSnapshot(image, 'base');
});
after(() => at[Symbol.asyncDispose]());

/** What `rbd diff` says has data, merged where it touches. */
async function rbdDiff(image: string, ...args: string[]): Promise<Extent[]> {
  type Line = { offset: number; length: number; exists: string };
  const lines = await json<Line[]>('rbd', 'diff', `${at.name}/${image}`, ...args);
  const merged: [number, number][] = [];
  for (const { offset, length, exists } of lines) {
    if (exists === 'false') continue;
    const last = merged.at(-1);
    if (last && last[0] + last[1] === offset) last[1] += length;
    else merged.push([offset, length]);
  }
  return merged;
}

test('extents are those of rbd diff, precise and by object', async () => {
  await using image = await Image.open(at.pool, { name: 'parent' });
  const precise = await allocatedExtents(image, { wholeObject: false });
  assert.deepEqual(precise, await rbdDiff('parent'));
  const whole = await allocatedExtents(image);
  assert.deepEqual(whole, await rbdDiff('parent', '--whole-object'));
  assert.deepEqual(whole, [
    [0, 12 * mebibyte],
    [28 * mebibyte, 12 * mebibyte],
    [64 * mebibyte, 513],
  ]);
});

test('at a snapshot, and since one', async () => {
  await using old = await Image.open(at.pool, { name: 'parent' }, { snapshot: 'half' });
  const wholeObject = false;
  assert.deepEqual(await allocatedExtents(old, { wholeObject }), await rbdDiff('parent@half'));
  await using base = await Image.open(at.pool, { name: 'parent' }, { snapshot: 'base' });
  const since = await allocatedExtents(base, { fromSnapshot: 'half', wholeObject });
  assert.deepEqual(since, await rbdDiff('parent@base', '--from-snap', 'half'));
  const absent = allocatedExtents(base, { fromSnapshot: 'absent' });
  await assert.rejects(absent, failed('rbd_diff_iterate2', errno.ENOENT));
});

test('since a snapshot by its id, where the library can', async () => {
  await using base = await Image.open(at.pool, { name: 'parent' }, { snapshot: 'base' });
  const id = (await snapshotId(base, 'half')) ?? 0;
  const options = { fromSnapshot: id, wholeObject: false };
  if (abilities().find((one) => one.symbol === 'rbd_diff_iterate3')?.present) {
    const byName = await allocatedExtents(base, { ...options, fromSnapshot: 'half' });
    assert.deepEqual(await allocatedExtents(base, options), byName);
    const whole = { fromSnapshot: 'half', wholeObject: true };
    assert.deepEqual(
      await allocatedExtents(base, { ...whole, fromSnapshot: id }),
      await allocatedExtents(base, whole),
    );
    const absent = allocatedExtents(base, { fromSnapshot: 999 });
    await assert.rejects(absent, failed('rbd_diff_iterate3', errno.ENOENT));
  } else {
    const refused = allocatedExtents(base, options);
    await assert.rejects(refused, failed('rbd_diff_iterate3', errno.ENOSYS));
  }
});

test('a clone has what its parent has, unless the parent is left out', async () => {
  const [from, to] = [`${at.name}/parent@base`, `${at.name}/clone`];
  await command('rbd', 'clone', '--rbd-default-clone-format', '2', from, to);
  await using image = await Image.open(at.pool, { name: 'clone' }, { writable: true });
  assert.deepEqual(await allocatedExtents(image, { includeParent: false }), []);
  assert.deepEqual(await allocatedExtents(image), await rbdDiff('clone', '--whole-object'));
  await image.write(Buffer.from('mine'), 50 * mebibyte);
  const own = await allocatedExtents(image, { includeParent: false });
  assert.deepEqual(own, [[48 * mebibyte, 4 * mebibyte]]);
});

test('a window of the image, and what an empty one holds', async () => {
  await using image = await Image.open(at.pool, { name: 'parent' });
  const window = { offset: 8 * mebibyte, length: 22 * mebibyte };
  assert.deepEqual(await allocatedExtents(image, window), [
    [8 * mebibyte, 4 * mebibyte],
    [28 * mebibyte, 2 * mebibyte],
  ]);
  await createImage(at.pool, 'empty', 1 << 30);
  await using empty = await Image.open(at.pool, { name: 'empty' });
  assert.deepEqual(await allocatedExtents(empty), []);
});

test('a signal ends it', async () => {
  await using image = await Image.open(at.pool, { name: 'parent' });
  const signal = AbortSignal.abort();
  const ended = allocatedExtents(image, { signal });
  await assert.rejects(ended, failed('rbd_diff_iterate2', errno.ECANCELED));
});

test('many at once, with the event loop running', async () => {
  await using image = await Image.open(at.pool, { name: 'parent' });
  const want = await allocatedExtents(image, { wholeObject: false });
  const all = Array.from({ length: 40 }, () => allocatedExtents(image, { wholeObject: false }));
  for (const got of await Promise.all(all)) assert.deepEqual(got, want);
});

test('without an object map too', async () => {
  await createImage(at.pool, 'plain', 16 * mebibyte, { features: 1 });
  await using image = await Image.open(at.pool, { name: 'plain' }, { writable: true });
  await image.write(Buffer.alloc(100, 1), 5 * mebibyte);
  assert.deepEqual(await allocatedExtents(image), [[4 * mebibyte, 4 * mebibyte]]);
  await createSnapshot(image, 'one');
  await removeSnapshot(image, 'one');
  await image.discard(4 * mebibyte, 4 * mebibyte);
  assert.deepEqual(await allocatedExtents(image), []);
});
