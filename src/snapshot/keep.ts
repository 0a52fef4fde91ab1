// Which of some sets counts keep, by the calendar. How old a set is does not matter: only periods that have sets are counted.

import { type KeepCounts, PERIODS, type Period } from '../wire/keep.ts';

interface Dated {
  readonly id: string;
  readonly createdAtMs: number;
}

/**
 * The sets that stay, each with the rule that keeps it: `daily 3 of 7`. As Proxmox Backup Server counts: shorter periods first; of a
 * period the newest set; a period that has one that stays already is not counted again.
 */
export function keptBy(
  newestFirst: readonly Dated[],
  { keepLast, keepPeriods }: KeepCounts,
): ReadonlyMap<string, string> {
  const kept = new Map<string, string>();
  for (const [index, { id }] of newestFirst.slice(0, keepLast).entries()) {
    kept.set(id, `last ${index + 1} of ${keepLast}`);
  }
  for (const period of PERIODS) {
    const count = keepPeriods[period] ?? 0;
    const inPeriod = ({ createdAtMs }: Dated) => periodOf(period, createdAtMs);
    const covered = new Set(newestFirst.filter(({ id }) => kept.has(id)).map(inPeriod));
    const limit = covered.size + count;
    for (const set of newestFirst) {
      if (covered.size === limit) break;
      if (covered.has(inPeriod(set))) continue;
      kept.set(set.id, `${period} ${covered.size + 1 - (limit - count)} of ${count}`);
      covered.add(inPeriod(set));
    }
  }
  return kept;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A number of its own for each period, in UTC. */
function periodOf(period: Period, ms: number): number {
  if (period === 'hourly') return Math.floor(ms / HOUR_MS);
  const day = Math.floor(ms / DAY_MS);
  if (period === 'daily') return day;
  // The first day of the epoch was a Thursday.
  if (period === 'weekly') return Math.floor((day + 3) / 7);
  const date = new Date(ms);
  const year = date.getUTCFullYear();
  return period === 'yearly' ? year : 12 * year + date.getUTCMonth();
}
