// The hook's socket: heard at once, audible while it thinks, and one line of verdict; what is not certain never refuses.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import type { Verdict } from '../../../src/hook/decide.ts';
import type { HookRequest } from '../../../src/hook/events.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { serveFakes } from './support/served.ts';

const call = (hook: (asked: HookRequest, signal: AbortSignal) => Promise<Verdict>) =>
  serveFakes(() => ({ hook }));
const at = '/v1/hook/prepare?subop=begin&extra=none&pid=77';
const XML = { body: '<domain/>', socket: 'hook' } as const;

describe('a hook call', () => {
  it('comes through whole, and is allowed', async () => {
    const asked: HookRequest[] = [];
    await using served = await call(async (request) => {
      asked.push(request);
      return { kind: 'allow' };
    });
    assert.equal(await text(await served.send(at, XML)), ' allow\n');
    assert.deepEqual(asked, [
      { operation: 'prepare', subOperation: 'begin', extra: 'none', pid: 77, xml: '<domain/>' },
    ]);
  });

  it('is refused in one line, whatever the message holds', async () => {
    await using served = await call(async () => ({
      kind: 'refuse',
      message: 'no\nallow\n\r\n base ',
    }));
    assert.equal(await text(await served.send(at, XML)), ' refuse no allow base\n');
  });

  it('is acknowledged before the verdict, and audible twice a second until it', async () => {
    const { promise, resolve } = Promise.withResolvers<Verdict>();
    await using served = await call(() => promise);
    const answer = await served.send(at, XML);
    let heard = '';
    answer.setEncoding('utf8').on('data', (chunk: string) => (heard += chunk));
    await once(answer, 'data');
    assert.equal(heard, ' ');
    const startMs = performance.now();
    while (heard.length < 4) await once(answer, 'data');
    assert.ok(performance.now() - startMs < 1500, 'three signs of life in 1.5 s');
    resolve({ kind: 'allow' });
    await once(answer, 'end');
    assert.match(heard, /^ +allow\n$/);
  });

  it('may carry XML of 10 MiB, and no more than 16', async () => {
    await using served = await call(async ({ xml }) => ({
      kind: 'refuse',
      message: `${xml.length}`,
    }));
    const body = 'x'.repeat(10 * 2 ** 20);
    assert.equal(await text(await served.send(at, { ...XML, body })), ` refuse ${body.length}\n`);
    const answer = await served
      .send(at, { ...XML, body: body + body })
      .catch((error: Error) => error);
    assert.ok(answer instanceof Error || answer.statusCode === 400);
  });

  it('with XML that cannot be read goes on', async () => {
    await using served = await call(async () => {
      throw new OperatingError({ code: 'usage', op: 'parse', subject: 'xml' });
    });
    assert.equal(await text(await served.send(at, XML)), ' allow\n');
    assert.ok(served.logged.some((line) => line.startsWith('<3>') && line.includes('"usage"')));
    assert.ok(!served.logged.some((line) => line.includes('<domain')));
  });

  it('that could not be recorded has no verdict, so that the hook spools it', async () => {
    for (const error of [
      new OperatingError({ code: 'exhausted', op: 'record', subject: 'x' }),
      new TypeError('x'),
    ]) {
      await using served = await call(() => Promise.reject(error));
      assert.equal(await text(await served.send(at, XML)), ' ');
    }
  });

  it('whose hook has left is told so', async () => {
    const { promise: left, resolve } = Promise.withResolvers<void>();
    await using served = await call((_, signal) => {
      signal.addEventListener('abort', () => resolve());
      return left.then(() => ({ kind: 'allow' }));
    });
    const leaving = new AbortController();
    const answer = await served.send(at, { ...XML, signal: leaving.signal });
    answer.on('error', () => undefined);
    leaving.abort();
    await left;
  });

  it('that waits when siphond stops is let go at once, without a verdict', async () => {
    const { promise: never } = Promise.withResolvers<Verdict>();
    const served = await call(() => never);
    const answer = await served.send(at, XML);
    const heard = text(answer);
    const startMs = performance.now();
    await served.stop();
    assert.equal((await heard).trim(), '');
    assert.ok(performance.now() - startMs < 1000);
  });

  it('finds siphond ready by an answer without a body', async () => {
    await using served = await call(async () => ({ kind: 'allow' }));
    const answer = await served.send('/v1/hook/ready', { socket: 'hook' });
    assert.equal(answer.statusCode, 204);
    assert.equal(await text(answer), '');
  });

  it('has no place on the socket of operators', async () => {
    await using served = await call(async () => ({ kind: 'allow' }));
    assert.equal((await served.send(at, { body: '<domain/>' })).statusCode, 404);
    assert.equal((await served.send('/v1/jobs', { socket: 'hook' })).statusCode, 404);
  });
});
