// A loop: bursts are one, nothing is lost while it works, failures are tried again, and a stop ends it.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startLoop } from '../../../src/sidecar/loop.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { keptLog, until } from './support/quiet.ts';

const base = { name: 'test', settleMs: 5, retryMs: 5 };

describe('a loop', () => {
  it('does a burst once', async () => {
    let runs = 0;
    await using loop = startLoop({
      ...base,
      log: keptLog().log,
      work: async () => void (runs += 1),
    });
    for (let i = 0; i < 100; i += 1) loop.poke();
    await until(() => runs > 0);
    assert.equal(runs, 1);
  });

  it('works again for a poke that came while it worked, and never twice at once', async () => {
    let atOnce = 0;
    let most = 0;
    let runs = 0;
    const work = async () => {
      most = Math.max(most, (atOnce += 1));
      runs += 1;
      if (runs === 1) loop.poke();
      await new Promise((resolve) => setTimeout(resolve, 10));
      atOnce -= 1;
    };
    await using loop = startLoop({ ...base, log: keptLog().log, work });
    loop.poke();
    await until(() => runs === 2);
    assert.equal(most, 1);
  });

  it('tries again what failed, and says so', async () => {
    let runs = 0;
    const { log, lines } = keptLog();
    const work = async () => {
      runs += 1;
      if (runs < 3) throw new OperatingError({ code: 'unavailable', op: 'list', subject: 'x' });
    };
    await using loop = startLoop({ ...base, log, work });
    loop.poke();
    await until(() => runs === 3);
    assert.equal(lines.length, 2);
  });

  it('works by the clock where nobody pokes it', async () => {
    let runs = 0;
    const work = async () => void (runs += 1);
    await using _ = startLoop({ ...base, everyMs: 10, log: keptLog().log, work });
    await until(() => runs >= 2);
  });

  it('ends with its work aborted', async () => {
    const begun = Promise.withResolvers<void>();
    let wasAborted = false;
    const work = (signal: AbortSignal) => {
      begun.resolve();
      const { promise, reject } = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => {
        wasAborted = true;
        reject(signal.reason);
      });
      return promise;
    };
    const loop = startLoop({ ...base, log: keptLog().log, work });
    loop.poke();
    await begun.promise;
    await loop[Symbol.asyncDispose]();
    assert.ok(wasAborted);
  });

  it('that never began ends', async () => {
    await startLoop({ ...base, log: keptLog().log, work: async () => undefined })[
      Symbol.asyncDispose
    ]();
  });
});
