// When a domain's next set is due by a schedule. Pure: what the calendar says is a fact.

import { createHash } from 'node:crypto';
import type { Schedule } from '../../wire/schedule.ts';
import type { SnapshotSet } from '../../wire/vocabulary.ts';

/** How much later than its policy's schedule a domain's sets come: of one policy and domain always the same, in ms. */
export function shiftOf({ jitterMs }: Schedule, policy: string, domainUuid: string): number {
  const hash = createHash('sha256').update(`${policy} ${domainUuid}`).digest();
  return Math.floor((hash.readUInt32BE() / 2 ** 32) * jitterMs);
}

export interface LookFacts {
  readonly schedule: Schedule;
  /** When this life of siphond looked last: then nothing was left to be taken. */
  readonly lookedMs: number | undefined;
  /** The domain's sets that this policy's schedule had taken. */
  readonly sets: readonly Pick<SnapshotSet, 'createdAtMs'>[];
  readonly nowMs: number;
}

/**
 * From when on the calendar is to be asked: what elapsed before is done with. A time that is ahead of the clock, since that was set
 * back, is none: at worst one set is left out, or taken once more, and no leap stops a schedule.
 */
export function lookFrom({ schedule, lookedMs, sets, nowMs }: LookFacts): number {
  if (lookedMs !== undefined) return Math.min(lookedMs, nowMs);
  const past = sets.map(({ createdAtMs }) => createdAtMs).filter((atMs) => atMs <= nowMs);
  return schedule.isCaughtUp && past.length > 0 ? Math.max(...past) : nowMs;
}
