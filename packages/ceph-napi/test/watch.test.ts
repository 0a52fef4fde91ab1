import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import {
  blocklistClient,
  createObject,
  errno,
  isErrno,
  notifyWatchers,
  ObjectWatch,
  omapSet,
  removeObject,
  unblocklistClient,
} from '../src/index.ts';
import { connect, failed, makePool, type TestPool, until } from './support.ts';

let at: TestPool;
before(async () => {
  at = await makePool();
});
after(() => at[Symbol.asyncDispose]());

const limit = 5000;
const text = (value: Uint8Array) => Buffer.from(value).toString();

test('all watchers are told, in order, and their answers come back', async () => {
  await using other = await connect();
  await using theirs = await other.openPool(at.name);
  await createObject(at.pool, 'bell');
  const heard: string[] = [];
  await using first = await ObjectWatch.open(at.pool, 'bell', ({ notifier, payload }) => {
    heard.push(`${notifier === other.instanceId()} ${text(payload)}`);
    return Buffer.from('ünd?');
  });
  await using second = await ObjectWatch.open(theirs, 'bell', async () => {
    await first.check(); // a handler may use Ceph
    return undefined;
  });
  for (const word of ['eins', 'zwei', '']) {
    const told = await notifyWatchers(theirs, 'bell', Buffer.from(word), limit);
    assert.deepEqual(told.silent, []);
    const answers = told.answers.map(({ client, payload }) => [client, text(payload)]);
    const want = [
      [at.cluster.instanceId(), 'ünd?'],
      [other.instanceId(), ''],
    ];
    assert.deepEqual(answers.toSorted(byNumber), want.toSorted(byNumber));
  }
  assert.deepEqual(heard, ['true eins', 'true zwei', 'true ']);
  assert((await second.check()) < 60_000);
});

test('a watcher that does not answer in time is named, and the others are not lost', async () => {
  await createObject(at.pool, 'slow');
  const { promise: held, resolve: letGo } = Promise.withResolvers<undefined>();
  await using quick = await ObjectWatch.open(at.pool, 'slow', () => Buffer.from('here'));
  await using slow = await ObjectWatch.open(at.pool, 'slow', () => held);
  const told = await notifyWatchers(at.pool, 'slow', Buffer.from('?'), 1000);
  assert.deepEqual(
    told.answers.map((answer) => [text(answer.payload), answer.cookie]),
    [['here', quick.pointer]],
  );
  const silent = [{ client: at.cluster.instanceId(), cookie: slow.pointer }];
  assert.deepEqual(told.silent, silent);
  letGo(undefined);
});

test('a closed watch is told nothing, and nobody waits for it', async () => {
  await createObject(at.pool, 'left');
  let count = 0;
  const watch = await ObjectWatch.open(at.pool, 'left', () => {
    count += 1;
    return undefined;
  });
  await notifyWatchers(at.pool, 'left', Buffer.from('x'), limit);
  await Promise.all([watch.close(), watch.close()]);
  const told = await notifyWatchers(at.pool, 'left', Buffer.from('x'), limit);
  assert.deepEqual([count, told.answers, told.silent], [1, [], []]);
});

test('a watch is closed from within its own answer, and by closing the connection', async () => {
  await createObject(at.pool, 'within');
  const cluster = await connect();
  const pool = await cluster.openPool(at.name);
  const watch: ObjectWatch = await ObjectWatch.open(pool, 'within', async () => {
    await watch.close();
    return undefined;
  });
  const told = await notifyWatchers(at.pool, 'within', Buffer.from('go'), limit);
  assert.deepEqual(told.silent, []);
  const left = await ObjectWatch.open(pool, 'within', () => undefined);
  await cluster.close();
  assert(watch.closed && left.closed);
});

test('hundreds of notifications while watches come and go: no deadlock', async () => {
  await createObject(at.pool, 'storm');
  let count = 0;
  const answer = () => {
    count += 1;
    return Buffer.from('ok');
  };
  await using steady = await ObjectWatch.open(at.pool, 'storm', answer);
  const storm = Array.from({ length: 100 }, () =>
    notifyWatchers(at.pool, 'storm', Buffer.from('!'), 20_000),
  );
  for (let round = 0; round < 20; round += 1) {
    await using passing = await ObjectWatch.open(at.pool, 'storm', answer);
    assert((await passing.check()) >= 0);
    await omapSet(at.pool, 'storm', { round: String(round) });
  }
  for (const { answers } of await Promise.all(storm)) {
    assert(answers.some((one) => one.cookie === steady.pointer));
  }
  assert(count >= 100);
});

test('what cannot be watched or notified says why', async () => {
  const watch = ObjectWatch.open(at.pool, 'absent', () => undefined);
  await assert.rejects(watch, failed('rados_watch3', errno.ENOENT));
  const notify = notifyWatchers(at.pool, 'absent', Buffer.from('x'), limit);
  await assert.rejects(notify, failed('rados_notify2', errno.ENOENT));
});

test('a watch whose object is removed is lost', async () => {
  await createObject(at.pool, 'doomed');
  await using watch = await ObjectWatch.open(at.pool, 'doomed', () => undefined);
  await removeObject(at.pool, 'doomed');
  const lost = await watch.lost;
  assert(isErrno(lost, errno.ENOTCONN) || isErrno(lost, errno.ENOENT), lost.message);
});

test('a watch of a client that was blocklisted is lost, and closes', async () => {
  await createObject(at.pool, 'refused');
  await using victim = await connect();
  await using pool = await victim.openPool(at.name);
  await using watch = await ObjectWatch.open(pool, 'refused', () => undefined);
  const address = await victim.address();
  await blocklistClient(at.cluster, address, 600);
  const lost = await watch.lost;
  assert(lost.errno > 0);
  await unblocklistClient(at.cluster, address);
});

const child = (body: string) => {
  const source = `
    const { Cluster, ObjectWatch } = await import(${JSON.stringify(new URL('../src/index.ts', import.meta.url))});
    const cluster = await Cluster.connect({ user: 'admin' });
    const pool = await cluster.openPool('${at.name}');
    ${body}`;
  return spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 20_000,
  });
};

test('a watch keeps its process alive until it is closed', async () => {
  await createObject(at.pool, 'alive');
  const process = child(`
    const watch = await ObjectWatch.open(pool, 'alive', () => {
      setImmediate(() => watch.close());
      return Buffer.from('bye');
    });
    console.log('open');`);
  const ended = once(process, 'exit');
  await once(process.stdout, 'data');
  const { answers } = await notifyWatchers(at.pool, 'alive', Buffer.from('x'), limit);
  assert.equal(answers.length, 1);
  assert.deepEqual(await ended, [0, null]);
});

test('a process may exit with an open watch, while it is being told', async () => {
  await createObject(at.pool, 'exit');
  const process = child(`
    await ObjectWatch.open(pool, 'exit', () => setTimeout(() => globalThis.process.exit(0), 20) && undefined);
    console.log('open');`);
  const ended = once(process, 'exit');
  await once(process.stdout, 'data');
  const notified = until(async () => {
    await notifyWatchers(at.pool, 'exit', Buffer.from('x'), 1000);
    return process.exitCode !== null || process.signalCode !== null;
  });
  assert.deepEqual(await ended, [0, null]);
  await notified;
});

function byNumber(a: readonly unknown[], b: readonly unknown[]): number {
  return Number(a[0]) - Number(b[0]);
}
