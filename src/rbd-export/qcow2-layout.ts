// The identity layout of siphon's own qcow2: header, refcount table, L1, refcount blocks, L2 tables, then guest offset X at
// `dataOffset + X`. So chunks are written in any order, holes stay holes, and the tables come last. Pure: geometry and bytes.
// After QEMU's docs/interop/qcow2.rst. Big-endian throughout; version 3, 16-bit refcounts, clusters of 64 KiB.

import assert from 'node:assert/strict';

export const CLUSTER_BYTES = 65_536;
const CLUSTER_BITS = 16;
const SECTOR_BYTES = 512;
const ENTRY_BYTES = 8;
/** Entries of an L2 table, of a cluster of the refcount table. */
const ENTRIES = CLUSTER_BYTES / ENTRY_BYTES;
/** Refcounts in one block. */
const REFCOUNTS = CLUSTER_BYTES / 2;
const HEADER_BYTES = 104;
const REFCOUNT_ORDER = 4;
/** QCOW_OFLAG_COPIED: the refcount of what is pointed to is exactly one. */
const COPIED = 1n << 63n;
/** Data begins at a multiple of this: a chunk of the source is then a chunk of the file. */
const DATA_ALIGN_BYTES = 4 * 1024 * 1024;

/** Offsets in the file, in bytes; counts. Each table begins at a cluster. */
export interface Layout {
  readonly virtualSizeBytes: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly l1Offset: number;
  readonly l2Count: number;
  readonly refcountBlocksOffset: number;
  readonly refcountBlockCount: number;
  readonly l2Offset: number;
  readonly dataOffset: number;
  readonly fileSizeBytes: number;
}

/** The layout for a disk of so many bytes, rounded up to whole sectors, which is what qcow2 can say. */
export function planLayout(sizeBytes: number): Layout {
  assert(Number.isSafeInteger(sizeBytes) && sizeBytes > 0);
  const virtualSizeBytes = Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
  const dataClusters = Math.ceil(virtualSizeBytes / CLUSTER_BYTES);
  const l2Count = Math.ceil(dataClusters / ENTRIES);
  for (let refcountBlockCount = 1; ; ) {
    const layout = place(virtualSizeBytes, dataClusters, l2Count, refcountBlockCount);
    const wanted = Math.ceil(layout.fileSizeBytes / CLUSTER_BYTES / REFCOUNTS);
    if (wanted <= refcountBlockCount) return layout;
    refcountBlockCount = wanted; // refcounts count their own clusters too: grows to its fixed point
  }
}

function place(
  virtualSizeBytes: number,
  dataClusters: number,
  l2Count: number,
  blocks: number,
): Layout {
  const refcountTableClusters = Math.ceil(blocks / ENTRIES);
  const refcountTableOffset = CLUSTER_BYTES;
  const l1Offset = refcountTableOffset + refcountTableClusters * CLUSTER_BYTES;
  const refcountBlocksOffset = l1Offset + Math.ceil(l2Count / ENTRIES) * CLUSTER_BYTES;
  const l2Offset = refcountBlocksOffset + blocks * CLUSTER_BYTES;
  const tablesEnd = l2Offset + l2Count * CLUSTER_BYTES;
  const dataOffset = Math.ceil(tablesEnd / DATA_ALIGN_BYTES) * DATA_ALIGN_BYTES;
  return {
    virtualSizeBytes,
    refcountTableOffset,
    refcountTableClusters,
    l1Offset,
    l2Count,
    refcountBlocksOffset,
    refcountBlockCount: blocks,
    l2Offset,
    dataOffset,
    fileSizeBytes: dataOffset + dataClusters * CLUSTER_BYTES,
  };
}

/** Which of the guest's clusters have data: a bit each, kept only where an L2 table has one. */
export class ClusterSet {
  readonly #bits = new Map<number, Uint8Array>();

  /** Marks the clusters of `length` bytes from guest offset `offset`, which begins a cluster. */
  add(offset: number, length: number): void {
    const end = Math.ceil((offset + length) / CLUSTER_BYTES);
    for (let cluster = offset / CLUSTER_BYTES; cluster < end; cluster++) this.#addOne(cluster);
  }

  has(cluster: number): boolean {
    const bits = this.#bits.get(Math.floor(cluster / ENTRIES));
    const at = cluster % ENTRIES;
    return bits !== undefined && ((bits[at >> 3] ?? 0) & (1 << (at & 7))) !== 0;
  }

  /** Whether any cluster of the L2 table `index` has data. */
  hasAnyOf(index: number): boolean {
    return this.#bits.has(index);
  }

  #addOne(cluster: number): void {
    const index = Math.floor(cluster / ENTRIES);
    let bits = this.#bits.get(index);
    if (bits === undefined) this.#bits.set(index, (bits = new Uint8Array(ENTRIES / 8)));
    const at = cluster % ENTRIES;
    bits[at >> 3] = (bits[at >> 3] ?? 0) | (1 << (at & 7));
  }
}

/** A piece of the file: at most a cluster. */
export interface TablePiece {
  readonly offset: number;
  readonly bytes: Buffer;
}

/** All tables of a file that has these clusters, the header last. What is not yielded is zeros, hence a hole. */
export function* encodeTables(layout: Layout, clusters: ClusterSet): Generator<TablePiece> {
  yield* encodeL2(layout, clusters);
  yield* encodeL1(layout, clusters);
  const used = usedBlocks(layout, clusters);
  yield* encodeRefcounts(layout, clusters, used);
  yield* encodeRefcountTable(layout, used);
  yield { offset: 0, bytes: encodeHeader(layout) };
}

function* encodeL2(layout: Layout, clusters: ClusterSet): Generator<TablePiece> {
  for (let table = 0; table < layout.l2Count; table++) {
    if (!clusters.hasAnyOf(table)) continue;
    const bytes = entryCluster((i) => {
      const cluster = table * ENTRIES + i;
      return clusters.has(cluster) ? layout.dataOffset + cluster * CLUSTER_BYTES : 0;
    }, COPIED);
    yield { offset: layout.l2Offset + table * CLUSTER_BYTES, bytes };
  }
}

function* encodeL1(layout: Layout, clusters: ClusterSet): Generator<TablePiece> {
  for (let first = 0; first < layout.l2Count; first += ENTRIES) {
    const bytes = entryCluster((i) => {
      const table = first + i;
      return clusters.hasAnyOf(table) ? layout.l2Offset + table * CLUSTER_BYTES : 0;
    }, COPIED);
    yield { offset: layout.l1Offset + first * ENTRY_BYTES, bytes };
  }
}

/** The refcount blocks that hold a count: those of the tables, and those of data. A block of zeros need not be. */
function usedBlocks(layout: Layout, clusters: ClusterSet): boolean[] {
  const tableBlocks = Math.ceil(layout.dataOffset / CLUSTER_BYTES / REFCOUNTS);
  const firstData = layout.dataOffset / CLUSTER_BYTES;
  return Array.from({ length: layout.refcountBlockCount }, (_, block) => {
    if (block < tableBlocks) return true;
    const first = block * REFCOUNTS - firstData;
    const from = Math.floor(first / ENTRIES);
    const to = Math.floor((first + REFCOUNTS - 1) / ENTRIES);
    for (let table = from; table <= to; table++) if (clusters.hasAnyOf(table)) return true;
    return false;
  });
}

function* encodeRefcounts(
  layout: Layout,
  clusters: ClusterSet,
  used: readonly boolean[],
): Generator<TablePiece> {
  for (const [block, isUsed] of used.entries()) {
    if (!isUsed) continue;
    const bytes = Buffer.alloc(CLUSTER_BYTES);
    for (let i = 0; i < REFCOUNTS; i++) {
      if (isReferenced(layout, clusters, used, block * REFCOUNTS + i))
        bytes.writeUInt16BE(1, i * 2);
    }
    yield { offset: layout.refcountBlocksOffset + block * CLUSTER_BYTES, bytes };
  }
}

/** Whether anything points to this cluster of the file. */
function isReferenced(
  layout: Layout,
  clusters: ClusterSet,
  usedRefcountBlocks: readonly boolean[],
  cluster: number,
): boolean {
  const offset = cluster * CLUSTER_BYTES;
  if (offset >= layout.dataOffset)
    return clusters.has((offset - layout.dataOffset) / CLUSTER_BYTES);
  if (offset < layout.refcountBlocksOffset) return true; // header, refcount table, L1
  if (offset < layout.l2Offset) {
    return usedRefcountBlocks[(offset - layout.refcountBlocksOffset) / CLUSTER_BYTES] ?? false;
  }
  return clusters.hasAnyOf((offset - layout.l2Offset) / CLUSTER_BYTES);
}

function* encodeRefcountTable(layout: Layout, used: readonly boolean[]): Generator<TablePiece> {
  for (let first = 0; first < used.length; first += ENTRIES) {
    const bytes = entryCluster((i) => {
      const block = first + i;
      return used[block] ? layout.refcountBlocksOffset + block * CLUSTER_BYTES : 0;
    }, 0n);
    yield { offset: layout.refcountTableOffset + first * ENTRY_BYTES, bytes };
  }
}

/** A cluster of 64-bit offsets, `flags` set in those that are not 0. */
function entryCluster(offsetOf: (index: number) => number, flags: bigint): Buffer {
  const bytes = Buffer.alloc(CLUSTER_BYTES);
  for (let i = 0; i < ENTRIES; i++) {
    const offset = offsetOf(i);
    if (offset !== 0) bytes.writeBigUInt64BE(BigInt(offset) | flags, i * ENTRY_BYTES);
  }
  return bytes;
}

function encodeHeader(layout: Layout): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + 8); // and the end of the header extensions: type 0, length 0
  bytes.write('QFI\xfb', 0, 'latin1');
  bytes.writeUInt32BE(3, 4); // version
  bytes.writeUInt32BE(CLUSTER_BITS, 20);
  bytes.writeBigUInt64BE(BigInt(layout.virtualSizeBytes), 24);
  bytes.writeUInt32BE(layout.l2Count, 36); // entries of L1
  bytes.writeBigUInt64BE(BigInt(layout.l1Offset), 40);
  bytes.writeBigUInt64BE(BigInt(layout.refcountTableOffset), 48);
  bytes.writeUInt32BE(layout.refcountTableClusters, 56);
  bytes.writeUInt32BE(REFCOUNT_ORDER, 96);
  bytes.writeUInt32BE(HEADER_BYTES, 100);
  return bytes;
}
