// The digest of a file's tables is of what is there, whatever the order in which it was told.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HeadDigest } from '../../../src/rbd-export/head-digest.ts';
import {
  CLUSTER_BYTES,
  ClusterSet,
  encodeTables,
  planLayout,
  type TablePiece,
} from '../../../src/rbd-export/qcow2-layout.ts';

const GIB = 2 ** 30;

function piecesOf(clusters: readonly number[]): { pieces: TablePiece[]; lengthBytes: number } {
  const layout = planLayout(2 * GIB);
  const set = new ClusterSet();
  for (const cluster of clusters) set.add(cluster * CLUSTER_BYTES, CLUSTER_BYTES);
  return { pieces: [...encodeTables(layout, set)], lengthBytes: layout.dataOffset };
}

function digestOf(pieces: Iterable<TablePiece>, lengthBytes: number): string {
  const digest = new HeadDigest(lengthBytes);
  for (const piece of pieces) digest.add(piece);
  return digest.finish().sha256;
}

const someClusters = fc.uniqueArray(fc.nat(2 * GIB - 1), { maxLength: 20 });

test('it is the same in any order, and with the zeros told or not', () => {
  fc.assert(
    fc.property(someClusters, (bytes) => {
      const { pieces, lengthBytes } = piecesOf(bytes.map((at) => Math.floor(at / CLUSTER_BYTES)));
      const whole = Buffer.alloc(lengthBytes);
      for (const { offset, bytes: written } of pieces) written.copy(whole, offset);
      const all = Array.from({ length: lengthBytes / CLUSTER_BYTES }, (_, i) => ({
        offset: i * CLUSTER_BYTES,
        bytes: whole.subarray(i * CLUSTER_BYTES, (i + 1) * CLUSTER_BYTES),
      }));
      assert.equal(digestOf(pieces, lengthBytes), digestOf(all.toReversed(), lengthBytes));
    }),
    { numRuns: 30 },
  );
});

test('one bit anywhere makes another', () => {
  const { pieces, lengthBytes } = piecesOf([0, 9000, 30_000]);
  const good = digestOf(pieces, lengthBytes);
  for (const [at, { offset, bytes }] of pieces.entries()) {
    const flipped = Buffer.from(bytes);
    flipped[bytes.length - 1] = (flipped[bytes.length - 1] ?? 0) ^ 1;
    assert.notEqual(digestOf(pieces.with(at, { offset, bytes: flipped }), lengthBytes), good);
  }
});
