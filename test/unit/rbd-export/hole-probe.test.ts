// Which holes are asked for: all of few, a fair sample of many.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chooseProbes } from '../../../src/rbd-export/hole-probe.ts';
import type { Window } from '../../../src/rbd-export/windows.ts';

const GRAIN = 65_536;
const CHUNK = 4 * 2 ** 20;

const holes = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 300 })), {
    minLength: 1,
    maxLength: 50,
  })
  .map((pairs) => {
    let at = 0;
    return pairs.map(([gap, length]): Window => {
      const offset = at + gap * GRAIN;
      at = offset + length * GRAIN;
      return [offset, at];
    });
  });

test('each probe lies in a hole and in a chunk, none twice, and there are as many as may be', () => {
  fc.assert(
    fc.property(
      holes,
      fc.integer({ min: 1, max: 40 }),
      fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
      (all, max, numbers) => {
        let turn = 0;
        const step = () => ((numbers.next().value as number) + (turn += 0.137)) % 1;
        const probes = chooseProbes(all, max, step);
        const chunks = all.flatMap(([offset, end]) => chunksOf(offset, end));
        if (chunks.length <= max) {
          assert.deepEqual(probes, all);
          return;
        }
        assert.equal(probes.length, max);
        for (const [at, [offset, end]] of probes.entries()) {
          assert(offset < end && offset >= (probes[at - 1]?.[1] ?? 0));
          assert.equal(chunksOf(offset, end).length, 1);
          assert(
            all.some(([from, to]) => from <= offset && end <= to),
            `${offset}-${end}`,
          );
        }
      },
    ),
  );
});

test('every chunk of every hole is chosen in time', () => {
  const all: readonly Window[] = [
    [GRAIN, 3 * CHUNK],
    [4 * CHUNK + GRAIN, 4 * CHUNK + 2 * GRAIN],
    [9 * CHUNK, 11 * CHUNK - GRAIN],
  ];
  const seen = new Set<number>();
  for (let turn = 0; turn < 6; turn += 1) {
    const [probe] = chooseProbes(all, 1, () => turn / 6);
    seen.add(Math.floor((probe?.[0] ?? -1) / CHUNK));
  }
  assert.deepEqual([...seen], [0, 1, 2, 4, 9, 10]);
});

function chunksOf(offset: number, end: number): number[] {
  const [first, last] = [Math.floor(offset / CHUNK), Math.floor((end - 1) / CHUNK)];
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}
