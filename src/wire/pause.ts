// What an operator may pause, and what a pause means for work that is about to begin. What runs already goes on.

import type { OperatingErrorFields } from './errors.ts';

export const PAUSABLE = ['fills', 'snapshots'] as const;
export type Pausable = (typeof PAUSABLE)[number];

export interface Pause {
  readonly work: Pausable;
  readonly sinceMs: number;
  /** Who said that it was them; nobody checked. */
  readonly claimedBy?: string;
}

export type PauseDecision =
  | { readonly kind: 'go' }
  | { readonly kind: 'refuse'; readonly why: string; readonly hint: string };

/** May new work of this kind begin? */
export function decideWork(pauses: readonly Pause[], work: Pausable): PauseDecision {
  const pause = pauses.find((each) => each.work === work);
  if (pause === undefined) return { kind: 'go' };
  const by = pause.claimedBy === undefined ? '' : ` by ${pause.claimedBy}`;
  const why = `paused: ${work} have been paused${by} since ${isoSecond(pause.sinceMs)}`;
  return { kind: 'refuse', why, hint: `To end the pause: siphon resume ${work}` };
}

/** The words `fills`, `snapshots` or `all` to what they name. */
export function pausablesOf(word: Pausable | 'all'): readonly Pausable[] {
  return word === 'all' ? PAUSABLE : [word];
}

/** A refusal as the fields of an error. */
export function refusedByPause(
  decision: PauseDecision & { readonly kind: 'refuse' },
  op: string,
  subject: string,
): OperatingErrorFields {
  return { code: 'refused', op, subject, why: decision.why, hint: decision.hint };
}

function isoSecond(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
