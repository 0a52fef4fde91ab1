// Which bases are scrubbed, and in which order. Pure.

import type { BaseRow } from './catalogue/bases.ts';

export interface ScrubWish {
  /** Those that were named; undefined: all. */
  readonly ids?: ReadonlySet<string>;
  /** Only those whose last scrub, or fill, is so long ago, and those whose file is in doubt. */
  readonly everyMs?: number;
}

/** The ids of bases that are at rest: those whose file is in doubt first, then those that were looked at the longest ago. */
export function planScrub(
  rows: readonly BaseRow[],
  { ids, everyMs }: ScrubWish,
  nowMs: number,
): string[] {
  return rows
    .filter(({ id, state }) => (state === 'ready' || state === 'suspect') && (ids?.has(id) ?? true))
    .filter(
      (row) => everyMs === undefined || row.isFileInDoubt || lookedAtMs(row) + everyMs <= nowMs,
    )
    .toSorted((a, b) => rank(a) - rank(b))
    .map(({ id }) => id);
}

/** A fill has not read what it wrote. */
export function lookedAtMs({ scrubbedAtMs, createdAtMs }: BaseRow): number {
  return scrubbedAtMs ?? createdAtMs;
}

function rank(row: BaseRow): number {
  return row.isFileInDoubt ? -1 : lookedAtMs(row);
}
