// Whatever is asked for and when: no window of time sees more than the rate, and one piece.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RateBound } from '../../../../src/rbd-export/scrub/rate.ts';

const asks = fc.array(
  fc.record({ bytes: fc.integer({ min: 1, max: 4096 }), idleMs: fc.nat(500) }),
  {
    minLength: 2,
    maxLength: 60,
  },
);

test('no window sees more than the rate and a piece', async () => {
  await fc.assert(
    fc.asyncProperty(asks, fc.integer({ min: 100, max: 100_000 }), async (all, rateBytes) => {
      let nowMs = 0;
      const wait = async (ms: number) => (nowMs += ms);
      const rate = new RateBound(rateBytes, { nowMs: () => nowMs, wait });
      const begun: { readonly atMs: number; readonly bytes: number }[] = [];
      for (const { bytes, idleMs } of all) {
        nowMs += idleMs;
        await rate.take(bytes);
        begun.push({ atMs: nowMs, bytes });
      }
      for (const [from, first] of begun.entries()) {
        let bytes = 0;
        for (const piece of begun.slice(from)) {
          const allowed = ((piece.atMs - first.atMs) * rateBytes) / 1000;
          assert.ok(bytes <= allowed + 0.001, `${bytes} where ${allowed} are allowed`);
          bytes += piece.bytes;
        }
      }
    }),
  );
});

test('without a bound nobody waits', async () => {
  const wait = () => assert.fail('it waits');
  const rate = new RateBound(0, { nowMs: () => 0, wait });
  for (let i = 0; i < 100; i++) await rate.take(2 ** 40);
});
