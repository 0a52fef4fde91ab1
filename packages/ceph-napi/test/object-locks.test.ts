import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  breakObjectLock,
  type Cluster,
  errno,
  listObjectLockers,
  lockObject,
  type Pool,
  unlockObject,
} from '../src/index.ts';
import { connect, failed, json, makePool, type TestPool, until } from './support.ts';

let at: TestPool;
let other: Cluster;
let theirs: Pool;
before(async () => {
  at = await makePool();
  other = await connect();
  theirs = await other.openPool(at.name);
});
after(async () => {
  await other.close();
  await at[Symbol.asyncDispose]();
});

const lock = (oid: string, cookie = 'mine') => ({ oid, name: 'turn', cookie });

test('one holds an exclusive lock, as rados sees it, until it is unlocked', async () => {
  assert.equal(await lockObject(at.pool, lock('one'), { description: 'why' }), true);
  assert.equal(await lockObject(theirs, lock('one')), false);
  const seen = await json<{ lockers: { name: string; cookie: string; addr: string }[] }>(
    'rados',
    '-p',
    at.name,
    'lock',
    'info',
    'one',
    'turn',
  );
  const lockers = await listObjectLockers(theirs, 'one', 'turn');
  assert.equal(lockers?.exclusive, true);
  const [locker] = lockers.lockers;
  assert.equal(locker?.client, `client.${at.cluster.instanceId()}`);
  assert(locker.address.endsWith(await at.cluster.address()), locker.address); // or v1: before it
  assert.deepEqual([seen.lockers[0]?.name, seen.lockers[0]?.cookie], [locker.client, 'mine']);
  await assert.rejects(unlockObject(theirs, lock('one')), failed('rados_unlock', errno.ENOENT));
  await unlockObject(at.pool, lock('one'));
  assert.equal(await listObjectLockers(at.pool, 'one', 'turn'), null);
  assert.equal(await lockObject(theirs, lock('one')), true);
});

test('a lock is held twice only by renewing it', async () => {
  const must = lockObject(at.pool, lock('renewed'), { renew: 'must' });
  await assert.rejects(must, failed('rados_lock_exclusive', errno.ENOENT));
  assert.equal(await lockObject(at.pool, lock('renewed'), { durationMs: 60_000 }), true);
  const again = lockObject(at.pool, lock('renewed'));
  await assert.rejects(again, failed('rados_lock_exclusive', errno.EEXIST));
  for (const renew of ['may', 'must'] as const) {
    assert.equal(await lockObject(at.pool, lock('renewed'), { renew, durationMs: 60_000 }), true);
  }
});

test('a lock ends by itself when its time is over', async () => {
  assert.equal(await lockObject(at.pool, lock('brief'), { durationMs: 1500 }), true);
  assert.equal(await lockObject(theirs, lock('brief')), false);
  await until(() => lockObject(theirs, lock('brief')), 10_000);
});

test('those who give the same tag share a lock', async () => {
  const shared = { sharedTag: 'readers' };
  assert.equal(await lockObject(at.pool, lock('shared', 'a'), shared), true);
  assert.equal(await lockObject(theirs, lock('shared', 'b'), shared), true);
  assert.equal(await lockObject(theirs, lock('shared', 'c')), false);
  const lockers = await listObjectLockers(at.pool, 'shared', 'turn');
  assert.deepEqual(
    [lockers?.exclusive, lockers?.tag, lockers?.lockers.map((one) => one.cookie).toSorted()],
    [false, 'readers', ['a', 'b']],
  );
});

test('a lock is broken by the name of who holds it', async () => {
  assert.equal(await lockObject(theirs, lock('dead')), true);
  const [held] = (await listObjectLockers(at.pool, 'dead', 'turn'))?.lockers ?? [];
  const nobody = breakObjectLock(at.pool, lock('dead'), 'client.999999');
  await assert.rejects(nobody, failed('rados_break_lock', errno.ENOENT));
  await breakObjectLock(at.pool, lock('dead', held?.cookie), held?.client ?? '');
  assert.equal(await lockObject(at.pool, lock('dead')), true);
  const absent = listObjectLockers(at.pool, 'absent', 'turn');
  await assert.rejects(absent, failed('rados_list_lockers', errno.ENOENT));
});
