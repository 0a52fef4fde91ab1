// A source from its first byte to its last, in order: pieces to be read, and holes between them.

/** Offsets and lengths in bytes; `data` is at most one slot long. */
export interface Segment {
  readonly kind: 'data' | 'hole';
  readonly offset: number;
  readonly length: number;
}

/**
 * Cuts a source of `sizeBytes` at its extents (sorted, disjoint, [offset, end]) and, within them, at multiples of `chunkBytes`. The
 * segments cover every byte once.
 */
export function* segmentsOf(
  extents: Iterable<readonly [number, number]>,
  sizeBytes: number,
  chunkBytes: number,
): Generator<Segment> {
  let at = 0;
  for (const [offset, end] of extents) {
    if (offset > at) yield { kind: 'hole', offset: at, length: offset - at };
    for (at = offset; at < end; ) {
      const next = Math.min(end, (Math.floor(at / chunkBytes) + 1) * chunkBytes);
      yield { kind: 'data', offset: at, length: next - at };
      at = next;
    }
  }
  if (at < sizeBytes) yield { kind: 'hole', offset: at, length: sizeBytes - at };
}
