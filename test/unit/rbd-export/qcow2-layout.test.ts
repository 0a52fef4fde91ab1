// The identity layout, read back by a reader of its own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseQcow2Header } from '../../../src/domain/qcow2-header.ts';
import type { Layout } from '../../../src/rbd-export/qcow2-layout.ts';
import {
  CLUSTER_BYTES,
  ClusterSet,
  encodeTables,
  planLayout,
} from '../../../src/rbd-export/qcow2-layout.ts';

const COPIED = 1n << 63n;

/** The pieces as a sparse file: 64-bit and 16-bit words by offset; absent is zero. */
function render(layout: Layout, clusters: ClusterSet) {
  const pieces = new Map<number, Buffer>();
  for (const { offset, bytes } of encodeTables(layout, clusters)) {
    assert(bytes.length <= CLUSTER_BYTES && offset % CLUSTER_BYTES === 0);
    assert(!pieces.has(offset), 'two pieces at one place');
    assert(offset + bytes.length <= layout.dataOffset);
    pieces.set(offset, bytes);
  }
  const at = (offset: number) => pieces.get(offset - (offset % CLUSTER_BYTES));
  return {
    pieces,
    u64: (offset: number) => at(offset)?.readBigUInt64BE(offset % CLUSTER_BYTES) ?? 0n,
    u16: (offset: number) => at(offset)?.readUInt16BE(offset % CLUSTER_BYTES) ?? 0,
  };
}

const disks = fc.record({
  sizeBytes: fc.oneof(
    fc.integer({ min: 1, max: 2 ** 31 }),
    fc.integer({ min: 2 ** 33, max: 2 ** 42 }),
  ),
  at: fc.array(
    fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 1, max: 200 })),
    { maxLength: 12 },
  ),
});

test('every cluster is found where it is, once, and counted once; all else is a hole', () => {
  fc.assert(
    fc.property(disks, ({ sizeBytes, at }) => {
      const layout = planLayout(sizeBytes);
      const count = Math.ceil(sizeBytes / CLUSTER_BYTES);
      const clusters = new ClusterSet();
      const data = new Set<number>();
      for (const [where, length] of at) {
        const first = Math.min(count - 1, Math.floor(where * count));
        const end = Math.min(count, first + length);
        clusters.add(
          first * CLUSTER_BYTES,
          Math.min((end - first) * CLUSTER_BYTES, sizeBytes - first * CLUSTER_BYTES),
        );
        for (let i = first; i < end; i++) data.add(i);
      }
      const file = render(layout, clusters);
      const head = parseQcow2Header(file.pieces.get(0)!);
      assert(head.kind === 'qcow2');
      assert.equal(head.virtualSizeBytes, Math.ceil(sizeBytes / 512) * 512);
      assert.equal(head.features.incompatible, 0n);

      const referenced = new Set<number>([0]);
      const refer = (offset: number) => {
        const cluster = offset / CLUSTER_BYTES;
        assert(
          Number.isInteger(cluster) && offset < layout.fileSizeBytes && !referenced.has(cluster),
        );
        referenced.add(cluster);
      };
      const l1Clusters = Math.ceil((head.l1.entries * 8) / CLUSTER_BYTES);
      for (let i = 0; i < l1Clusters; i++) refer(head.l1.offset + i * CLUSTER_BYTES);
      for (let i = 0; i < head.refcountTable.clusters; i++)
        refer(head.refcountTable.offset + i * CLUSTER_BYTES);
      const mapped = new Set<number>();
      for (let i = 0; i < head.l1.entries; i++) {
        const l1 = file.u64(head.l1.offset + i * 8);
        if (l1 === 0n) continue;
        assert(l1 & COPIED);
        refer(Number(l1 & ~COPIED));
        for (let j = 0; j < 8192; j++) {
          const l2 = file.u64(Number(l1 & ~COPIED) + j * 8);
          if (l2 === 0n) continue;
          assert(l2 & COPIED);
          const guest = i * 8192 + j;
          assert.equal(Number(l2 & ~COPIED), layout.dataOffset + guest * CLUSTER_BYTES, 'identity');
          refer(Number(l2 & ~COPIED));
          mapped.add(guest);
        }
      }
      assert.deepEqual(mapped, data);
      const blocks = new Map<number, number>();
      for (let i = 0; i < head.refcountTable.clusters * 8192; i++) {
        const block = Number(file.u64(head.refcountTable.offset + i * 8));
        if (block === 0) continue;
        refer(block);
        blocks.set(i, block);
      }
      for (const [i, block] of blocks) {
        for (let j = 0; j < 32_768; j++) {
          const wanted = referenced.delete(i * 32_768 + j) ? 1 : 0;
          if (file.u16(block + j * 2) !== wanted)
            assert.fail(`refcount of ${i * 32_768 + j} is not ${wanted}`);
        }
      }
      assert.equal(referenced.size, 0, 'some cluster is not counted');
    }),
    { numRuns: 40 },
  );
});

test('geometry holds for the largest images, in little memory', () => {
  const layout = planLayout(2 ** 50);
  assert(layout.fileSizeBytes / CLUSTER_BYTES <= layout.refcountBlockCount * 32_768);
  assert.equal(layout.dataOffset % 2 ** 22, 0);
});
