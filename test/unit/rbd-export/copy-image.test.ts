// What of a chunk is written: all that is not zeros, in whole grains.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dataRuns } from '../../../src/rbd-export/copy-image.ts';
import { GRAIN_BYTES } from '../../../src/rbd-export/extents.ts';

test('runs of grains that are not zeros, to the last byte of a chunk', () => {
  const bytes = Buffer.alloc(4 * GRAIN_BYTES + 512);
  assert.deepEqual([...dataRuns(bytes)], []);
  bytes[GRAIN_BYTES] = 1;
  bytes[3 * GRAIN_BYTES - 1] = 1;
  bytes[bytes.length - 1] = 1;
  assert.deepEqual(
    [...dataRuns(bytes)],
    [
      [GRAIN_BYTES, 3 * GRAIN_BYTES],
      [4 * GRAIN_BYTES, bytes.length],
    ],
  );
});
