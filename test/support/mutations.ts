// Inputs that are nearly right: something right with some of its bytes changed, left out, or put in; and the bounds within which whatever
// reads them has to come to an answer.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import fc from 'fast-check';

const isSoak = process.env['SIPHON_SOAK'] === '1';
/** For `fc.assert`: so many inputs, by a seed that the test's name tells. */
export const RUNS = { numRuns: isSoak ? 100_000 : 1000, seed: randomInt(2 ** 31) };
export const RUNS_NAME = `${RUNS.numRuns} times, seed ${RUNS.seed}`;

/** Of one input, on a machine that is busy with other things. */
const MS_MAX = 3000;
const HEAP_BYTES_MAX = 64 * 2 ** 20;

/** What it gives, or throws; in time, and without making much of it. */
export function bounded<T>(work: () => T): T {
  const began = performance.now();
  const before = process.memoryUsage().heapUsed;
  try {
    return work();
  } finally {
    const took = performance.now() - began;
    assert.ok(took < MS_MAX, `${took} ms`);
    const grown = process.memoryUsage().heapUsed - before;
    assert.ok(grown < HEAP_BYTES_MAX, `${grown} bytes`);
  }
}

export const changes = fc.array(
  fc.record({
    at: fc.nat(),
    what: fc.constantFrom('set', 'set', 'set', 'cut', 'insert', 'end'),
    byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 0x30, 0x80, 0x84, 0xff, 0x0a, 0x2d)),
    count: fc.integer({ min: 1, max: 40 }),
  }),
  { minLength: 1, maxLength: 6 },
);
type Change = typeof changes extends fc.Arbitrary<readonly (infer T)[]> ? T : never;

export function changed(bytes: Buffer, all: readonly Change[]): Buffer {
  return all.reduce<Buffer>((found, { at, what, byte, count }) => {
    const place = at % (found.length + 1);
    if (what === 'end') return found.subarray(0, place);
    const keep = what === 'insert' ? place : Math.min(found.length, place + count);
    const put = what === 'cut' ? Buffer.alloc(0) : Buffer.alloc(what === 'set' ? 1 : count, byte);
    const after = what === 'set' ? place + 1 : keep;
    return Buffer.concat([found.subarray(0, place), put, found.subarray(after)]);
  }, bytes);
}

/** Any of these, changed. */
export const changedFrom = (right: readonly Buffer[]): fc.Arbitrary<Buffer> =>
  fc.tuple(fc.constantFrom(...right), changes).map(([bytes, all]) => changed(bytes, all));

/** What numbers on disk are wrong by. */
export const oddNumbers = fc.oneof(
  fc.constantFrom(0n, 1n, 7n, 0x1000n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn),
  fc.constantFrom(2n ** 53n, 2n ** 63n, 2n ** 64n - 1n),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: 0n, max: 4096n }),
);
