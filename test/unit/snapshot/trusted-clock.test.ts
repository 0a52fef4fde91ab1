// A clock that leaps ahead makes nothing old before it has stayed there.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TrustedClock } from '../../../src/snapshot/trusted-clock.ts';

const MINUTE = 60_000;
const DAY = 1440 * MINUTE;
const START = { wallMs: 1000 * DAY, monotonicMs: 5 * MINUTE };

/** What it says so many minutes after the start, where the host's clock is ahead by so much. */
const clock = () => {
  const it = new TrustedClock(START);
  return (minutes: number, aheadMs = 0) => {
    const passedMs = minutes * MINUTE;
    const wallMs = START.wallMs + passedMs + aheadMs;
    const saidMs = it.at({ wallMs, monotonicMs: START.monotonicMs + passedMs });
    return (saidMs - START.wallMs) / MINUTE;
  };
};

test('a leap ahead that is corrected is none, however often it is looked at', () => {
  const says = clock();
  assert.deepEqual([says(1), says(2, 2 * DAY), says(60, 2 * DAY)], [1, 2, 60]);
  assert.deepEqual([says(61), says(62, 2 * DAY), says(121, 2 * DAY)], [61, 62, 121]);
});

test('one that lasts an hour is the truth, and so is a clock that runs a little fast', () => {
  const says = clock();
  assert.equal(says(10, 2 * DAY), 10);
  assert.equal(says(69, 2 * DAY), 69);
  assert.equal(says(70, 2 * DAY), 70 + 2880);
  assert.equal(says(80, 2 * DAY + MINUTE), 81 + 2880);
});

test('a clock that falls back is believed at once, and one that leaps on and on never', () => {
  const says = clock();
  assert.equal(says(1, -DAY), 1 - 1440);
  assert.equal(says(2), 2 - 1440);
  assert.equal(says(62), 62);
  const leaping = clock();
  for (let minutes = 1; minutes < 500; minutes += 40) {
    assert.equal(leaping(minutes, minutes * DAY), minutes);
  }
});

test('it is never ahead of the host’s clock, nor behind what has passed since the clock fell back', () => {
  const looks = fc.array(fc.tuple(fc.nat(100), fc.integer({ min: -3 * DAY, max: 3 * DAY })));
  fc.assert(
    fc.property(looks, (all) => {
      const says = clock();
      let minutes = 0;
      let lowest = 0;
      for (const [more, aheadMs] of all) {
        minutes += more;
        lowest = Math.min(lowest, aheadMs / MINUTE);
        const said = says(minutes, aheadMs);
        assert.ok(said <= minutes + aheadMs / MINUTE + 1e-6);
        assert.ok(said >= minutes + lowest - 1e-6);
      }
    }),
  );
});
