// When a guest may be held for snapshots that are to ride on a commit of the monitors. They commit the map of the OSDs at most once in
// an interval, so a tick that is sent just after a commit comes back with the next: that is foreseen by how long former ticks took.
// Another's change that was pending brings a tick back early, load brings it back late. Pure.

/** How many ticks are remembered. */
const RECENT = 9;
/** How many of them must agree on the interval, and what part of it they may be apart. */
const AGREEING = 3;
const APART = 0.1;
/** A tick so much longer than all is a change of the cluster's pace. */
const OTHER_PACE = 1.5;

/** From the lead's end to the foreseen commit: what a snapshot needs to reach the monitors (docs/performance.md). */
export const MARGIN_MS = { least: 70, most: 300 } as const;
/** After a commit that was missed, and after one that was not. */
const MARGIN_GROWS = 2;
const MARGIN_SHRINKS = 0.95;

/** Ticks that came back before their lead, all ticks, and the time that one arm may take. */
const ROUNDS_MAX = 8;
const TICKS_MAX = 16;
const ARMING_MS_MAX = 15_000;

export interface LeadFacts {
  /** How long former ticks took that were sent just after a commit, oldest first. */
  readonly tookMs: readonly number[];
  readonly leadMs: number;
  readonly marginMs: number;
  /** The tick under way. */
  readonly tick: { readonly isAfterCommit: boolean; readonly ageMs: number };
  /** Ticks that could have been the one, and came back before their lead. */
  readonly earlyTicks: number;
  /** All that were waited for. */
  readonly ticks: number;
  /** Since this arm was asked for. */
  readonly armingMs: number;
}

export type LeadDecision =
  | { readonly kind: 'go'; readonly leftMs: number; readonly intervalMs: number }
  /** Decide again after so long, or when the tick is back. */
  | { readonly kind: 'wait'; readonly waitMs: number }
  /** Decide again with the tick after this one. */
  | {
      readonly kind: 'another';
      readonly why: 'no-phase' | 'no-interval' | 'too-late';
    }
  /** Whichever commit comes has to do. */
  | { readonly kind: 'unforeseen'; readonly why: 'restless' | 'lead-too-long' };

/** What to do while a tick is under way. */
export function decideLead(facts: LeadFacts): LeadDecision {
  const { tookMs, leadMs, marginMs, tick } = facts;
  if (isRestless(facts)) return { kind: 'unforeseen', why: 'restless' };
  if (!tick.isAfterCommit) return { kind: 'another', why: 'no-phase' };
  const intervalMs = intervalOf(tookMs);
  if (intervalMs === undefined) return { kind: 'another', why: 'no-interval' };
  if (leadMs + marginMs >= intervalMs) return { kind: 'unforeseen', why: 'lead-too-long' };
  const leftMs = intervalMs - tick.ageMs;
  const waitMs = leftMs - marginMs - leadMs;
  if (waitMs > 0) return { kind: 'wait', waitMs };
  if (waitMs < -marginMs / 2) return { kind: 'another', why: 'too-late' };
  return { kind: 'go', leftMs, intervalMs };
}

function isRestless({ earlyTicks, ticks, armingMs }: LeadFacts): boolean {
  return earlyTicks >= ROUNDS_MAX || ticks >= TICKS_MAX || armingMs >= ARMING_MS_MAX;
}

/** The time between two commits, where enough ticks agree on it. */
export function intervalOf(tookMs: readonly number[]): number | undefined {
  const middle = median(tookMs);
  const agreeing = tookMs.filter((each) => Math.abs(each - middle) <= middle * APART);
  return agreeing.length >= AGREEING ? median(agreeing) : undefined;
}

/** What is remembered once another tick is back. */
export function remember(tookMs: readonly number[], lastMs: number): readonly number[] {
  if (lastMs > median(tookMs) * OTHER_PACE) return [lastMs];
  return [...tookMs, lastMs].slice(-RECENT);
}

/** On a busy machine a snapshot takes longer to reach the monitors. */
export function nextMargin(marginMs: number, isMissed: boolean): number {
  const next = marginMs * (isMissed ? MARGIN_GROWS : MARGIN_SHRINKS);
  return Math.min(MARGIN_MS.most, Math.max(MARGIN_MS.least, next));
}

/** NaN of none, which compares as false with anything. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? Number.NaN) + upper) / 2;
}
