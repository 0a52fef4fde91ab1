import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  createImage,
  createNamespace,
  errno,
  listImages,
  listNamespaces,
  listPoolMetadata,
  namespaceExists,
  poolMetadata,
  removeImage,
  removeNamespace,
  removePoolMetadata,
  setPoolMetadata,
} from '../src/index.ts';
import { failed, json, makePool, type TestPool } from './support.ts';

let at: TestPool;
before(async () => {
  at = await makePool();
});
after(() => at[Symbol.asyncDispose]());

test('a pool`s metadata are set, listed in pages, and removed', async () => {
  const long = 'ß'.repeat(20_000);
  const want = new Map([['long', long]]);
  for (let index = 0; index < 70; index += 1) want.set(`key-${index}`, `value-${index}`);
  for (const [key, value] of want) await setPoolMetadata(at.pool, key, value);
  assert.deepEqual(await listPoolMetadata(at.pool), want);
  assert.equal(await poolMetadata(at.pool, 'long'), long);
  assert.equal(await poolMetadata(at.pool, 'absent'), null);
  await removePoolMetadata(at.pool, 'long');
  const again = removePoolMetadata(at.pool, 'long');
  await assert.rejects(again, failed('rbd_pool_metadata_remove', errno.ENOENT));
});

test('namespaces are those of rbd, and one is removed when it is empty', async () => {
  assert.deepEqual(await listNamespaces(at.pool), []);
  for (const name of ['tenant', 'zweiter-ü']) await createNamespace(at.pool, name);
  const seen = await json<{ name: string }[]>('rbd', 'namespace', 'ls', at.name);
  assert.deepEqual(
    await listNamespaces(at.pool),
    seen.map((each) => each.name),
  );
  assert.equal(await namespaceExists(at.pool, 'tenant'), true);
  assert.equal(await namespaceExists(at.pool, 'nobody'), false);
  const twice = createNamespace(at.pool, 'tenant');
  await assert.rejects(twice, failed('rbd_namespace_create', errno.EEXIST));
  await using inner = await at.cluster.openPool(at.name, 'tenant');
  await createImage(inner, 'inside', 1 << 20);
  assert.deepEqual(await listImages(at.pool), []);
  const busy = removeNamespace(at.pool, 'tenant');
  await assert.rejects(busy, failed('rbd_namespace_remove', errno.EBUSY));
  await removeImage(inner, 'inside');
  await removeNamespace(at.pool, 'tenant');
  const absent = removeNamespace(at.pool, 'tenant');
  await assert.rejects(absent, failed('rbd_namespace_remove', errno.ENOENT));
});
