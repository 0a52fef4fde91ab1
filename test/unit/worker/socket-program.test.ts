// A worker behind a socket, as systemd starts one for each connection.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startWorker, type Worker, whyStuck } from '../../../src/worker/supervisor/index.ts';
import { temporaryFolder } from '../sidecar/support/quiet.ts';

interface TestMethods {
  [method: string]: { params: unknown; result: unknown };
}
const FIXTURE = path.join(import.meta.dirname, 'fixtures/child.ts');
const soon = { deadlineMs: 10_000 };

/** Accepts like systemd with Accept=yes: each connection is descriptor 3 of a process of its own. */
async function openPlace() {
  const folder = await temporaryFolder();
  const socketPath = path.join(folder.path, 'worker.sock');
  const children: ChildProcess[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    children.push(
      spawn(process.execPath, [FIXTURE], { stdio: ['ignore', 'ignore', 'inherit', socket] }),
    );
    socket.destroy();
  });
  const listen = async () => void (await once(server.listen(socketPath), 'listening'));
  return {
    socketPath,
    children,
    listen,
    async [Symbol.asyncDispose]() {
      server.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const start = (socketPath: string): Worker<TestMethods> =>
  startWorker<TestMethods>({
    role: 'libvirt',
    settings: null,
    program: { socketPath },
    log: { info: () => undefined, warn: () => undefined },
    random: () => 0,
    limits: { graceMs: 200, endMs: 2000 },
  });

test('calls pass; its end closes the connection, which ends the process', async () => {
  await using place = await openPlace();
  await place.listen();
  const worker = start(place.socketPath);
  assert.deepEqual(await worker.call('echo', { a: 1 }, soon), { a: 1 });
  assert.equal(worker.stats.pid, undefined);
  const [child] = place.children;
  assert.ok(child && child.exitCode === null);
  const exited = once(child, 'exit');
  await worker[Symbol.asyncDispose]();
  assert.deepEqual(await exited, [0, null]);
});

test('one that hangs is left behind, and one that dies is followed: by a connection of its own', async () => {
  await using place = await openPlace();
  await place.listen();
  await using worker = start(place.socketPath);
  assert.equal(await worker.call('echo', 1, soon), 1);
  await assert.rejects(worker.call('hang', null, { deadlineMs: 50 }), { code: 'unavailable' });
  const signal = AbortSignal.timeout(10_000);
  while (worker.stats.starts < 2) await delay(5, undefined, { signal });
  assert.equal(await worker.call('echo', 2, soon), 2);
  await assert.rejects(worker.call('die', null, soon), { code: 'unavailable', why: /closed/ });
  assert.equal(await worker.call('echo', 3, soon), 3);
  assert.deepEqual([worker.stats.starts, place.children.length], [3, 3]);
});

test('where nobody listens it is tried again, and the calls that wait hear why', async () => {
  await using place = await openPlace();
  await using worker = start(place.socketPath);
  const error = { code: 'unavailable', why: /could not be started: connect ENOENT/ };
  await assert.rejects(worker.call('echo', 1, { deadlineMs: 500 }), error);
  await place.listen();
  assert.equal(await worker.call('echo', 1, soon), 1);
  assert.equal(worker.stats.dueAtMs, undefined);
});

test('a supervisor that did not act by the clock is stuck; one that waits its time is not', () => {
  const waiting = { state: 'waiting', starts: 1, inFlight: 0, queued: 0, dueAtMs: 1000 } as const;
  const ready = { state: 'ready', starts: 1, inFlight: 0, queued: 0 } as const;
  assert.equal(whyStuck([ready, waiting], 11_000), undefined);
  assert.match(whyStuck([ready, waiting], 11_001) ?? '', /waiting should have been seen to/);
  assert.equal(whyStuck([ready], 1e9), undefined);
});
