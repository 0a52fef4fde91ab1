// Tables of chunks: one content, one table, in whatever order its chunks come; and nothing else is read as one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ChunkDigester } from '../../../../src/trust/manifest/chunk-digester.ts';
import {
  ChunkTable,
  chunkBytesFor,
  TABLE_BYTES_MAX,
  TableBuilder,
} from '../../../../src/trust/manifest/chunk-table.ts';
import { CHUNK, KIB, sha256, sparse, tableBytes, tableOf } from '../../../support/manifests.ts';

const RUNS = process.env['SIPHON_SOAK'] === undefined ? 1000 : 100_000;
const TIB = 1024 ** 4;

/** A few chunks of which some are holes; the last may be cut. */
const contents = fc
  .record({
    chunks: fc.array(fc.constantFrom('hole', 'first', 'last'), { minLength: 1, maxLength: 20 }),
    cutBytes: fc.constantFrom(0, 1, 511, 512, 4096, CHUNK - 1),
  })
  .map(({ chunks, cutBytes }) => {
    const content = Buffer.alloc(chunks.length * CHUNK);
    for (const [index, kind] of chunks.entries())
      if (kind !== 'hole') content[index * CHUNK + (kind === 'first' ? 0 : CHUNK - 1)] = index + 1;
    return content.subarray(0, content.length - cutBytes);
  });

function parsed(bytes: Buffer): ChunkTable {
  const found = ChunkTable.parse(bytes);
  return found.kind === 'table' ? found.table : assert.fail(found.why);
}

function whyNot(bytes: Buffer): string {
  const found = ChunkTable.parse(bytes);
  return found.kind === 'none' ? found.why : assert.fail('it is a table');
}

test('a table tells of each chunk whether it is a hole, and else its digest', () => {
  fc.assert(
    fc.property(contents, (content) => {
      const table = parsed(tableBytes(content));
      assert.equal(table.sizeBytes, content.length);
      const data: number[] = [];
      for (let chunk = 0; chunk < table.chunkCount; chunk++) {
        const bytes = content.subarray(chunk * CHUNK, (chunk + 1) * CHUNK);
        const isHole = bytes.every((byte) => byte === 0);
        assert.deepEqual(table.digestOf(chunk), isHole ? undefined : sha256(bytes));
        if (!isHole) data.push(chunk);
      }
      assert.equal(table.dataChunks, data.length);
      for (let from = 0; from <= table.chunkCount; from++)
        for (const to of [from, from + 1, table.chunkCount])
          assert.equal(
            table.firstData(from, Math.min(to, table.chunkCount)),
            data.find((chunk) => chunk >= from && chunk < to),
          );
    }),
    { numRuns: 100 },
  );
});

test('digests that come in any order make the one table', () => {
  fc.assert(
    fc.property(contents, fc.integer(), (content, seed) => {
      const table = tableOf(content);
      const builder = new TableBuilder({ sizeBytes: content.length, chunkBytes: CHUNK });
      const chunks = Array.from({ length: table.chunkCount }, (_, chunk) => chunk);
      const mixed = chunks.toSorted((a, b) => ((a * seed) % 7) - ((b * seed) % 7));
      for (const chunk of mixed) {
        const digest = table.digestOf(chunk);
        if (digest) builder.add(chunk, digest);
      }
      assert.deepEqual(builder.finish().bytes, table.bytes);
    }),
    { numRuns: 100 },
  );
});

test('many digests make one, too', () => {
  const builder = new TableBuilder({ sizeBytes: 1000 * CHUNK, chunkBytes: CHUNK });
  const table = tableOf(
    sparse(
      1000 * CHUNK,
      Array.from({ length: 1000 }, (_, i) => i),
    ),
  );
  for (let chunk = 999; chunk >= 0; chunk--) builder.add(chunk, table.digestOf(chunk)!);
  assert.equal(builder.finish().sha256, table.sha256);
  assert.equal(
    table.digestOf(999)?.equals(sha256(sparse(1000 * CHUNK, [999]).subarray(-CHUNK))),
    true,
  );
});

test('bytes that come in parts are digested as they are', () => {
  const parts = fc.array(fc.integer({ min: 1, max: 3 * CHUNK }), { maxLength: 30 });
  fc.assert(
    fc.property(contents, parts, fc.boolean(), (content, lengths, areHolesSkipped) => {
      const digester = new ChunkDigester({ sizeBytes: content.length, chunkBytes: CHUNK });
      const table = tableOf(content);
      const seen: (readonly [number, Buffer | undefined])[] = [];
      for (let at = 0, next = 0; at < content.length; next++) {
        const wanted = Math.min(lengths[next] ?? CHUNK, content.length - at);
        const room = CHUNK - (at % CHUNK);
        const part = content.subarray(at, at + Math.min(wanted, areHolesSkipped ? room : wanted));
        const isZero = areHolesSkipped && part.every((byte) => byte === 0);
        const entries = isZero ? digester.skip(at, part.length) : digester.update(part, at);
        for (const { chunk, digest } of entries)
          seen.push([chunk, digest === null ? undefined : Buffer.from(digest)]);
        at += part.length;
      }
      const all = Array.from({ length: table.chunkCount }, (_, i) => [i, table.digestOf(i)]);
      assert.deepEqual(seen, all);
    }),
    { numRuns: 100 },
  );
});

test('the size of chunks follows from the size of the image; of 16 TiB the table still fits', () => {
  const mib = 1024 ** 2;
  assert.equal(chunkBytesFor(1), 4 * mib);
  assert.equal(chunkBytesFor(TIB), 4 * mib);
  assert.equal(chunkBytesFor(TIB + 1), 8 * mib);
  assert.equal(chunkBytesFor(16 * TIB), 64 * mib);
  assert.equal(chunkBytesFor(16 * TIB + 1), undefined);
  const chunks = (16 * TIB) / (64 * mib);
  assert.ok(12 + chunks / 8 + 32 * chunks <= TABLE_BYTES_MAX);
});

test('100 GiB with little in them are a small table', () => {
  const builder = new TableBuilder({ sizeBytes: 100 * 1024 ** 3, chunkBytes: 4 * 1024 ** 2 });
  for (const chunk of [0, 12_345, 25_599]) builder.add(chunk, sha256(Buffer.from([chunk & 255])));
  const table = builder.finish();
  assert.equal(table.bytes.length, 12 + 25_600 / 8 + 3 * 32);
  assert.equal(table.firstData(1, 25_599), 12_345);
  assert.equal(table.digestOf(25_598), undefined);
});

test('what is no table is named', () => {
  const content = sparse(10 * CHUNK, [0, 9]);
  const good = tableBytes(content);
  const changed = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(good);
    change(bytes);
    return bytes;
  };
  assert.match(whyNot(Buffer.alloc(0)), /cut off/);
  assert.match(whyNot(good.subarray(0, -1)), /it has \d+ bytes, and with its 2 digests/);
  assert.match(whyNot(Buffer.concat([good, Buffer.alloc(1)])), /with its 2 digests/);
  assert.match(whyNot(changed((bytes) => bytes.writeBigUInt64BE(0n))), /0 bytes are no size/);
  assert.match(whyNot(changed((bytes) => bytes.writeBigUInt64BE(2n ** 63n))), /are no size/);
  assert.match(whyNot(changed((bytes) => bytes.writeBigUInt64BE(2n ** 52n))), /too short for/);
  for (const chunkBytes of [0, 1, CHUNK / 2, CHUNK + 1, 2 ** 27, 2 ** 31, 2 ** 32 - 1])
    assert.match(whyNot(changed((bytes) => bytes.writeUInt32BE(chunkBytes, 8))), /power of 2/);
  assert.match(whyNot(changed((bytes) => (bytes[13]! |= 1 << 2))), /past its end/);
  const zeros = sha256(Buffer.alloc(CHUNK));
  assert.match(whyNot(changed((bytes) => bytes.set(zeros, 14))), /chunk 0 is of zeros/);
  assert.match(whyNot(changed((bytes) => bytes.set(zeros, 14 + 32))), /chunk 9 is of zeros/);
  const cut = tableBytes(sparse(9 * CHUNK + 5, [9]));
  cut.set(sha256(Buffer.alloc(5)), cut.length - 32);
  assert.match(whyNot(cut), /chunk 9 is of zeros/);
  assert.match(whyNot(Buffer.alloc(TABLE_BYTES_MAX + 1)), /more than \d+ bytes/);
});

test('one size of two tables differs, though all are holes', () => {
  assert.notEqual(tableOf(Buffer.alloc(CHUNK)).sha256, tableOf(Buffer.alloc(CHUNK - 1)).sha256);
});

test('random and mutated bytes are a table or not, and quickly', () => {
  const good = tableBytes(sparse(20 * KIB * KIB, [0, 5, 100, 319]));
  const mutated = fc
    .array(fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 })), { maxLength: 4 })
    .map((changes) => {
      const bytes = Buffer.from(good);
      for (const [at, to] of changes) bytes[at] = to;
      return bytes;
    });
  const random = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  const cut = fc.nat({ max: good.length }).map((end) => good.subarray(0, end));
  fc.assert(
    fc.property(fc.oneof(mutated, random, cut), (bytes) => {
      const found = ChunkTable.parse(bytes);
      if (found.kind === 'none') return found.why.length > 0;
      return found.table.bytes.length === bytes.length;
    }),
    { numRuns: RUNS },
  );
});
