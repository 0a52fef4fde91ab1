// Extents and segments cover a source once, in order, in bounded memory.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ExtentList } from '../../../src/rbd-export/extents.ts';
import { segmentsOf } from '../../../src/rbd-export/segments.ts';

const GRAIN = 65_536;
const CHUNK = 4 * 2 ** 20;

/** Sorted, disjoint extents in grains: gaps and lengths in turn. */
const extents = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 300 })), {
    maxLength: 200,
  })
  .map((pairs) => {
    let at = 0;
    return pairs.map(([gap, length]) => {
      const offset = at + gap * GRAIN;
      at = offset + length * GRAIN;
      return [offset, at] as const;
    });
  });

test('a list gives back what it was told, touching ones as one', () => {
  fc.assert(
    fc.property(extents, (told) => {
      const list = new ExtentList();
      for (const [offset, end] of told) {
        const middle = offset + GRAIN / 2;
        list.add(offset, middle);
        list.add(middle, end);
      }
      assert.deepEqual([...list], told);
      assert.equal(
        list.totalBytes,
        told.reduce((sum, [offset, end]) => sum + end - offset, 0),
      );
    }),
  );
});

test('a full list closes gaps, smallest first, and forgets no data', () => {
  fc.assert(
    fc.property(extents, fc.integer({ min: 2, max: 20 }), (told, max) => {
      const list = new ExtentList(max);
      for (const [offset, end] of told) list.add(offset, end);
      assert(list.length <= max);
      const kept = [...list];
      for (const [offset, end] of told) {
        assert(
          kept.some(([from, to]) => from <= offset && end <= to),
          `${offset}-${end} is lost`,
        );
      }
      for (const [i, [from]] of kept.entries()) assert(i === 0 || from > (kept[i - 1]?.[1] ?? 0));
    }),
  );
});

test('segments cover every byte once, none longer than a chunk', () => {
  fc.assert(
    fc.property(extents, fc.nat(CHUNK), (told, tail) => {
      const sizeBytes = (told.at(-1)?.[1] ?? 0) + tail;
      let at = 0;
      for (const { kind, offset, length } of segmentsOf(told, sizeBytes, CHUNK)) {
        assert.equal(offset, at);
        assert(length > 0);
        if (kind === 'data') {
          assert(Math.floor(offset / CHUNK) === Math.floor((offset + length - 1) / CHUNK));
          assert(told.some(([from, to]) => from <= offset && offset + length <= to));
        }
        at += length;
      }
      assert.equal(at, sizeBytes);
    }),
  );
});
