// Where a source may have data, in bounded memory whatever its size.

import type { Image } from 'ceph-napi';
import { allocatedExtents } from 'ceph-napi';

/** Everything is cut at multiples of this: a cluster of our qcow2, the unit of holes, and more than O_DIRECT asks for. */
export const GRAIN_BYTES = 64 * 1024;
/** How much of an image is asked for at a time: 64 Ki objects of 4 MiB, hence at most so many extents. */
const WINDOW_BYTES = 256 * 1024 ** 3;
const EXTENTS_MAX = 1 << 20;

/** Sorted, disjoint extents, as numbers in one flat array. Past `max` of them the smallest gaps are taken for data: they read as zeros. */
export class ExtentList {
  readonly #max: number;
  #bounds = new Float64Array(64);
  #count = 0;
  #gapBytes = GRAIN_BYTES;

  constructor(max = EXTENTS_MAX) {
    this.#max = max;
  }

  get length(): number {
    return this.#count;
  }

  /** Bytes in all extents. */
  get totalBytes(): number {
    let total = 0;
    for (const [offset, end] of this) total += end - offset;
    return total;
  }

  /** Appends `offset` to `end`; it may touch or overlap the last one, but not begin before it. */
  add(offset: number, end: number): void {
    const last = 2 * this.#count - 1;
    const lastEnd = this.#bounds[last];
    if (lastEnd !== undefined && offset - lastEnd < this.#gapBytes) {
      this.#bounds[last] = Math.max(lastEnd, end);
      return;
    }
    if (this.#count === this.#max) {
      this.#coarsen();
      this.add(offset, end);
      return;
    }
    if (last + 1 === this.#bounds.length) this.#grow();
    this.#bounds[last + 1] = offset;
    this.#bounds[last + 2] = end;
    this.#count += 1;
  }

  /** [offset, end] of each. */
  *[Symbol.iterator](): Generator<readonly [offset: number, end: number]> {
    for (let i = 0; i < this.#count; i++) {
      yield [this.#bounds[2 * i] ?? 0, this.#bounds[2 * i + 1] ?? 0];
    }
  }

  #grow(): void {
    const grown = new Float64Array(2 * this.#bounds.length);
    grown.set(this.#bounds);
    this.#bounds = grown;
  }

  #coarsen(): void {
    const before = this.#count;
    const old = this.#bounds.slice();
    while (this.#count > this.#max / 2) {
      this.#gapBytes *= 2;
      this.#count = 0;
      for (let i = 0; i < before; i++) this.add(old[2 * i] ?? 0, old[2 * i + 1] ?? 0);
    }
  }
}

interface ReadExtentsOptions {
  /** Also what its parent has (default). */
  readonly includeParent?: boolean;
  /** A multiple of GRAIN_BYTES. */
  readonly grainBytes?: number;
}

/** What the image has, widened to whole grains and cut at its size. */
export async function readExtents(
  image: Image,
  sizeBytes: number,
  signal?: AbortSignal,
  { includeParent = true, grainBytes = GRAIN_BYTES }: ReadExtentsOptions = {},
): Promise<ExtentList> {
  const list = new ExtentList();
  for (let start = 0; start < sizeBytes; start += WINDOW_BYTES) {
    const length = Math.min(WINDOW_BYTES, sizeBytes - start);
    const window = {
      offset: start,
      length,
      includeParent,
      ...(signal === undefined ? {} : { signal }),
    };
    for (const [offset, bytes] of await allocatedExtents(image, window)) {
      const end = Math.ceil((offset + bytes) / grainBytes) * grainBytes;
      list.add(Math.floor(offset / grainBytes) * grainBytes, Math.min(end, sizeBytes));
    }
  }
  return list;
}
