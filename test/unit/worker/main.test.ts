// The real child program, as far as it goes without Ceph and libvirt.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startWorker, type WorkerLog } from '../../../src/worker/supervisor/index.ts';

const MAIN = path.join(import.meta.dirname, '../../../src/worker/main.ts');
const silent = () => undefined;

interface AnyMethods {
  [method: string]: { params: unknown; result: unknown };
}

const start = (log = { info: silent, warn: silent } as WorkerLog) =>
  startWorker<AnyMethods>({
    role: 'fill',
    settings: null,
    kind: 'one-shot',
    program: { execPath: process.execPath, args: [MAIN] },
    log,
  });

test('a defect ends the worker, and its last words say which', async () => {
  await using worker = start();
  const call = worker.call('noSuchMethod', null, { deadlineMs: 20_000 });
  await assert.rejects(call, {
    code: 'unavailable',
    why: /defect: TypeError: no method noSuchMethod/,
  });
});

test('signals to the whole group do not end a worker: its channel does', async () => {
  const worker = start();
  while (worker.stats.state !== 'ready') await delay(10);
  const pid = worker.stats.pid!;
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(pid, signal);
  await delay(100);
  assert.equal(worker.stats.state, 'ready');
  await worker[Symbol.asyncDispose]();
  assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

test('asked to end, it exits by itself and says that all is well', async () => {
  const exits: object[] = [];
  const info = (fields: object, text: string) => {
    if (text === 'worker exited') exits.push(fields);
  };
  const worker = start({ info, warn: (_fields: object, text: string) => assert.fail(text) });
  while (worker.stats.state !== 'ready') await delay(10);
  const pid = worker.stats.pid!;
  await worker[Symbol.asyncDispose]();
  assert.deepEqual(exits, [{ role: 'fill', pid, exitCode: 0, signal: null }]);
});
