// What of a disk goes into an export: all that it has, or what changed since another snapshot of it; in order, and in bounded memory.

import type { ChangedExtent, Extent, Image } from 'ceph-napi';
import { allocatedExtents, changedExtents } from 'ceph-napi';
import { readExtents } from '../extents.ts';
import { probeHoles } from '../hole-probe.ts';
import type { Segment } from '../segments.ts';
import { segmentsOf } from '../segments.ts';
import { CHUNK_BYTES } from '../slots.ts';
import { type Window, without } from '../windows.ts';

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
  disk: { readonly image: Image; readonly sizeBytes: number; readonly subject: string },
  from: number,
  signal?: AbortSignal,
): AsyncGenerator<Piece> {
  const { image, sizeBytes } = disk;
  const extents = await readExtents(image, sizeBytes, signal);
  await probeHoles(disk, extents, signal);
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
  /** The disk as it was. */
  readonly image: Image;
  readonly sizeBytes: number;
  /** Whether the disk may show a parent's bytes: then what became a hole may not be zeros. */
  readonly hasParent: boolean;
  /** Whether object maps tell which objects changed. */
  readonly hasMaps: boolean;
  /** Of librbd: then that is found by what the objects held. */
  readonly missesCuts: boolean;
}

/**
 * What changed since a snapshot, to the byte. First by whole objects, which an object map tells without asking the OSDs; then only
 * those objects are looked at.
 */
export async function* changedPieces(
  image: Image,
  sizeBytes: number,
  since: Since,
  from: number,
  signal?: AbortSignal,
): AsyncGenerator<Piece> {
  const { hasParent, hasMaps, missesCuts } = since;
  const how = { fromSnapshot: since.snap, ...(signal && { signal }) };
  const look = async ([offset, end]: Window) => {
    const changed = changedExtents(image, {
      ...how,
      offset,
      length: end - offset,
      wholeObject: false,
    });
    const cut = missesCuts ? cutOff(image, since, [offset, end]) : [];
    const [extents, ends] = await Promise.all([changed, cut]);
    const told = extents.map((extent) => runOf(extent, { from, sizeBytes, hasParent }));
    const found = ends.map(([at, to]) => ({ offset: Math.max(at, from), end: to, isZero: false }));
    const runs = [...told, ...found].filter((run) => run.end > run.offset);
    return runs.toSorted((a, b) => a.offset - b.offset);
  };
  const begin = Math.floor(from / CHUNK_BYTES) * CHUNK_BYTES;
  const windows =
    missesCuts && !hasMaps
      ? cutWindow([begin, sizeBytes])
      : objectWindows(image, sizeBytes, begin, how);
  for await (const runs of ahead(windows, look)) yield* piecesOf(runs);
}

/** What objects held, and hold no more. */
async function cutOff(image: Image, since: Since, [offset, end]: Window): Promise<Window[]> {
  const was = { offset, length: Math.min(end, since.sizeBytes) - offset, wholeObject: false };
  if (was.length <= 0) return [];
  const [before, now] = await Promise.all([
    allocatedExtents(since.image, was),
    allocatedExtents(image, { ...was, length: end - offset }),
  ]);
  return [...without(endsOf(before), endsOf(now))].map(([at, to]) => [at, Math.min(to, end)]);
}

const endsOf = (extents: readonly Extent[]) =>
  extents.map(([offset, length]): Window => [offset, offset + length]);

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

/** Where objects changed, each at most FINE_BYTES long, and neither of two in one chunk. */
async function* objectWindows(
  image: Image,
  sizeBytes: number,
  begin: number,
  how: { readonly fromSnapshot: string; readonly signal?: AbortSignal },
): AsyncGenerator<Window> {
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

function* cutWindow([start, end]: Window): Generator<Window> {
  for (let at = start; at < end; at += FINE_BYTES) yield [at, Math.min(at + FINE_BYTES, end)];
}

/** Looks that are under way while another's outcome is used. */
const AHEAD = 4;

async function* ahead<T, R>(
  items: AsyncIterable<T> | Iterable<T>,
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
