// A flatten's rate: what is to be copied counts, once, and nothing else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlattenPace } from '../../../src/worker/roles/ceph/flatten-pace.ts';

const MIB = 2 ** 20;
const piece = (offset: number, end: number) => [offset * MIB, end * MIB] as const;

test('holes, and what is copied already, cost no time', () => {
  const pace = new FlattenPace(MIB, [piece(4, 12), piece(20, 24)], [piece(0, 6), piece(10, 22)]);
  const dueSeconds = (mebibytes: number) => {
    pace.reached(mebibytes * MIB);
    return pace.dueMs / 1000;
  };
  assert.deepEqual([0, 4, 6, 8, 10, 20, 23, 30].map(dueSeconds), [0, 0, 0, 2, 4, 4, 5, 6]);
  assert.equal(dueSeconds(8), 6, 'the next turn passes over it');
});

test('without anything of its own all of it counts, and without a parent nothing', () => {
  const all = new FlattenPace(2 * MIB, [piece(0, 8)], []);
  all.reached(8 * MIB);
  assert.equal(all.dueMs, 4000);
  const none = new FlattenPace(MIB, [piece(0, 8)], [piece(0, 8)]);
  none.reached(8 * MIB);
  assert.equal(none.dueMs, 0);
});
