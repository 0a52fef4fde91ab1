// Armed snapshots, as the least-caps user: they ride on the commit that was foreseen, whatever else goes on, and a commit that was
// missed is seen. Three monitors: test/outside/armed.test.ts.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ImageAt } from '../../../src/wire/worker-protocol.ts';
import { must, until } from '../support/host.ts';
import { fileCleanup, freshPool } from '../support/images.ts';
import { load, otherCommits } from '../support/meanwhile.ts';
import { cephWorker, failing, json, makeUsers, soon, usersFor } from '../worker/ceph-worker.ts';
import { holdLock } from '../worker/lock-owner.ts';
import { type Ceph, median, prepare, takeArmed, takeMany, takeUnarmed } from './sets.ts';

const cleanup = fileCleanup();
const IS_SOAK = Boolean(process.env['SIPHON_SOAK']);
const COUNT = IS_SOAK ? 40 : 3;
let pool: string;
let users: Awaited<ReturnType<typeof makeUsers>>;
let ceph: Ceph;
/** The first has an owner of its lock, as a running guest's disk has. */
let disks: readonly ImageAt[];
let count = 0;

async function disk(): Promise<ImageAt> {
  const image = `disk${++count}`;
  await must('rbd', 'create', '--size', '8M', `${pool}/${image}`);
  return { pool, namespace: '', image };
}

before(async () => {
  pool = await freshPool(cleanup);
  users = await makeUsers(cleanup, pool);
  ceph = cephWorker(users);
  cleanup.after(async () => await ceph[Symbol.asyncDispose]());
  const owned = await disk();
  disks = [owned, await disk()];
  await holdLock(cleanup, owned);
});

test('on a quiet cluster they take a fraction of an interval', async () => {
  const { holdMs, intervalMs } = await takeMany('quiet', COUNT, ceph, disks);
  assert.ok(holdMs < 0.4 * intervalMs, `${holdMs} of ${intervalMs} ms`);
});

test('with other commits going on they take a fraction of what others take', async () => {
  await using _ = await otherCommits();
  const unarmed = [];
  for (let n = 0; n < COUNT; n++) unarmed.push(await takeUnarmed(ceph, disks));
  const unarmedMs = median(unarmed.map((each) => each.tookMs));
  const { holdMs } = await takeMany('noisy', COUNT, ceph, disks);
  assert.ok(holdMs < 0.4 * unarmedMs, `${holdMs} : ${unarmedMs} ms`);
});

test('on a loaded machine they still ride, and what is missed is seen', async () => {
  await using _ = await load();
  await using __ = await load();
  const { holdMs, intervalMs } = await takeMany('loaded', COUNT, ceph, disks);
  assert.ok(holdMs < 0.5 * intervalMs, `${holdMs} of ${intervalMs} ms`);
});

test('who is held too long hears of the commit before the snapshots come with the next', async () => {
  const late = await takeArmed(ceph, disks, { hold: (leftMs) => delay(leftMs + 50) });
  assert.deepEqual([late.isMissed, late.isSeen], [true, true]);
});

test('all that arm at the same time ride on one commit, each with a lead of its own', async () => {
  const [one = assert.fail(), two = assert.fail()] = disks;
  const hold = (leftMs: number) => delay(leftMs - 70);
  const [short, long] = await Promise.all([
    takeArmed(ceph, [one]),
    takeArmed(ceph, [two], { leadMs: 300, hold }),
  ]);
  assert.ok(Math.abs(short.commitAtMs - long.commitAtMs) < 0.5 * short.arm.intervalMs);
  assert.ok(long.arm.leftMs > short.arm.leftMs + 200);
});

async function setPace(seconds: number): Promise<AsyncDisposable> {
  const set = (each: number) =>
    must('ceph', 'tell', 'mon.a', 'config', 'set', 'paxos_propose_interval', String(each));
  await set(seconds);
  return { [Symbol.asyncDispose]: async () => void (await set(1)) };
}

test('another pace of the monitors is measured', async () => {
  const pace = IS_SOAK ? 2 : 0.5;
  await using _ = await setPace(pace);
  await using fresh = cephWorker(users);
  const { intervalMs } = await takeMany(`every ${pace} s`, 2, fresh, disks);
  assert.ok(Math.abs(intervalMs - 1000 * pace) < 250 * pace, String(intervalMs));
});

const FLAG = 'nosnaptrim';
interface Dump {
  readonly pools: readonly {
    readonly pool: number;
    readonly pool_name: string;
    readonly snap_seq: number;
  }[];
  readonly removed_snaps_queue: readonly {
    readonly pool: number;
    readonly snaps: readonly { readonly length: number }[];
  }[];
}

/** Whether ids of a pool were made, and all of them removed while {@link FLAG} was set. Before Ceph 20 a removal counts the ids on, too. */
async function idsOf(name: string): Promise<'none' | 'left' | 'removed'> {
  const dump = await json<Dump>('ceph', 'osd', 'dump');
  const pool = dump.pools.find((each) => each.pool_name === name) ?? assert.fail(name);
  const queue = dump.removed_snaps_queue.find((each) => each.pool === pool.pool)?.snaps ?? [];
  const removed = queue.reduce((sum, { length }) => sum + length, 0);
  if (pool.snap_seq === 0) return 'none';
  const { version } = await json<{ version: string }>('ceph', 'version');
  const each = version.startsWith('ceph version 20.') ? 1 : 2;
  return pool.snap_seq === 1 + each * removed ? 'removed' : 'left';
}

test('ticks are of a pool of their own where they may be, and leave nothing there', async () => {
  const ticks = `ticks${process.pid}`;
  await must('ceph', 'osd', 'pool', 'create', ticks, '1');
  cleanup.after(() =>
    must('ceph', 'osd', 'pool', 'rm', ticks, ticks, '--yes-i-really-really-mean-it'),
  );
  const [closed, open] = [users, await usersFor(cleanup, { images: [], vms: [pool] }, ticks)];
  await using _ = await setPace(0.5); // sooner done
  await must('ceph', 'osd', 'set', FLAG);
  try {
    for (const [who, isOpen] of [
      [closed, false],
      [open, true],
    ] as const) {
      await using worker = cephWorker(who, { settings: { tickPool: ticks } });
      await takeArmed(worker, disks);
      if (!isOpen) assert.equal(await idsOf(ticks), 'none');
      else await until('all ids are removed', async () => (await idsOf(ticks)) === 'removed');
    }
  } finally {
    await must('ceph', 'osd', 'unset', FLAG);
  }
});

test('nothing is prepared that is in the way of its snapshot', async () => {
  const at = await disk();
  await failing(prepare(ceph, [at], 'mine'), 'refused', /siphon\./);
  await failing(prepare(ceph, [at, { ...at, image: 'none' }]), 'not-found', /no image 'none'/);
  const snap = 'siphon.there';
  const { prepared } = await ceph.call('prepareSnapshots', { disks: [{ ...at, snap }] }, soon);
  await ceph.call('createPrepared', { prepared }, soon);
  await failing(ceph.call('createPrepared', { prepared }, soon), 'usage', /already/);
  const [made] = await ceph.call('describePrepared', { prepared }, soon);
  const [listed] = await json<{ id: number; name: string; size: number }[]>(
    'rbd',
    'snap',
    'ls',
    `${pool}/${at.image}`,
  );
  assert.deepEqual(
    [made?.snapId, made?.snap, made?.sizeBytes],
    [listed?.id, listed?.name, listed?.size],
  );
  // An operator is not told that something of his is not there.
  await failing(
    ceph.call('describePrepared', { prepared }, soon),
    'unavailable',
    /not prepared any more/,
  );
  await failing(prepare(ceph, [at], snap), 'refused', /that name/);
  const { watchers } = await ceph.call('imageUse', at, soon);
  assert.deepEqual(watchers, [], 'nothing is left open');
});

test('a worker that ends leaves no image open: nobody has to wait until a dead watch is over', async () => {
  const at = await disk();
  const watchers = async () => (await ceph.call('imageUse', at, soon)).watchers.length;
  const worker = cephWorker(users);
  await prepare(worker, [at]);
  assert.equal(await watchers(), 1);
  await worker[Symbol.asyncDispose]();
  assert.equal(await watchers(), 0);
});

if (IS_SOAK) {
  test('what was prepared and forgotten is closed after two minutes', async () => {
    const at = await disk();
    await prepare(ceph, [at]);
    const watchers = async () => (await ceph.call('imageUse', at, soon)).watchers.length;
    assert.equal(await watchers(), 1);
    await until('it is closed', async () => (await watchers()) === 0, 150);
  });
}

test('where one fails, the others are told, and what may still appear is said', async () => {
  const [good, bad] = [await disk(), await disk()];
  const prepared = await prepare(ceph, [good, bad]);
  await must('rbd', 'lock', 'add', `${pool}/${bad.image}`, 'by-hand');
  const [first, second] = await ceph.call('createPrepared', { prepared }, soon);
  assert.equal(first?.kind, 'made');
  assert.ok(second?.kind === 'failed');
  assert.equal(second.error.code, 'busy');
  assert.match(second.error.why ?? '', /may still appear/);
  await failing(ceph.call('describePrepared', { prepared }, soon), 'not-found', /not there/);
  assert.equal(await ceph.call('dropPrepared', { prepared }, soon), null);
  assert.equal((await ceph.call('listMarked', good, soon)).length, 1);
  assert.deepEqual(await ceph.call('listMarked', bad, soon), []);
});

test('an arm that nobody made does not end, and without a pool there is no tick', async () => {
  await failing(ceph.call('armEnd', { arm: 'x' }, soon), 'usage', /no arm x/);
  await using fresh = cephWorker(users);
  await failing(fresh.call('board', {}, soon), 'usage', /prepare/);
  await failing(fresh.call('arm', { board: 'x', leadMs: 0 }, soon), 'unavailable', /have ended/);
});
