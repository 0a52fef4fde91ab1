import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { FromWorker, ToWorker } from '../../../src/wire/worker-protocol.ts';
import { openChannel } from '../../../src/worker/channel.ts';
import type { StartRole } from '../../../src/worker/role.ts';
import { serve } from '../../../src/worker/serve.ts';

const aborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });

const events: string[] = [];
const role: StartRole = (settings, emit) => {
  if (settings === 'bad') throw new OperatingError({ code: 'usage', op: 'start', subject: 'bad' });
  return {
    handlers: {
      echo: async (params: unknown) => params,
      wait: (_params, { signal }) =>
        aborted(signal).finally(() => events.push('a call has returned')),
      steps: async (_params, { onProgress }) => {
        onProgress(1);
        emit('event');
        return null;
      },
      tooLong: async () => 'x'.repeat(33 * 1024 * 1024),
      fsError: async () => {
        throw Object.assign(new Error('ENOSPC: write'), {
          errno: -28,
          code: 'ENOSPC',
          syscall: 'write',
        });
      },
    },
    end: async () => void events.push('the role has ended'),
  };
};

/** A served role and what it said. */
function start() {
  const [near, far] = duplexPair();
  const said: FromWorker[] = [];
  const waiting: (() => void)[] = [];
  const ended = Promise.withResolvers<Promise<unknown>>();
  const startRole = async () => role;
  serve({
    stream: far,
    roles: { ceph: startRole, libvirt: startRole, fill: startRole, transfer: startRole },
    onEnd: ended.resolve,
  });
  const channel = openChannel<ToWorker>(near, {
    message: (message) => {
      said.push(message as FromWorker);
      waiting.splice(0).forEach((wake) => wake());
    },
    closed: () => undefined,
  });
  const until = async (count: number) => {
    while (said.length < count) await new Promise<void>((resolve) => waiting.push(resolve));
    return said;
  };
  return { channel, until, ended: ended.promise, near };
}

const init = { kind: 'init', role: 'ceph', settings: null } as const;

test('a worker is silent until init, then answers by id', async () => {
  const { channel, until } = start();
  channel.send(init);
  assert.deepEqual(await until(1), [{ kind: 'ready' }]);
  channel.send({ kind: 'call', id: 5, method: 'echo', params: { a: 1 } });
  assert.deepEqual((await until(2))[1], { kind: 'result', id: 5, result: { a: 1 } });
});

test('an init that fails is said with its error', async () => {
  const { channel, until } = start();
  channel.send({ ...init, settings: 'bad' });
  const [answer] = await until(1);
  assert.equal(answer?.kind === 'init-failed' && answer.error.code, 'usage');
});

test('a cancel aborts its call and no other; progress and events pass', async () => {
  const { channel, until } = start();
  channel.send(init);
  await until(1);
  for (const id of [1, 2]) channel.send({ kind: 'call', id, method: 'wait', params: null });
  channel.send({ kind: 'call', id: 3, method: 'steps', params: null });
  channel.send({ kind: 'cancel', id: 2 });
  const said = await until(5);
  assert.deepEqual(said.slice(1, 3), [
    { kind: 'progress', id: 3, progress: 1 },
    { kind: 'event', event: 'event' },
  ]);
  const error = said.find((each) => each.kind === 'error');
  assert.deepEqual([error?.id, error?.error.code], [2, 'cancelled']);
});

test('errno of the file system, and an answer too long for a frame, are operating errors', async () => {
  const { channel, until } = start();
  channel.send(init);
  await until(1);
  channel.send({ kind: 'call', id: 1, method: 'fsError', params: null });
  channel.send({ kind: 'call', id: 2, method: 'tooLong', params: null });
  const said = await until(3);
  const codes = said.flatMap((each) => (each.kind === 'error' ? [each.error.code] : []));
  assert.deepEqual(codes, ['exhausted', 'exhausted']);
});

test('when siphond is gone, all calls are aborted, and the end waits for them, then for the role', async () => {
  const { channel, until, ended, near } = start();
  channel.send(init);
  await until(1);
  events.length = 0;
  channel.send({ kind: 'call', id: 1, method: 'wait', params: null });
  near.destroy();
  await ended;
  assert.deepEqual(events, ['a call has returned', 'the role has ended']);
});
