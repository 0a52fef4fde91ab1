// Object maps: counted as Ceph encodes them, and not where they are anything else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countObjects, mapBytesMax } from '../../../src/worker/roles/ceph/object-map.ts';

/** As BitVector::encode writes it; states of the objects, the first in the highest bits. */
function mapOf(states: readonly number[]): Buffer {
  const header = Buffer.alloc(18);
  header.writeUInt32LE(14, 0);
  header.set([1, 1], 4);
  header.writeUInt32LE(8, 6);
  header.writeBigUInt64LE(BigInt(states.length), 10);
  const data = Buffer.alloc(Math.ceil(states.length / 4));
  for (const [index, state] of states.entries()) {
    const at = index >> 2;
    data[at] = (data[at] ?? 0) | (state << (6 - 2 * (index & 3)));
  }
  return Buffer.concat([header, data, Buffer.from('checksums')]);
}

test('every state but nonexistent counts, wherever it stands in its byte', () => {
  assert.equal(countObjects(mapOf([0, 1, 2, 3, 0, 0, 3, 1, 3]), 9), 6);
  assert.equal(countObjects(mapOf(Array(1000).fill(0)), 1000), 0);
  assert.equal(countObjects(mapOf(Array(1001).fill(3)), 1001), 1001);
  assert.equal(countObjects(mapOf([]), 0), 0);
  assert.ok(mapOf(Array(262_144).fill(1)).length <= mapBytesMax(262_144));
});

test('what is cut short, of another size or of another version is not counted', () => {
  const map = mapOf([3, 3, 3, 3, 3]);
  assert.equal(countObjects(map, 4), undefined);
  assert.equal(countObjects(map.subarray(0, 19), 5), undefined);
  assert.equal(countObjects(Buffer.alloc(0), 5), undefined);
  map[4] = 2;
  assert.equal(countObjects(map, 5), undefined);
});
