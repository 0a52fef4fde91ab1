// Whatever a source's first bytes are: one answer, soon, of little memory; and what is taken for qcow2 lies within its source.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseQcow2Header, type Qcow2Result } from '../../../src/domain/qcow2-header.ts';
import { INSPECT_HEAD_BYTES, inspectHead } from '../../../src/trust/inspect.ts';
import { bounded, changedFrom, oddNumbers, RUNS, RUNS_NAME } from '../../support/mutations.ts';
import { FIXTURES } from '../domain/qcow2-fixtures.ts';

const RIGHT = Object.values(FIXTURES).map((each) => Buffer.from(each));
const MAGIC = Buffer.from('QFI\xfb', 'latin1');
/** Where the header has its numbers (docs/interop/qcow2.rst), and of how many bytes. */
const FIELDS: readonly (readonly [at: number, bytes: 4 | 8])[] = [
  ...[4, 16, 20, 32, 36, 56, 60, 96, 100].map((at) => [at, 4] as const),
  ...[8, 24, 40, 48, 64, 72, 80, 88].map((at) => [at, 8] as const),
  // Of the first extensions, after a header of 104 bytes and of 112.
  ...[104, 108, 112, 116, 120, 124].map((at) => [at, 4] as const),
];

/** A right header with some of its numbers changed. */
const odd = fc
  .tuple(
    fc.constantFrom(...RIGHT),
    fc.array(fc.tuple(fc.constantFrom(...FIELDS), oddNumbers), { minLength: 1, maxLength: 4 }),
  )
  .map(([bytes, all]) => {
    const copy = Buffer.from(bytes);
    for (const [[at, size], value] of all)
      if (size === 8) copy.writeBigUInt64BE(value, at);
      else copy.writeUInt32BE(Number(value & 0xffff_ffffn), at);
    return copy;
  });
const random = fc
  .tuple(fc.constantFrom(Buffer.alloc(0), MAGIC), fc.uint8Array({ maxLength: 600 }))
  .map(([head, rest]) => Buffer.concat([head, rest]));
const heads = fc.oneof(random, changedFrom(RIGHT), odd);

test(`a qcow2 header is read in a few reads, each of more than the last: ${RUNS_NAME}`, () => {
  fc.assert(
    fc.property(heads, fc.constantFrom(0, 0x12), (head, filler) => {
      let bytes = head;
      let result: Qcow2Result = bounded(() => parseQcow2Header(bytes));
      for (let reads = 0; result.kind === 'truncated'; reads += 1) {
        const { needBytes } = result;
        assert.ok(reads < 16 && needBytes > bytes.length && needBytes <= INSPECT_HEAD_BYTES);
        bytes = Buffer.concat([head, Buffer.alloc(needBytes - head.length, filler)]);
        result = bounded(() => parseQcow2Header(bytes));
      }
      if (result.kind === 'malformed') return assert.notEqual(result.reason, '');
      if (result.kind !== 'qcow2') return;
      const clusterBytes = 2 ** result.clusterBits;
      assert.ok(clusterBytes >= 512 && clusterBytes <= 2 ** 21);
      assert.ok(Number.isSafeInteger(result.virtualSizeBytes));
      assert.ok(result.otherExtensions.length <= clusterBytes / 8);
      assert.ok(Buffer.byteLength(result.backing?.name ?? '') <= 1023);
      assert.ok(!/\0/.test(result.backing?.name ?? ''));
    }),
    RUNS,
  );
});

test(`a source is raw, qcow2, or refused with a reason: ${RUNS_NAME}`, () => {
  const sizes = fc.oneof(fc.nat(2 ** 21), fc.constantFrom(0, 1, 511, 512, 2 ** 40, 2 ** 52));
  const declared = fc.constantFrom(undefined, 'raw' as const, 'qcow2' as const);
  const accepts = fc.option(
    fc.record({
      formats: fc.subarray(['raw' as const, 'qcow2' as const]),
      foreignRaw: fc.boolean(),
    }),
    { nil: undefined },
  );
  fc.assert(
    fc.property(heads, sizes, declared, accepts, (head, sizeBytes, format, rule) => {
      const found = bounded(() => inspectHead(head, sizeBytes, format, rule));
      if (found.kind === 'refused') return assert.notEqual(found.reason, '');
      assert.ok(rule === undefined || rule.formats.includes(found.kind));
      assert.ok(format === undefined || format === found.kind);
      assert.ok(Number.isSafeInteger(found.virtualSizeBytes) && sizeBytes > 0);
      if (found.kind === 'raw') {
        assert.ok(found.virtualSizeBytes >= sizeBytes && found.virtualSizeBytes - sizeBytes < 512);
        return;
      }
      const header = parseQcow2Header(head);
      assert(header.kind === 'qcow2');
      assert.deepEqual([header.backing, header.dataFile], [undefined, undefined]);
      assert.equal(header.encryption, 'none');
      const { l1, refcountTable } = header;
      assert.ok(l1.offset + 8 * l1.entries <= sizeBytes);
      assert.ok(
        refcountTable.offset + refcountTable.clusters * 2 ** header.clusterBits <= sizeBytes,
      );
    }),
    RUNS,
  );
});
