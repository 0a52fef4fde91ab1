// What becomes of the bytes: a verbatim copy, or siphon's own qcow2. Clusters of zeros stay holes in either.

import type { FileHead } from '../wire/scrub-protocol.ts';
import type { DiskFormat } from '../wire/vocabulary.ts';
import { HeadDigest } from './head-digest.ts';
import type { PartialFile } from './partial-file.ts';
import { CLUSTER_BYTES, ClusterSet, encodeTables, planLayout } from './qcow2-layout.ts';
import { ALIGN_BYTES } from './slots.ts';

export interface Sink {
  readonly format: DiskFormat;
  /** Writes `length` bytes of the source at `offset`, at the start of `slot`; the rest of the slot, up to alignment, may be overwritten. */
  write(slot: Buffer, length: number, offset: number): Promise<void>;
  /** Writes what is left, and makes the file safe. Gives what it takes on disk, in bytes. */
  complete(): Promise<number>;
  /** Once it is complete: of the tables that were made for it. */
  readonly head?: FileHead | undefined;
}

const ZEROS = Buffer.alloc(CLUSTER_BYTES);

/** The source's bytes as they are. */
export function verbatimSink(file: PartialFile, format: DiskFormat, sizeBytes: number): Sink {
  return {
    format,
    write: (slot, length, offset) => writeRuns(file, slot, length, offset),
    complete: () => file.complete(sizeBytes),
  };
}

/** A raw disk as qcow2 of the identity layout. */
export function qcow2Sink(file: PartialFile, sizeBytes: number): Sink {
  const layout = planLayout(sizeBytes);
  const clusters = new ClusterSet();
  let head: FileHead | undefined;
  return {
    format: 'qcow2',
    get head() {
      return head;
    },
    write: (slot, length, offset) =>
      writeRuns(file, slot, length, layout.dataOffset + offset, ({ start, end }) => {
        clusters.add(offset + start, end - start);
      }),
    async complete() {
      const digest = new HeadDigest(layout.dataOffset);
      for (const piece of encodeTables(layout, clusters)) {
        digest.add(piece);
        await file.write(piece.bytes, piece.offset);
      }
      head = digest.finish();
      return await file.complete(layout.fileSizeBytes);
    },
  };
}

interface Run {
  readonly start: number;
  readonly end: number;
}

async function writeRuns(
  file: PartialFile,
  slot: Buffer,
  length: number,
  offset: number,
  onRun: (run: Run) => void = () => {},
): Promise<void> {
  slot.fill(0, length, roundUp(length));
  for (const run of dataRuns(slot, length)) {
    await file.write(slot.subarray(run.start, roundUp(run.end)), offset + run.start);
    onRun(run);
  }
}

/** Runs of clusters (or of a part of one) that are not all zeros. Cheap: a cluster with data differs from zeros in its first bytes. */
export function* dataRuns(
  slot: Buffer,
  length: number,
  grainBytes = CLUSTER_BYTES,
): Generator<Run> {
  let start = -1;
  for (let at = 0; at < length; at += grainBytes) {
    const end = Math.min(at + grainBytes, length);
    const isZero = slot.compare(ZEROS, 0, end - at, at, end) === 0;
    if (!isZero && start < 0) start = at;
    if (isZero && start >= 0) {
      yield { start, end: at };
      start = -1;
    }
  }
  if (start >= 0) yield { start, end: length };
}

function roundUp(length: number): number {
  return Math.ceil(length / ALIGN_BYTES) * ALIGN_BYTES;
}
