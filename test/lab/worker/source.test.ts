// Sources by names and by ids, and their properties records, compared with `rbd` and `rados`.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { SourceFacts, SourceName } from '../../../src/wire/vocabulary.ts';
import type { CephMethods } from '../../../src/wire/worker-protocol.ts';
import type { Worker } from '../../../src/worker/supervisor/index.ts';
import { must, run } from '../support/host.ts';
import { fileCleanup, freshPool } from '../support/images.ts';
import { cephWorker, failing, json, makeUsers, soon } from './ceph-worker.ts';

const cleanup = fileCleanup();
let pool: string;
let worker: Worker<CephMethods>;
let users: Awaited<ReturnType<typeof makeUsers>>;

before(async () => {
  pool = await freshPool(cleanup);
  users = await makeUsers(cleanup, pool);
  worker = cephWorker(users);
  cleanup.after(async () => await worker[Symbol.asyncDispose]());
  await must('rbd', 'namespace', 'create', `${pool}/tenant`);
});

async function source(image: string, snap = 'snap', namespace = ''): Promise<SourceName> {
  const spec = [pool, namespace, image].filter(Boolean).join('/');
  if ((await run('rbd', ['info', spec])).code !== 0) {
    await must('rbd', 'create', '--size', '24M', '--object-size', '1M', spec);
  }
  await must('rbd', 'snap', 'create', '--no-progress', `${spec}@${snap}`);
  return { pool, namespace, image, snap };
}

interface RbdInfo {
  readonly id: string;
  readonly size: number;
  readonly object_size: number;
  readonly features: readonly string[];
}
interface RbdSnap {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  readonly protected: string;
}

const resolve = (name: SourceName) => worker.call('resolveSource', name, soon);

async function assertSame(facts: SourceFacts, name: SourceName): Promise<void> {
  const spec = [pool, name.namespace, name.image].filter(Boolean).join('/');
  const info = await json<RbdInfo>('rbd', 'info', spec);
  const snaps = await json<RbdSnap[]>('rbd', 'snap', 'ls', spec);
  const snap = snaps.find((each) => each.name === name.snap)!;
  const pools = await json<{ poolnum: number; poolname: string }[]>('ceph', 'osd', 'lspools');
  const fsid = await must('ceph', 'fsid');
  assert.deepEqual(facts.ids, {
    fsid,
    poolId: pools.find((each) => each.poolname === pool)?.poolnum,
    namespace: name.namespace,
    imageId: info.id,
    snapId: snap.id,
  });
  assert.deepEqual(facts.name, { ...name, fsid });
  assert.equal(facts.sizeBytes, snap.size);
  assert.equal(facts.objectSizeBytes, info.object_size);
  assert.deepEqual(facts.features.toSorted(), info.features.toSorted());
  assert.equal(facts.isProtected, snap.protected === 'true');
}

test('status tells the fsid', async () => {
  const { fsid } = await worker.call('status', {}, soon);
  assert.equal(fsid, await must('ceph', 'fsid'));
});

for (const namespace of ['', 'tenant']) {
  test(`a source in namespace '${namespace}' resolves to what rbd says, by names and by ids`, async () => {
    const name = await source('plain', 'first', namespace);
    const spec = [pool, namespace, 'plain'].filter(Boolean).join('/');
    await must('rbd', 'resize', '--no-progress', '--size', '32M', spec);
    await must('rbd', 'snap', 'protect', `${spec}@first`);
    cleanup.after(() => must('rbd', 'snap', 'unprotect', `${spec}@first`));
    const facts = await resolve(name);
    await assertSame(facts, name);
    assert.equal(facts.sizeBytes, 24 * 2 ** 20, 'of the snapshot, not of the image now');
    assert.deepEqual(await worker.call('describeSource', facts.ids, soon), facts);
    const later = await source('plain', 'later', namespace);
    await assertSame(await resolve(later), later);
  });
}

test('hostile names are taken as they are', async () => {
  const name = await source('a b;$(x)%2F"é', "it's #1");
  assert.deepEqual((await resolve(name)).name.image, name.image);
});

test('what is missing is named: pool, image or snapshot', async () => {
  const name = await source('here');
  await failing(
    resolve({ ...name, pool: 'nopool' }),
    'not-found',
    /no pool 'nopool'/,
    /osd pool ls/,
  );
  await failing(
    resolve({ ...name, image: 'noimage' }),
    'not-found',
    /no image 'noimage'/,
    /rbd ls/,
  );
  await failing(resolve({ ...name, namespace: 'nons' }), 'not-found', /no image 'here' in .*nons/);
  await failing(
    resolve({ ...name, snap: 'nosnap' }),
    'not-found',
    /no snapshot 'nosnap'/,
    /snap ls/,
  );
  const { ids } = await resolve(name);
  const describe = (more: object) => worker.call('describeSource', { ...ids, ...more }, soon);
  await failing(describe({ poolId: 99_999 }), 'not-found', /no pool 99999/);
  await failing(describe({ imageId: 'abcdef' }), 'not-found', /no image with id abcdef/);
  await failing(describe({ snapId: 99_999 }), 'not-found', /no snapshot with id 99999/);
});

test('ids and names of another cluster are a mismatch', async () => {
  const name = await source('foreign');
  const fsid = '00000000-0000-4000-8000-000000000000';
  await failing(resolve({ ...name, fsid }), 'mismatch', new RegExp(fsid));
  const { ids } = await resolve(name);
  await failing(worker.call('checkSource', { ...ids, fsid }, soon), 'mismatch', new RegExp(fsid));
});

test('a fresh look tells what is gone', async () => {
  const own = await freshPool(cleanup);
  await using mine = cephWorker(await makeUsers(cleanup, own));
  const check = (ids: SourceFacts['ids']) => mine.call('checkSource', ids, soon);
  await must('rbd', 'create', '--size', '4M', `${own}/image`);
  await must('rbd', 'snap', 'create', '--no-progress', `${own}/image@snap`);
  const name = { pool: own, namespace: '', image: 'image', snap: 'snap' };
  const { ids } = await mine.call('resolveSource', name, soon);
  assert.deepEqual(await check(ids), { kind: 'present' });
  await must('rbd', 'snap', 'rm', '--no-progress', `${own}/image@snap`);
  assert.deepEqual(await check(ids), { kind: 'gone', what: 'snapshot' });
  await must('rbd', 'rm', '--no-progress', `${own}/image`);
  assert.deepEqual(await check(ids), { kind: 'gone', what: 'image' });
  assert.deepEqual(await check({ ...ids, poolId: 99_999 }), { kind: 'gone', what: 'pool' });
});

test('a properties record is written, found with the source, and removed', async () => {
  const name = await source('described');
  const { ids } = await resolve(name);
  const properties = { disk_format: 'qcow2', os_hash_algo: 'sha512', os_hash_value: 'ab"\n€' };
  await worker.call('setProperties', { ids, properties }, soon);
  assert.deepEqual((await resolve(name)).properties, properties);
  const key = `${ids.imageId}@${ids.snapId}`;
  const file = `/tmp/${pool}.value`;
  await must('rados', '-p', pool, 'getomapval', 'siphon.sources', key, file);
  assert.deepEqual(JSON.parse(await must('cat', file)), { schema: 1, properties });
  await worker.call('setProperties', { ids, properties: null }, soon);
  await worker.call('setProperties', { ids, properties: null }, soon);
  assert.equal((await resolve(name)).properties, undefined);
  assert.equal(await must('rados', '-p', pool, 'listomapkeys', 'siphon.sources'), '');
});

test('a properties record that cannot be read is an error, never none', async () => {
  const name = await source('odd');
  const { ids } = await resolve(name);
  const key = `${ids.imageId}@${ids.snapId}`;
  const set = (value: string) =>
    must('rados', '-p', pool, 'setomapval', 'siphon.sources', key, value);
  for (const value of ['{', '[]', '{"schema":1}', '{"schema":1,"properties":{"a":1}}']) {
    await set(value);
    await failing(resolve(name), 'corrupt', /siphon.sources/, /siphon describe/);
  }
  await set('{"schema":2,"properties":{}}');
  await failing(resolve(name), 'mismatch', /schema is 2/);
});

test('a user that may not is told which cap it needs', async () => {
  const name = await source('guarded');
  const { ids } = await resolve(name);
  await using worker = cephWorker({ ...users, publish: users.fill });
  const writing = worker.call('setProperties', { ids, properties: {} }, soon);
  const hint = new RegExp(`ceph auth caps client.${users.fill.name} .*pool=${pool}`);
  await failing(writing, 'denied', /may not/, hint);
  const stranger = await makeUsers(cleanup, 'nopool');
  await using other = cephWorker(stranger);
  await failing(other.call('resolveSource', name, soon), 'denied', /may not/, /rbd-read-only/);
});
