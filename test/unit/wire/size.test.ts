// Sizes as people read them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatSize } from '../../../src/wire/size.ts';

test('binary units, one decimal', () => {
  assert.deepEqual([0, 1023, 1024, 1536, 2 ** 20 - 1, 10 * 2 ** 30, 2 ** 60].map(formatSize), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 KiB',
    '1.0 MiB',
    '10.0 GiB',
    '1.0 EiB',
  ]);
});
