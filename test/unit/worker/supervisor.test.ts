import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { OperatingError } from '../../../src/wire/errors.ts';
import {
  startWorker,
  type Worker,
  type WorkerOptions,
} from '../../../src/worker/supervisor/index.ts';

interface TestMethods {
  [method: string]: { params: unknown; result: unknown; progress: number };
}
type TestWorker = Worker<TestMethods>;

const FIXTURE = path.join(import.meta.dirname, 'fixtures/child.ts');
const soon = { deadlineMs: 10_000 };

function start(options: Partial<WorkerOptions<string>> = {}) {
  const log: string[] = [];
  const note = (_fields: object, text: string) => void log.push(text);
  const worker: TestWorker = startWorker<TestMethods, string>({
    role: 'ceph',
    settings: null,
    program: { execPath: process.execPath, args: [FIXTURE] },
    log: { info: note, warn: note },
    random: () => 0,
    ...options,
    limits: { graceMs: 200, endMs: 2000, ...options.limits },
  });
  return { worker, log };
}

/** Asserts the code and the reason; gives the error. */
async function failing(call: Promise<unknown>, code: string, why: RegExp): Promise<OperatingError> {
  const error = await call.then(
    () => assert.fail('it should have failed'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof OperatingError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, why);
  return error;
}

async function until(condition: () => boolean): Promise<void> {
  const signal = AbortSignal.timeout(10_000);
  while (!condition()) await delay(5, undefined, { signal });
}

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test('calls, progress and events pass, and errors keep code and hint', async () => {
  const events: string[] = [];
  await using started = start({ onEvent: (event) => events.push(event) }).worker;
  assert.deepEqual(await started.call('echo', { a: [1, 'ä'] }, soon), { a: [1, 'ä'] });
  const progress: number[] = [];
  await started.call('steps', null, { ...soon, onProgress: (step) => progress.push(step) });
  assert.deepEqual([progress, events], [[1, 2, 3], ['told']]);
  const error = await failing(started.call('refuse', null, soon), 'not-found', /open: x: gone/);
  assert.equal(error.hint, 'look');
});

test('the worker inherits nothing but what it needs', async () => {
  process.env.SIPHON_TEST_SECRET = 'x';
  await using worker = start().worker;
  const environment = (await worker.call('environment', null, soon)) as Record<string, string>;
  assert.deepEqual(Object.keys(environment).toSorted(), [
    'HOME',
    'LANG',
    'MALLOC_MMAP_THRESHOLD_',
    'PATH',
    'UV_THREADPOOL_SIZE',
  ]);
  assert.equal(environment.UV_THREADPOOL_SIZE, '128');
});

test('at its deadline a call ends; a worker that answers the cancel lives on', async () => {
  await using worker = start().worker;
  await worker.call('echo', 1, soon);
  const { pid } = worker.stats;
  await failing(
    worker.call('hangUntilCancelled', null, { deadlineMs: 50 }),
    'unavailable',
    /deadline/,
  );
  await until(() => worker.stats.inFlight === 0);
  assert.equal(await worker.call('echo', 2, soon), 2);
  assert.equal(worker.stats.pid, pid);
});

test('a worker that does not answer the cancel is killed; its other calls hear why, the next call works', async () => {
  await using worker = start().worker;
  await worker.call('echo', 1, soon);
  const pid = worker.stats.pid!;
  const other = failing(
    worker.call('hang', null, soon),
    'unavailable',
    /was killed: .*cancelled hang/,
  );
  await failing(worker.call('hang', null, { deadlineMs: 50 }), 'unavailable', /deadline/);
  await other;
  await until(() => !isAlive(pid));
  assert.equal(await worker.call('echo', 2, soon), 2);
  assert.equal(worker.stats.starts, 2);
});

for (const way of ['a blocked event loop', 'SIGSTOP'] as const) {
  test(`a worker hung by ${way} blocks nothing: the deadline is the parent's`, async () => {
    await using worker = start().worker;
    await worker.call('echo', 1, soon);
    if (way === 'SIGSTOP') process.kill(worker.stats.pid!, 'SIGSTOP');
    let ticks = 0;
    const ticking = setInterval(() => ticks++, 5);
    await failing(worker.call('block', null, { deadlineMs: 100 }), 'unavailable', /deadline/);
    clearInterval(ticking);
    assert.ok(ticks > 3, `the event loop ran ${ticks} times`);
    await until(() => worker.stats.lastEnding !== undefined);
    assert.equal(await worker.call('echo', 2, soon), 2);
  });
}

test('an abort ends a call at once, before and while it runs', async () => {
  await using worker = start().worker;
  const gone = { ...soon, signal: AbortSignal.abort() };
  await failing(worker.call('echo', 1, gone), 'cancelled', /echo/);
  const controller = new AbortController();
  await worker.call('echo', 1, soon);
  const call = worker.call('hangUntilCancelled', null, { ...soon, signal: controller.signal });
  controller.abort();
  await failing(call, 'cancelled', /hangUntilCancelled/);
});

const deaths: readonly [string, RegExp][] = [
  ['die', /ended with code 7; its last words: the last words/],
  ['garbage', /was killed: a frame that is not JSON/],
  ['oversize', /was killed: a frame of 4294967295 bytes/],
  ['closeChannel', /channel broke: closed by the worker/],
  ['unknownAnswer', /answered a call that it never had/],
  ['unknownKind', /no known kind/],
];

for (const [method, why] of deaths) {
  test(`a worker that ends by ${method} fails its call with the reason, and is started again`, async () => {
    await using worker = start().worker;
    await failing(worker.call(method, null, soon), 'unavailable', why);
    assert.equal(await worker.call('echo', 1, soon), 1);
    assert.match(worker.stats.lastEnding ?? '', why);
  });
}

test('kill -9 at random moments: every call settles, and calls work again', async () => {
  await using worker = start().worker;
  const calls: Promise<unknown>[] = [];
  for (let round = 0; round < 4; round++) {
    calls.push(...Array.from({ length: 20 }, (_, n) => worker.call('echo', n, soon)));
    await delay(Math.random() * 60);
    const { pid } = worker.stats;
    if (pid) process.kill(pid, 'SIGKILL');
  }
  for (const settled of await Promise.allSettled(calls)) {
    if (settled.status === 'fulfilled') continue;
    assert.equal((settled.reason as OperatingError).code, 'unavailable');
  }
  // The last kill may take the next call, too, where all before it were through.
  const after = () => worker.call('echo', 'after', soon);
  assert.equal(await after().catch(after), 'after');
});

test('while no worker can start, a call waits until its deadline and names the last cause', async () => {
  await using worker = start({ settings: { init: 'exit' } }).worker;
  const call = worker.call('echo', 1, { deadlineMs: 1000 });
  await failing(call, 'unavailable', /no worker took it .*: worker ended with code 3/);
  const { starts } = worker.stats;
  assert.ok(starts >= 2 && starts <= 6, `${starts} starts in a second`);
});

test('a worker that refuses its settings, is silent, or cannot be spawned is named so', async () => {
  const cases: readonly [Partial<WorkerOptions<string>>, RegExp][] = [
    [{ settings: { init: 'fail' } }, /start worker: test: no such thing/],
    [{ settings: { init: 'silent' }, limits: { startMs: 400 } }, /not ready within 400 ms/],
    [{ program: { execPath: '/no/such/node', args: [] } }, /could not be started.*ENOENT/],
  ];
  for (const [options, why] of cases) {
    await using worker = start({ ...options, kind: 'one-shot' }).worker;
    await failing(worker.call('echo', 1, soon), 'unavailable', why);
  }
});

test('a one-shot worker is not started again', async () => {
  await using worker = start({ kind: 'one-shot' }).worker;
  const waiting = failing(worker.call('hang', null, soon), 'unavailable', /last words/);
  await failing(worker.call('die', null, soon), 'unavailable', /last words/);
  await waiting;
  await failing(worker.call('echo', 1, soon), 'unavailable', /last words/);
  assert.deepEqual([worker.stats.state, worker.stats.starts], ['ended', 1]);
});

test('calls in flight and in the queue are bounded; over it, a call is refused as busy', async () => {
  await using worker = start({ limits: { callsMax: 2, queueMax: 1, graceMs: 5000 } }).worker;
  await worker.call('echo', 1, soon);
  const controller = new AbortController();
  const held = { ...soon, signal: controller.signal };
  const hanging = [1, 2].map(() =>
    failing(worker.call('hangUntilCancelled', null, held), 'cancelled', /./),
  );
  const queued = worker.call('echo', 'queued', soon);
  await failing(worker.call('echo', 1, soon), 'busy', /1 calls are waiting/);
  assert.deepEqual([worker.stats.inFlight, worker.stats.queued], [2, 1]);
  controller.abort();
  assert.equal(await queued, 'queued');
  await Promise.all(hanging);
});

test('a stopped worker is killed long before its call is late, and another begins', async () => {
  await using worker = start({ limits: { pulseMs: 100, missesMax: 20 } }).worker;
  await worker.call('echo', 1, soon);
  const first = worker.stats.pid!;
  const late = failing(worker.call('hang', null, { deadlineMs: 60_000 }), 'unavailable', /lives/);
  process.kill(first, 'SIGSTOP');
  await late;
  assert.equal(await worker.call('echo', 2, soon), 2);
  assert.notEqual(worker.stats.pid, first);
});

test('a message too long for a frame fails its own call alone', async () => {
  await using worker = start().worker;
  await worker.call('echo', 1, soon);
  const long = worker.call('echo', 'x'.repeat(33 * 1024 * 1024), soon);
  await failing(long, 'exhausted', /too long/);
  assert.equal(await worker.call('echo', 2, soon), 2);
});

test('dispose ends the process, also a stopped one, and fails what waits', async () => {
  for (const isStopped of [false, true]) {
    const { worker } = start({ limits: { endMs: 500 } });
    await worker.call('echo', 1, soon);
    const pid = worker.stats.pid!;
    if (isStopped) process.kill(pid, 'SIGSTOP');
    const call = failing(worker.call('hang', null, soon), 'unavailable', /it was ended/);
    await worker[Symbol.asyncDispose]();
    await call;
    assert.equal(isAlive(pid), false);
    await failing(worker.call('echo', 1, soon), 'unavailable', /it was ended/);
  }
});

test('what the worker prints goes to the log', async () => {
  const { worker, log } = start({ kind: 'one-shot' });
  await using _ = worker;
  await failing(worker.call('die', null, soon), 'unavailable', /./);
  assert.ok(log.includes('one line') && log.includes('the last words'), log.join('\n'));
});
