// An import's memory: bounded whatever comes, and nothing waits for ever.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  Flow,
  IN_FLIGHT_BYTES_MAX,
  IN_FLIGHT_MAX,
} from '../../../src/worker/roles/transfer/flow.ts';

const sizes = fc.array(fc.integer({ min: 1, max: 4 * 2 ** 20 }), { maxLength: 200 });

test('what is under way stays within its bounds, in any order of ends', async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), sizes, async (s, all) => {
      const flow = new Flow();
      const now = { bytes: 0, count: 0 };
      const feed = async () => {
        for (const size of all) {
          await flow.room(size);
          now.bytes += size;
          now.count += 1;
          assert.ok(now.bytes <= IN_FLIGHT_BYTES_MAX && now.count <= IN_FLIGHT_MAX);
          const work = s.schedule(Promise.resolve()).then(() => {
            now.bytes -= size;
            now.count -= 1;
          });
          flow.add(size, work);
        }
        await flow.drained();
      };
      await s.waitFor(feed());
      assert.deepEqual(now, { bytes: 0, count: 0 });
    }),
    { numRuns: 30 },
  );
});

test('the first failure is that of all who wait', async () => {
  const flow = new Flow();
  flow.add(IN_FLIGHT_BYTES_MAX, Promise.reject(new Error('no space')));
  await assert.rejects(flow.room(1), /no space/);
  await assert.rejects(flow.drained(), /no space/);
});
