// What a benchmark says: one row a comparison, both sides measured in the same run, in pairs.

export interface BenchRow {
  readonly case: string;
  readonly against: string;
  /** The other's time through ours, the median of the rounds' (a domain's start: with the hook through without it; a fill: by a manifest through without; a hold: armed through not). */
  readonly ratio: number;
  /** null: told for information. */
  readonly target: number | null;
  readonly met: boolean | null;
  readonly n: number;
  readonly note: string;
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** The median, and the range. */
export function secondsText(values: readonly number[]): string {
  const [low, middle, high] = [0, 0.5, 1].map((q) => quantile(values, q).toFixed(2));
  return `${middle} s (${low} to ${high})`;
}

/** The median of each round's own ratio: what slows a whole round down (a busy neighbour) cancels out. */
export function pairedRatio(above: readonly number[], below: readonly number[]): number {
  return median(above.map((value, round) => value / (below[round] ?? Number.NaN)));
}

/** The contenders of one round in a random order, so that none always runs on what another left behind. */
export function shuffled<T>(values: readonly T[]): T[] {
  return values
    .map((value) => ({ value, at: Math.random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ value }) => value);
}

/** Rows as a table for people. */
export function formatRows(rows: readonly BenchRow[]): string {
  return rows
    .map((row) => {
      const target =
        row.target === null ? '' : ` (target ${row.target}: ${row.met ? 'met' : 'MISSED'})`;
      return `${row.case} against ${row.against}: ${row.ratio.toFixed(2)} x${target}, n=${row.n}\n    ${row.note}`;
    })
    .join('\n');
}
