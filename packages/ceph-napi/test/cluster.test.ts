import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { type CephError, Cluster, createImage, errno, listImages } from '../src/index.ts';
import { command, conf, connect, failed, json, makePool, type TestPool } from './support.ts';

let at: TestPool;
let folder = '';
before(async () => {
  at = await makePool();
  folder = await mkdtemp(path.join(tmpdir(), 'ceph-napi-'));
});
after(async () => {
  await rm(folder, { recursive: true });
  await at[Symbol.asyncDispose]();
});

test('a user is named with or without client.', async () => {
  await using cluster = await connect({ user: 'client.admin' });
  assert.equal(await cluster.fsid(), (await command('ceph', 'fsid')).toString().trim());
});

test('pools are found by name and by id', async () => {
  const pools = await json<{ poolnum: number; poolname: string }[]>('ceph', 'osd', 'lspools');
  const id = pools.find((pool) => pool.poolname === at.name)?.poolnum;
  assert(id !== undefined);
  assert.equal(at.pool.id, id);
  assert.equal(await at.cluster.poolId(at.name), id);
  assert.equal(await at.cluster.poolName(id), at.name);
  await using pool = await at.cluster.openPool(id);
  assert.deepEqual([pool.id, pool.name, pool.namespace], [id, at.name, '']);
  // The pools of other test files come and go between the two answers.
  const lasting = (name: string) => name === at.name || !name.startsWith('napi-');
  const names = (await at.cluster.listPools()).filter(lasting);
  const want = pools.map((each) => each.poolname).filter(lasting);
  assert.deepEqual(names.toSorted(), want.toSorted());
});

test('a pool that does not exist is ENOENT', async () => {
  const { cluster } = at;
  await assert.rejects(cluster.openPool('absent'), failed('rados_ioctx_create', errno.ENOENT));
  await assert.rejects(cluster.poolId('absent'), failed('rados_pool_lookup', errno.ENOENT));
  await assert.rejects(cluster.poolName(1e9), failed('rados_pool_reverse_lookup', errno.ENOENT));
  await assert.rejects(cluster.openPool(1e9), failed('rados_pool_reverse_lookup', errno.ENOENT));
});

test('a namespace of a pool has images of its own', async () => {
  await command('rbd', 'namespace', 'create', `${at.name}/inner`);
  await using inner = await at.cluster.openPool(at.name, 'inner');
  await createImage(inner, 'only-inside', 1 << 20);
  assert.deepEqual(
    (await listImages(inner)).map((image) => image.name),
    ['only-inside'],
  );
  assert.deepEqual(await listImages(at.pool), []);
});

test('the monitors answer commands, and their refusal is an error with their words', async () => {
  const { output } = await at.cluster.monCommand({ prefix: 'fsid', format: 'json' });
  assert.deepEqual(JSON.parse(output.toString()), { fsid: await at.cluster.fsid() });
  const refused = at.cluster.monCommand({ prefix: 'osd pool get', pool: 'absent', var: 'size' });
  await assert.rejects(refused, (error) => {
    assert(failed('rados_mon_command', errno.ENOENT)(error));
    return (error as CephError).message.includes("unrecognized pool 'absent'");
  });
});

test('the manager answers commands, and its refusal is an error with its words', async () => {
  const { output } = await at.cluster.mgrCommand({ prefix: 'pg stat', format: 'json' });
  const { pg_summary: summary } = JSON.parse(output.toString()) as {
    pg_summary: { num_pgs: number };
  };
  assert(summary.num_pgs >= 8);
  const refused = at.cluster.mgrCommand({ prefix: 'no such command' });
  await assert.rejects(refused, (error) => {
    assert(failed('rados_mgr_command', errno.EINVAL)(error));
    return (
      (error as CephError).message.length > 'rados_mgr_command: EINVAL: invalid argument'.length
    );
  });
});

test('a connection has a number and an address', async () => {
  await using other = await connect();
  const [mine, theirs] = [await at.cluster.address(), await other.address()];
  assert.match(mine, /^\d+\.\d+\.\d+\.\d+:0\/\d+$/);
  assert.notEqual(mine, theirs);
  assert.notEqual(at.cluster.instanceId(), other.instanceId());
  await at.cluster.waitForLatestOsdMap();
});

test('a wrong key is refused', async () => {
  const keyring = path.join(folder, 'keyring');
  await command('ceph-authtool', '-C', keyring, '--gen-key', '-n', 'client.admin');
  await assert.rejects(connect({ keyring }), failed('rados_connect', errno.EACCES));
});

test('an unreadable keyring, an absent configuration and an unknown option are errors of their own', async () => {
  const nowhere = path.join(folder, 'nowhere');
  await assert.rejects(connect({ keyring: nowhere }), failed('rados_connect', errno.ENOENT));
  await assert.rejects(connect({ conf: nowhere }), failed('rados_conf_read_file', errno.ENOENT));
  const options = { no_such_option: '1' };
  await assert.rejects(connect({ options }), failed('rados_conf_set', errno.ENOENT));
});

test('an option is told as it was set, or as it is by default; however long it is', async () => {
  const long = '/'.repeat(1000);
  await using cluster = await connect({ options: { admin_socket: long } });
  assert.equal(await cluster.option('admin_socket'), long);
  assert.equal(await cluster.option('rbd_default_clone_format'), 'auto');
  await assert.rejects(cluster.option('no_such_option'), failed('rados_conf_get', errno.ENOENT));
});

test('a configuration may be given without a file', async () => {
  const monHost = (await command('ceph-conf', '--lookup', 'mon_host')).toString().trim();
  const keyring = '/etc/ceph/ceph.client.admin.keyring';
  await using cluster = await connect({ conf: null, keyring, options: { mon_host: monHost } });
  assert.equal(await cluster.fsid(), await at.cluster.fsid());
});

test('a monitor that does not answer ends in ETIMEDOUT, and the event loop runs meanwhile', async () => {
  let ticks = 0;
  const timer = setInterval(() => (ticks += 1), 50);
  const start = performance.now();
  const options = { mon_host: '10.77.0.250' }; // nobody has this address
  const attempt = Cluster.connect({ conf, user: 'admin', options, connectTimeoutMs: 1000 });
  await assert.rejects(attempt, failed('rados_connect', errno.ETIMEDOUT));
  clearInterval(timer);
  assert(performance.now() - start < 5000);
  assert(ticks >= 5, `${ticks} ticks`);
});

test('closing a connection closes what was opened from it, once; then it cannot be used', async () => {
  const cluster = await connect();
  const pool = await cluster.openPool(at.name);
  await Promise.all([cluster.close(), cluster.close()]);
  await cluster.close();
  assert(pool.closed);
  await assert.rejects(cluster.fsid(), { name: 'AssertionError', message: 'cluster is closed' });
  await assert.rejects(listImages(pool), { name: 'AssertionError', message: 'pool is closed' });
});

test('closing waits for the calls that are running', async () => {
  const cluster = await connect();
  const asked = cluster.monCommand({ prefix: 'status' });
  await cluster.close();
  assert((await asked).output.length > 0);
});

test('a name that C would not see whole is refused before C', async () => {
  await assert.rejects(at.cluster.poolId('a\0b'), TypeError);
  await assert.rejects(at.cluster.poolId('\ud800'), TypeError);
});
