// What changed, cut into chunks: every byte of it once, in order, and no more.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { piecesOf, type Run } from '../../../src/rbd-export/set/pieces.ts';
import { CHUNK_BYTES } from '../../../src/rbd-export/slots.ts';
import { without } from '../../../src/rbd-export/windows.ts';

/** Scaled so that chunks have few bytes: a unit is a 16th of one. */
const UNIT = CHUNK_BYTES / 16;
const run = fc
  .record({ at: fc.nat(100), length: fc.integer({ min: 1, max: 40 }), isZero: fc.boolean() })
  .map(({ at, length, isZero }): Run => {
    return { offset: at * UNIT, end: (at + length) * UNIT, isZero };
  });
const runs = fc
  .array(run, { maxLength: 12 })
  .map((all) => all.toSorted((a, b) => a.offset - b.offset));

const unitsOf = ({ offset, end }: Run) =>
  Array.from({ length: (end - offset) / UNIT }, (_, at) => offset / UNIT + at);

test('pieces are the runs, each byte once, none over a chunk’s end', () => {
  fc.assert(
    fc.property(runs, (all) => {
      const pieces = [...piecesOf(all)];
      const told = pieces.flatMap((piece) => piece.runs.flatMap(unitsOf));
      const wanted = [...new Set(all.flatMap(unitsOf))].toSorted((a, b) => a - b);
      assert.deepEqual(told, wanted);
      for (const { offset, length, runs: parts } of pieces) {
        assert.equal(
          Math.floor(offset / CHUNK_BYTES),
          Math.floor((offset + length - 1) / CHUNK_BYTES),
        );
        assert.deepEqual([parts[0]?.offset, parts.at(-1)?.end], [offset, offset + length]);
      }
    }),
  );
});

test('zeros are taken for granted only where nothing else was said', () => {
  fc.assert(
    fc.property(runs, (all) => {
      const zeros = [...piecesOf(all)].flatMap((piece) =>
        piece.runs.filter(({ isZero }) => isZero),
      );
      const data = new Set(all.filter(({ isZero }) => !isZero).flatMap(unitsOf));
      assert.ok(!zeros.flatMap(unitsOf).some((unit) => data.has(unit)));
    }),
  );
});

test('what is left of extents without others is what only they have', () => {
  const windows = fc
    .uniqueArray(fc.nat(60), { maxLength: 20 })
    .map((bounds) => bounds.toSorted((a, b) => a - b))
    .map((sorted) =>
      Array.from({ length: Math.floor(sorted.length / 2) }, (_, at) => {
        return [sorted[2 * at] ?? 0, sorted[2 * at + 1] ?? 0] as const;
      }),
    );
  const bytesOf = (all: Iterable<readonly [number, number]>) =>
    [...all].flatMap(([at, end]) => Array.from({ length: end - at }, (_, one) => at + one));
  fc.assert(
    fc.property(windows, windows, (all, holes) => {
      const held = new Set(bytesOf(holes));
      const wanted = bytesOf(all).filter((byte) => !held.has(byte));
      assert.deepEqual(bytesOf(without(all, holes)), wanted);
    }),
  );
});
