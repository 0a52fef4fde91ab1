// Clusters of zeros are left out of what is written.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { dataRuns } from '../../../src/rbd-export/sink.ts';

const CLUSTER = 65_536;

test('runs are exactly the clusters that hold a byte', () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { minLength: 1, maxLength: 24 }),
      fc.nat(CLUSTER - 1),
      fc.nat(CLUSTER - 1),
      (held, cut, where) => {
        const length = held.length * CLUSTER - cut;
        const slot = Buffer.alloc(held.length * CLUSTER);
        held.forEach((isHeld, i) => {
          if (isHeld) slot[Math.min(i * CLUSTER + where, length - 1)] = 1;
        });
        const found = held.map(() => false);
        let last = -1;
        for (const { start, end } of dataRuns(slot, length)) {
          assert(start > last && end > start && end <= length);
          last = end;
          for (let at = start; at < end; at += CLUSTER) found[at / CLUSTER] = true;
        }
        assert.deepEqual(found, held);
      },
    ),
  );
});
