// Export files: what was written is read, and whatever was cut, changed, moved or put together of two is told.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeHeader,
  ExportReader,
  encodeHeader,
  PAYLOAD_BYTES_MAX,
} from '../../../src/export-file/index.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { fileOf, headerFor, type Part, partsIn, partsOf, sourceOf } from './made.ts';

const SIZE = 64 * 1024;

/** Frames in order, on one or two disks, with gaps. */
const parts = fc
  .array(
    fc.record({
      gap: fc.integer({ min: 0, max: 3000 }),
      payload: fc.uint8Array({ minLength: 1, maxLength: 900 }),
      isZero: fc.boolean(),
      isNextDisk: fc.boolean(),
    }),
    { maxLength: 12 },
  )
  .map((steps) => {
    let [disk, at] = [0, 0];
    return steps.map(({ gap, payload, isZero, isNextDisk }): Part => {
      if (isNextDisk && disk === 0) [disk, at] = [1, 0];
      const offset = at + gap;
      const { length } = payload;
      at = offset + length;
      const kind = isZero ? 'zero' : 'data';
      const frame = { kind, disk, offset, length } as const;
      return isZero ? { frame } : { frame, payload: Buffer.from(payload) };
    });
  });

const file = (of: readonly Part[]) => fileOf(headerFor([SIZE, SIZE]), of);

async function refusal(bytes: Buffer): Promise<OperatingError> {
  const error = await partsIn(bytes).then(
    () => assert.fail('it was read'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof OperatingError, String(error));
  return error;
}

test('what was written is read', async () => {
  await fc.assert(
    fc.asyncProperty(parts, async (of) => {
      assert.deepEqual(await partsIn(file(of).bytes), of);
    }),
  );
});

test('a file that was cut anywhere is told, and so is one in which any bit is another', async () => {
  const some = fc.record({
    of: parts,
    at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    bit: fc.nat(7),
  });
  await fc.assert(
    fc.asyncProperty(some, async ({ of, at, bit }) => {
      const { bytes } = file(of);
      const place = Math.floor(at * bytes.length);
      const cut = await refusal(bytes.subarray(0, place));
      assert.match(`${cut.code} ${cut.why}`, /^(corrupt .*cut|mismatch)/);
      const changed = Buffer.from(bytes);
      changed[place] = (changed[place] ?? 0) ^ (1 << bit);
      const { code } = await refusal(changed);
      assert.ok(['corrupt', 'mismatch'].includes(code), code);
    }),
    { numRuns: 300 },
  );
});

test('frames that were left out, repeated or taken of another export are told', async () => {
  const two = [0, 4096].map((offset): Part => {
    const frame = { kind: 'data', disk: 0, offset, length: 9 } as const;
    return { frame, payload: Buffer.from('ninebytes') };
  });
  const { bytes, starts } = file(two);
  const [first = 0, second = 0, end = 0] = starts;
  const [head, a, b, rest] = [
    bytes.subarray(0, first),
    bytes.subarray(first, second),
    bytes.subarray(second, end),
    bytes.subarray(end),
  ];
  for (const mixed of [
    [head, b, rest],
    [head, a, rest],
    [head, a, a, b, rest],
    [head, b, a, rest],
  ])
    assert.equal((await refusal(Buffer.concat(mixed))).code, 'corrupt');
  const other = fileOf(headerFor([SIZE, SIZE], { id: 'f'.repeat(32) }), two);
  const spliced = Buffer.concat([head, other.bytes.subarray(other.starts[0])]);
  assert.match((await refusal(spliced)).why, /of another export/);
});

test('a frame beyond its disk, out of order or too long is told, though its digest is right', async () => {
  const at = (offset: number, length: number, disk = 0): Part => ({
    frame: { kind: 'zero', disk, offset, length },
  });
  const cases: [Part[], RegExp][] = [
    [[at(SIZE, 1)], /beyond the end/],
    [[at(0, 1, 2)], /a disk that there is not/],
    [[at(100, 10), at(105, 10)], /not in order/],
    [[at(0, 1, 1), at(0, 1, 0)], /not in order/],
    [[at(0, 0)], /not in order/],
  ];
  for (const [of, why] of cases) assert.match((await refusal(file(of).bytes)).why, why);
  const payload = Buffer.alloc(PAYLOAD_BYTES_MAX + 1);
  const frame = { kind: 'data', disk: 0, offset: 0, length: payload.length } as const;
  assert.match((await refusal(file([{ frame, payload }]).bytes)).why, /too long/);
});

test('a reader goes on from a mark, and only of the same file', async () => {
  await fc.assert(
    fc.asyncProperty(parts, fc.nat(12), async (of, count) => {
      const { bytes } = file(of);
      const reader = await ExportReader.open(sourceOf(bytes));
      const done = Math.min(count, of.length);
      for (let at = 0; at < done; at += 1) await reader.next((length) => Buffer.alloc(length));
      const { mark } = reader;
      const rest = bytes.subarray(mark.position);
      assert.deepEqual(await framesFrom(bytes, rest, mark), of.slice(done));
      const other = { ...mark, chain: 'ab'.repeat(32) };
      await assert.rejects(framesFrom(bytes, rest, other), /of another export/);
    }),
  );
});

/** As whoever imports goes on: the header, and then the bytes from a mark on. */
async function framesFrom(bytes: Buffer, rest: Buffer, mark: ExportReader['mark']) {
  const { starts } = file([]);
  const source = sourceOf(Buffer.concat([bytes.subarray(0, starts[0]), rest]));
  const reader = await ExportReader.open(source);
  reader.goOnFrom(mark);
  return await partsOf(reader);
}

test('what is no export, or of a newer siphon, is told as such', async () => {
  assert.match((await refusal(Buffer.alloc(100))).why, /does not begin as one/);
  const newer = Buffer.from(file([]).bytes);
  newer.write('SIPHONX2', 0, 'latin1');
  assert.match((await refusal(newer)).why, /another format than 1/);
  assert.equal((await refusal(newer)).code, 'mismatch');
});

test('a set that siphon could not have written is refused, and what it does not know is left out', async () => {
  const header = headerFor([SIZE]);
  const set = { ...header.set, policy: 'theirs', isProtected: true, unknown: 1 };
  const reader = await ExportReader.open(sourceOf(fileOf({ ...header, set }, []).bytes));
  assert.deepEqual(reader.header.set, header.set);
  for (const wrong of [
    { wanted: undefined },
    { leftOut: 'x' },
    { id: '../..' },
    { domainUuid: 'x' },
  ]) {
    const bad = { ...header, set: { ...header.set, ...wrong } } as unknown as typeof header;
    assert.throws(() => decodeHeader(encodeHeader(bad)), { code: 'corrupt' });
  }
});
