import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BACK_OFF, countFailures, nextDelay } from '../../../src/worker/supervisor/back-off.ts';

test('delays double from the first to the longest', () => {
  const delays = [1, 2, 3, 9, 10, 1000].map((failures) => nextDelay(failures, 0, 0));
  assert.deepEqual(delays, [100, 200, 400, 25_600, 30_000, 30_000]);
});

test('jitter takes up to half of a delay, and the life that has passed counts', () => {
  assert.equal(nextDelay(4, 0, 1), 400);
  assert.equal(nextDelay(4, 300, 0), 500);
  assert.equal(nextDelay(4, 60_000, 0), 0);
});

test('a delay is never negative and never over the bound', () => {
  const failures = fc.integer({ min: 1, max: 10_000 });
  const unit = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(failures, fc.nat(), unit, (count, sinceLastMs, jitter) => {
      const delayMs = nextDelay(count, sinceLastMs, jitter);
      assert.ok(delayMs >= 0 && delayMs <= BACK_OFF.delayMsMax);
    }),
  );
});

test('failures of a worker that lived long are forgotten', () => {
  assert.equal(countFailures(7, BACK_OFF.forgetMs), 1);
  assert.equal(countFailures(7, BACK_OFF.forgetMs - 1), 8);
});
