import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import {
  aioCreateSnapId,
  aioRemoveSnapId,
  createSnapId,
  errno,
  removeSnapId,
} from '../src/index.ts';
import { command, connect, failed, json, makePool, type TestPool } from './support.ts';

let at: TestPool;
before(async () => {
  at = await makePool();
});
after(() => at[Symbol.asyncDispose]());

test('ids are new each time, by a thread or without', async () => {
  const ids = [await createSnapId(at.pool)];
  ids.push(...(await Promise.all([aioCreateSnapId(at.pool), aioCreateSnapId(at.pool)])));
  assert.equal(new Set(ids).size, 3);
  assert(ids.every((id) => id > 0));
  const [first = 0, ...rest] = ids;
  await Promise.all([
    removeSnapId(at.pool, first),
    ...rest.map((id) => aioRemoveSnapId(at.pool, id)),
  ]);
  type Dump = { pools: { pool: number; snap_seq: number }[] };
  const { pools } = await json<Dump>('ceph', 'osd', 'dump');
  const pool = pools.find((each) => each.pool === at.pool.id);
  assert(pool && pool.snap_seq >= Math.max(...ids));
});

test('a pool with snapshots of its own refuses, by a thread or without', async () => {
  const name = `${at.name}-own`;
  await command('ceph', 'osd', 'pool', 'create', name, '1');
  try {
    await command('ceph', 'osd', 'pool', 'mksnap', name, 'mine');
    await using pool = await at.cluster.openPool(name);
    const create = 'rados_ioctx_selfmanaged_snap_create';
    await assert.rejects(createSnapId(pool), failed(create, errno.EINVAL));
    await assert.rejects(
      aioCreateSnapId(pool),
      failed(create.replace('rados', 'rados_aio'), errno.EINVAL),
    );
  } finally {
    await command('ceph', 'osd', 'pool', 'rm', name, name, '--yes-i-really-really-mean-it');
  }
});

test('closing waits for what is asked', async () => {
  const cluster = await connect();
  const asked = aioCreateSnapId(await cluster.openPool(at.name));
  await cluster.close();
  await removeSnapId(at.pool, await asked);
});

test('a process does not end before its id is there', async () => {
  const source = `
    const { Cluster, aioCreateSnapId } = await import(${JSON.stringify(new URL('../src/index.ts', import.meta.url))});
    const cluster = await Cluster.connect({ user: 'admin' });
    aioCreateSnapId(await cluster.openPool('${at.name}')).then((id) => console.log('id', id > 0));`;
  const args = ['--input-type=module', '-e', source];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 20_000 });
  assert.equal(stdout, 'id true\n');
});
