// Parts of a disk, from a byte to another: sorted, and apart from each other.

export type Window = readonly [offset: number, end: number];

/** What of `all` no hole covers. */
export function* without(all: Iterable<Window>, holes: Iterable<Window>): Generator<Window> {
  const cuts = [...holes];
  let next = 0;
  for (const [offset, end] of all) {
    let at = offset;
    for (; next < cuts.length; next += 1) {
      const [from = 0, to = 0] = cuts[next] ?? [];
      if (from >= end) break;
      if (from > at) yield [at, from];
      at = Math.max(at, to);
      if (to > end) break;
    }
    if (at < end) yield [at, end];
  }
}
