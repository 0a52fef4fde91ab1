// Snapshots, sets and use of domains' disks, compared with `rbd` and `rados`.

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { before, test } from 'node:test';
import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';
import type { CephMethods } from '../../../src/wire/worker-protocol.ts';
import type { Worker } from '../../../src/worker/supervisor/index.ts';
import { must, until } from '../support/host.ts';
import { fileCleanup, freshPool } from '../support/images.ts';
import { cephWorker, failing, json, makeUsers, soon } from './ceph-worker.ts';
import { holdLock } from './lock-owner.ts';

const cleanup = fileCleanup();
let pool: string;
let other: string;
let worker: Worker<CephMethods>;
let users: Awaited<ReturnType<typeof makeUsers>>;
let count = 0;

before(async () => {
  pool = await freshPool(cleanup);
  other = await freshPool(cleanup);
  await must('rbd', 'namespace', 'create', `${other}/tenant`);
  users = await makeUsers(cleanup, pool, other);
  worker = cephWorker(users);
  cleanup.after(async () => await worker[Symbol.asyncDispose]());
});

async function disk(): Promise<{ pool: string; namespace: string; image: string }> {
  const image = `disk${++count}`;
  await must('rbd', 'create', '--size', '8M', `${pool}/${image}`);
  return { pool, namespace: '', image };
}

interface RbdSnap {
  readonly id: number;
  readonly name: string;
  readonly size: number;
}
const snapsOf = (image: string) => json<RbdSnap[]>('rbd', 'snap', 'ls', `${pool}/${image}`);

test('a snapshot is made, listed and removed by its ids; again is no error', async () => {
  const at = await disk();
  await must('rbd', 'snap', 'create', '--no-progress', `${pool}/${at.image}@foreign`);
  const made = await worker.call('createSnapshot', { ...at, snap: 'siphon.a1' }, soon);
  const { id: imageId } = await json<{ id: string }>('rbd', 'info', `${pool}/${at.image}`);
  const [, snap] = await snapsOf(at.image);
  assert.deepEqual([snap?.name, snap?.id, snap?.size], ['siphon.a1', made.snapId, made.sizeBytes]);
  assert.equal(made.imageId, imageId);
  const { sizeBytes: _, ...marked } = made;
  assert.deepEqual(await worker.call('listMarked', at, soon), [marked]);
  assert.deepEqual(await worker.call('removeSnapshot', marked, soon), { was: 'removed' });
  assert.deepEqual(await worker.call('removeSnapshot', marked, soon), { was: 'absent' });
  assert.deepEqual(
    (await snapsOf(at.image)).map((each) => each.name),
    ['foreign'],
  );
});

test('nothing that is not marked as siphon’s is made or removed', async () => {
  const at = await disk();
  await must('rbd', 'snap', 'create', '--no-progress', `${pool}/${at.image}@mine`);
  const made = await worker.call('createSnapshot', { ...at, snap: 'siphon.b' }, soon);
  await failing(
    worker.call('createSnapshot', { ...at, snap: 'mine2' }, soon),
    'refused',
    /siphon\./,
  );
  const [mine] = await snapsOf(at.image);
  const call = (more: object) => worker.call('removeSnapshot', { ...made, ...more }, soon);
  await failing(call({ snap: 'mine', snapId: mine!.id }), 'refused', /siphon\./);
  await failing(call({ snapId: mine!.id }), 'mismatch', /named 'mine'/);
  await must('rbd', 'snap', 'protect', `${pool}/${at.image}@siphon.b`);
  await failing(call({}), 'busy', /protected/, /unprotect/);
  await must('rbd', 'snap', 'unprotect', `${pool}/${at.image}@siphon.b`);
  assert.equal((await snapsOf(at.image)).length, 2);
});

test('a name that is there already is refused, and what is there stays', async () => {
  const at = await disk();
  const made = await worker.call('createSnapshot', { ...at, snap: 'siphon.c' }, soon);
  await failing(
    worker.call('createSnapshot', { ...at, snap: 'siphon.c' }, soon),
    'refused',
    /EEXIST/,
  );
  assert.deepEqual(
    (await snapsOf(at.image)).map((each) => each.id),
    [made.snapId],
  );
});

test('many snapshots at once share the monitors’ commits', async () => {
  const disks = await Promise.all(Array.from({ length: 12 }, disk));
  const all = disks.map((at) => worker.call('createSnapshot', { ...at, snap: 'siphon.d' }, soon));
  assert.equal(new Set((await Promise.all(all)).map((made) => made.imageId)).size, 12);
});

test('what of a snapshot is allocated, as `rbd diff` tells it; why not, where that takes a look at each object', async () => {
  const { image, ...at } = await disk();
  const spec = `${pool}/${image}`;
  const once = ['--io-type', 'write', '--io-size', '4K', '--io-total', '4K', '--io-threads', '1'];
  const write = (pattern: string) => must('rbd', 'bench', ...once, '--io-pattern', pattern, spec);
  await must('rbd', 'resize', '--no-progress', '--size', '64M', spec);
  await write('seq');
  await must('rbd', 'snap', 'create', '--no-progress', `${spec}@other`);
  await write('rand');
  const { sizeBytes, ...snap } = await worker.call(
    'createSnapshot',
    { ...at, image, snap: 'siphon.m' },
    soon,
  );
  const diff = await json<{ length: number }[]>(
    'rbd',
    'diff',
    '--whole-object',
    `${spec}@siphon.m`,
  );
  const allocatedBytes = diff.reduce((total, { length }) => total + length, 0);
  assert.ok(allocatedBytes > 0 && allocatedBytes < sizeBytes, `${allocatedBytes} of ${sizeBytes}`);
  assert.deepEqual(await worker.call('measureSnapshot', snap, soon), { allocatedBytes });
  await must('rbd', 'snap', 'rm', '--no-progress', `${spec}@siphon.m`);
  await failing(worker.call('measureSnapshot', snap, soon), 'not-found', /siphon\.m/);
  await must('rbd', 'feature', 'disable', spec, 'fast-diff', 'object-map');
  const plain = await worker.call('createSnapshot', { ...at, image, snap: 'siphon.n' }, soon);
  assert.deepEqual(await worker.call('measureSnapshot', plain, soon), {
    why: 'it has no object map',
  });
});

test('the head of a disk is its first bytes, of now or of a snapshot', async () => {
  const at = await disk();
  const head = (more: object) =>
    worker.call('readHead', { ...at, lengthBytes: 65_536, ...more }, soon);
  await must(
    'rbd',
    'bench',
    '--io-type',
    'write',
    '--io-size',
    '1M',
    '--io-total',
    '4M',
    `${pool}/${at.image}`,
  );
  await must('rbd', 'snap', 'create', '--no-progress', `${pool}/${at.image}@old`);
  const file = `/tmp/${pool}.head`;
  await must('rbd', 'export', '--no-progress', `${pool}/${at.image}@old`, file);
  const want = await must('bash', '-c', `head -c 65536 ${file} | base64 -w0; rm ${file}`);
  assert.equal((await head({ snap: 'old' })).base64, want);
  assert.equal((await head({})).base64, want);
  assert.equal(
    (await head({ lengthBytes: 10 })).base64,
    Buffer.from(want, 'base64').subarray(0, 10).toString('base64'),
  );
  await must('rbd', 'create', '--size', '0', `${pool}/empty`);
  assert.equal((await head({ image: 'empty' })).base64, '');
  await failing(head({ snap: 'nosnap' }), 'not-found', /no snapshot 'nosnap'/);
});

async function writesAgain(holder: ChildProcess): Promise<void> {
  const answered = once(holder.stdout!, 'data', { signal: AbortSignal.timeout(20_000) });
  holder.stdin!.write('write\n');
  assert.match(String(await answered), /written/);
}

test('who uses an image is told as rbd tells it', async () => {
  const at = await disk();
  const idle = await worker.call('imageUse', at, soon);
  assert.deepEqual([idle.lockOwners, idle.watchers, idle.sizeBytes], [[], [], 8 * 2 ** 20]);
  await holdLock(cleanup, at);
  const use = await worker.call('imageUse', at, soon);
  const locks = await json<{ locker: string }[]>('rbd', 'lock', 'ls', `${pool}/${at.image}`);
  assert.deepEqual(
    use.lockOwners,
    locks.map((lock) => lock.locker),
  );
  type Status = { watchers: { client: number }[] };
  const { watchers } = await json<Status>('rbd', 'status', `${pool}/${at.image}`);
  assert.deepEqual(
    use.watchers,
    watchers.map((watcher) => `client.${watcher.client}`),
  );
});

test('a live lock owner takes part; a dead one makes a disk busy, and no lock is broken', async () => {
  const at = await disk();
  const holder = await holdLock(cleanup, at);
  const create = (snap: string) => worker.call('createSnapshot', { ...at, snap }, soon);
  const held = await create('siphon.held');
  const { lockOwners } = await worker.call('imageUse', at, soon);
  assert.equal(lockOwners.length, 1, 'the lock stayed with its owner');
  holder.kill('SIGKILL');
  const isForgotten = async () => (await worker.call('imageUse', at, soon)).watchers.length === 0;
  await until('the watch of the dead owner expires', isForgotten, 60);
  await failing(create('siphon.dead'), 'busy', /owns the exclusive lock/, /rbd lock rm/);
  await failing(worker.call('removeSnapshot', held, soon), 'busy', /owns the exclusive lock/);
  const locks = await json<{ locker: string }[]>('rbd', 'lock', 'ls', `${pool}/${at.image}`);
  assert.deepEqual(
    locks.map((lock) => lock.locker),
    lockOwners,
  );
  assert.equal((await snapsOf(at.image)).length, 1);
});

test('the lock of a worker that was killed in the middle is dropped, by its name alone', async () => {
  const at = await disk();
  const doomed = cephWorker(users, { settings: { timeoutMs: 60_000 } });
  await using _ = doomed;
  const { client } = await doomed.call('status', { as: 'snapshot' }, soon);
  const lockOwners = async () => (await worker.call('imageUse', at, soon)).lockOwners;
  const drop = (of: string) => {
    return worker.call('dropLock', { ...at, client: of }, { deadlineMs: 60_000 });
  };
  // Without monitors there is no snapshot, after the lock was taken.
  await must('systemctl', 'kill', '-s', 'STOP', 'ceph-mon-a');
  try {
    const call = doomed.call('createSnapshot', { ...at, snap: 'siphon.doomed' }, soon);
    call.catch(() => undefined);
    await until('it holds the lock', async () => (await lockOwners()).includes(client));
    process.kill(doomed.stats.pid!, 'SIGKILL');
    await failing(call, 'unavailable', /./);
  } finally {
    await must('systemctl', 'kill', '-s', 'CONT', 'ceph-mon-a');
  }
  assert.deepEqual(await drop('client.1'), { was: 'absent' });
  assert.deepEqual(await lockOwners(), [client]);
  assert.deepEqual(await drop(client), { was: 'dropped' });
  assert.deepEqual(await drop(client), { was: 'absent' });
  await worker.call('createSnapshot', { ...at, snap: 'siphon.after' }, soon);
  const { client: mine } = await worker.call('status', { as: 'snapshot' }, soon);
  assert.deepEqual(await drop(mine), { was: 'absent' });
});

test('a lock owner that hangs, as a stopped QEMU does, loses neither its lock nor its disk', async () => {
  const at = await disk();
  await must('rbd', 'snap', 'create', '--no-progress', `${pool}/${at.image}@before`);
  const holder = await holdLock(cleanup, at);
  await using mine = cephWorker(users); // its own, since it ends itself
  await mine.call('imageUse', at, soon);
  const blocklist = await must('ceph', 'osd', 'blocklist', 'ls');
  holder.kill('SIGSTOP');
  const call = mine.call('createSnapshot', { ...at, snap: 'siphon.hung' }, { deadlineMs: 60_000 });
  // Meanwhile the other identities are at work on the same image.
  const source = { ...at, snap: 'before' };
  const { ids } = await worker.call('resolveSource', source, soon);
  await worker.call('setProperties', { ids, properties: {} }, soon);
  await worker.call('checkSource', ids, soon);
  await failing(call, 'unavailable', /ended before a lock is broken/);
  assert.equal(await must('ceph', 'osd', 'blocklist', 'ls'), blocklist);
  holder.kill('SIGCONT');
  await writesAgain(holder);
  const { lockOwners, watchers } = await mine.call('imageUse', at, soon);
  assert.equal(lockOwners.length, 1);
  assert.ok(watchers.includes(lockOwners[0]!));
  for (const late of await mine.call('listMarked', at, soon)) {
    assert.deepEqual(await mine.call('removeSnapshot', late, soon), { was: 'removed' });
  }
});

test('a create that fails looks for what it may have left, and says so', async () => {
  const at = await disk();
  await must('rbd', 'lock', 'add', `${pool}/${at.image}`, 'by-hand');
  const call = worker.call('createSnapshot', { ...at, snap: 'siphon.locked' }, soon);
  await failing(call, 'busy', /may still appear/);
  assert.deepEqual(await snapsOf(at.image), []);
});

test('a set is recorded in each pool and namespace of its disks, and removed', async () => {
  const pools = await json<{ poolnum: number; poolname: string }[]>('ceph', 'osd', 'lspools');
  const diskIn = (name: string, namespace: string) => {
    const poolId = pools.find((each) => each.poolname === name)!.poolnum;
    const ids = { poolId, imageId: 'x', snapId: 1, sizeBytes: 1 };
    return { target: 'vda', pool: name, namespace, image: 'x', ...ids };
  };
  const set: SnapshotSet = {
    schema: 1,
    id: 'set-1',
    fsid: await must('ceph', 'fsid'),
    domainUuid: 'u',
    domainName: 'dömain',
    host: 'h',
    createdAtMs: 1,
    event: 'manual',
    wanted: { devices: 'all', quiesce: 'try', instant: 'auto' },
    quiesced: 'none',
    instant: 'none',
    way: 'native',
    disks: [diskIn(pool, ''), diskIn(pool, ''), diskIn(other, 'tenant')],
    leftOut: [],
    domainXml: `<domain>${'x'.repeat(2 ** 20)}</domain>`,
  };
  const listed = async () => {
    const { sets } = await worker.call('findSets', {}, soon);
    return sets.filter(({ id }) => id === set.id);
  };
  assert.deepEqual(await listed(), []);
  await worker.call('removeSet', set, soon);
  await worker.call('putSet', set, soon);
  assert.deepEqual(await listed(), [set], 'once, though it is in two places');
  const keys = ['-p', other, '-N', 'tenant', 'listomapkeys', 'siphon.sets'];
  assert.equal(await must('rados', ...keys), 'set-1');
  await must('rados', '-p', pool, 'setomapval', 'siphon.sets', 'set-2', '{"schema":2}');
  assert.deepEqual(await listed(), [set], 'what a newer siphon wrote is left alone');
  await worker.call('removeSet', set, soon);
  assert.equal(await must('rados', ...keys), '');
  assert.deepEqual(await listed(), []);
});
