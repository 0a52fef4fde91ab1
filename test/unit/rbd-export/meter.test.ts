// What an export tells of itself: the rate of the last seconds, and holes that count as they are digested, not as they are met.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mock, test } from 'node:test';
import { HashLane } from '../../../src/rbd-export/hash-lane.ts';
import { RecentRate, startMeter } from '../../../src/rbd-export/meter.ts';
import type { FillProgress } from '../../../src/wire/worker-protocol.ts';

const MIB = 2 ** 20;

test('the rate is that of the last five seconds', () => {
  const rate = new RecentRate();
  assert.equal(rate.learn(0, 0), 0, 'nothing is known yet');
  assert.equal(rate.learn(400, 4000), 0, 'nor so soon');
  assert.equal(rate.learn(1000, 10_000), 10);
  for (let ms = 2000; ms <= 10_000; ms += 1000) rate.learn(ms, 10_000 + (ms - 1000));
  assert.equal(rate.learn(11_000, 20_000), 1, 'the quick start is past');
  assert.equal(rate.learn(17_000, 20_000), 0, 'it stands still');
});

test('what is told is read and digested, at a steady beat and when asked', () => {
  mock.timers.enable({ apis: ['setInterval'] });
  try {
    const told: FillProgress[] = [];
    let zeroBytes = 0;
    const sizes = { totalBytes: 100, allocatedBytes: 30 };
    {
      using meter = startMeter({ ...sizes, zeroBytes: () => zeroBytes }, (one) => told.push(one));
      meter.read(10);
      mock.timers.tick(200);
      meter.read(20);
      zeroBytes = 50;
      mock.timers.tick(200);
      zeroBytes = 70;
      meter.tell();
    }
    mock.timers.tick(1000);
    assert.deepEqual(
      told.map(({ doneBytes, readBytes }) => [doneBytes, readBytes]),
      [
        [0, 0],
        [10, 10],
        [80, 30],
        [100, 30],
      ],
    );
    assert.deepEqual(told[0], { doneBytes: 0, readBytes: 0, ...sizes });
  } finally {
    mock.timers.reset();
  }
});

test('a hole is counted while it is hashed, and wholly at its end', async () => {
  const length = 300 * MIB + 5;
  await using lane = new HashLane(
    { kind: 'digest', algorithm: 'sha256' },
    new SharedArrayBuffer(0),
  );
  lane.hole(length);
  const steps = new Set<number>();
  const watching = setInterval(() => steps.add(lane.zeroBytes), 5);
  const outcome = await lane.finish();
  clearInterval(watching);
  assert.equal(lane.zeroBytes, length);
  assert.ok(
    [...steps].filter((bytes) => bytes > 0 && bytes < length).length >= 2,
    [...steps].join(),
  );
  const hash = createHash('sha256').update(Buffer.alloc(length));
  assert.deepEqual(outcome, { kind: 'digest', algorithm: 'sha256', hex: hash.digest('hex') });
});
