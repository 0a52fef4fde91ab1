// What of a disk goes into an export: all that it has, or what changed since another snapshot of it; in order, and in bounded memory.

import type { ChangedExtent, Image } from 'ceph-napi';
import { changedExtents } from 'ceph-napi';
import { readExtents } from '../extents.ts';
import type { Segment } from '../segments.ts';
import { segmentsOf } from '../segments.ts';
import { CHUNK_BYTES } from '../slots.ts';

/** A part of one chunk, to be looked at. */
export interface Run {
  readonly offset: number;
  readonly end: number;
  /** It is known to be zeros, without a look. */
  readonly isZero: boolean;
}

/** A chunk of the disk, with what of it goes along. */
export interface Piece extends Segment {
  readonly runs: readonly Run[];
}

/** All that the disk has, its parent's included, from byte `from` on. */
export async function* wholePieces(
  image: Image,
  sizeBytes: number,
  from: number,
  signal?: AbortSignal,
): AsyncGenerator<Piece> {
  const extents = await readExtents(image, sizeBytes, signal);
  for (const { kind, offset, length } of segmentsOf(extents, sizeBytes, CHUNK_BYTES)) {
    const end = offset + length;
    if (kind === 'hole' || end <= from) continue;
    const start = Math.max(offset, from);
    yield pieceOf([{ offset: start, end, isZero: false }]);
  }
}

export interface Since {
  /** The snapshot's name: librbd before 20 knows it by nothing else. */
  readonly snap: string;
  /** Whether the disk may show a parent's bytes: then what became a hole may not be zeros. */
  readonly hasParent: boolean;
}

/**
 * What changed since a snapshot, to the byte. First by whole objects, which an object map tells without asking the OSDs; then only
 * those objects are looked at.
 */
export async function* changedPieces(
  image: Image,
  sizeBytes: number,
  { snap, hasParent }: Since,
  from: number,
  signal?: AbortSignal,
): AsyncGenerator<Piece> {
  const how = { fromSnapshot: snap, ...(signal && { signal }) };
  const look = (offset: number, length: number) =>
    changedExtents(image, { ...how, offset, length, wholeObject: false });
  const windows = objectWindows(image, sizeBytes, from, how);
  for await (const extents of ahead(windows, ([offset, end]) => look(offset, end - offset))) {
    const runs = extents.map((extent) => runOf(extent, { from, sizeBytes, hasParent }));
    yield* piecesOf(runs.filter(({ offset, end }) => end > offset));
  }
}

function runOf(
  [offset, length, exists]: ChangedExtent,
  disk: { readonly from: number; readonly sizeBytes: number; readonly hasParent: boolean },
): Run {
  return {
    offset: Math.max(offset, disk.from),
    end: Math.min(offset + length, disk.sizeBytes),
    isZero: !exists && !disk.hasParent,
  };
}

/** How much is asked for by whole objects at a time, and how much of what that gives by the byte. */
const COARSE_BYTES = 256 * 1024 ** 3;
const FINE_BYTES = 64 * 1024 ** 2;

/** Where objects changed: [offset, end], each at most FINE_BYTES long, and neither of two in one chunk. */
async function* objectWindows(
  image: Image,
  sizeBytes: number,
  from: number,
  how: { readonly fromSnapshot: string; readonly signal?: AbortSignal },
): AsyncGenerator<readonly [number, number]> {
  const begin = Math.floor(from / CHUNK_BYTES) * CHUNK_BYTES;
  let open: [number, number] | undefined;
  for (let start = begin; start < sizeBytes; start += COARSE_BYTES) {
    const length = Math.min(COARSE_BYTES, sizeBytes - start);
    for (const [offset, bytes] of await changedExtents(image, { ...how, offset: start, length })) {
      // Objects may be smaller or larger than chunks: whole chunks are looked at.
      const chunk = Math.floor(offset / CHUNK_BYTES) * CHUNK_BYTES;
      const end = Math.min(Math.ceil((offset + bytes) / CHUNK_BYTES) * CHUNK_BYTES, sizeBytes);
      if (open !== undefined && chunk <= open[1]) open[1] = Math.max(open[1], end);
      else {
        if (open !== undefined) yield* cutWindow(open);
        open = [chunk, end];
      }
    }
  }
  if (open !== undefined) yield* cutWindow(open);
}

function* cutWindow([start, end]: readonly [number, number]): Generator<readonly [number, number]> {
  for (let at = start; at < end; at += FINE_BYTES) yield [at, Math.min(at + FINE_BYTES, end)];
}

/** Looks that are under way while another's outcome is used. */
const AHEAD = 4;

async function* ahead<T, R>(
  items: AsyncIterable<T>,
  ask: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const asked: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const asking = ask(item);
      asking.catch(() => undefined); // it is told when its turn comes
      asked.push(asking);
      const first = asked.length > AHEAD ? asked.shift() : undefined;
      if (first !== undefined) yield await first;
    }
    while (asked.length > 0) yield (await asked.shift()) as R;
  } finally {
    await Promise.allSettled(asked); // the image is closed after them
  }
}

/** Sorted runs to the chunks that they lie in. Where two overlap, all of them is looked at. */
export function* piecesOf(runs: readonly Run[]): Generator<Piece> {
  let open: Run[] = [];
  for (const run of disjoint(runs)) {
    for (let at = run.offset; at < run.end; ) {
      const chunk = Math.floor(at / CHUNK_BYTES);
      const first = open[0];
      if (first !== undefined && Math.floor(first.offset / CHUNK_BYTES) !== chunk) {
        yield pieceOf(open);
        open = [];
      }
      const end = Math.min(run.end, (chunk + 1) * CHUNK_BYTES);
      addRun(open, { ...run, offset: at, end });
      at = end;
    }
  }
  if (open.length > 0) yield pieceOf(open);
}

function* disjoint(runs: readonly Run[]): Generator<Run> {
  let last: Run | undefined;
  for (const run of runs) {
    if (last !== undefined && run.offset < last.end) {
      last = { offset: last.offset, end: Math.max(last.end, run.end), isZero: false };
    } else {
      if (last !== undefined) yield last;
      last = run;
    }
  }
  if (last !== undefined) yield last;
}

function addRun(runs: Run[], run: Run): void {
  const last = runs.at(-1);
  if (last === undefined || last.end !== run.offset || last.isZero !== run.isZero) runs.push(run);
  else runs[runs.length - 1] = { ...last, end: run.end };
}

function pieceOf(runs: readonly Run[]): Piece {
  const offset = runs[0]?.offset ?? 0;
  return { kind: 'data', offset, length: (runs.at(-1)?.end ?? offset) - offset, runs };
}
