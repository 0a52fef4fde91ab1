// Whether the supervisor itself works: what it has to do by the clock is done soon after its time. Pure.

import type { WorkerStats } from './worker.ts';

/** Beyond any pause of a busy machine. */
const LATE_MS_MAX = 10_000;

/** What the first supervisor that is late should have done; undefined: none is. */
export function whyStuck(all: readonly WorkerStats[], nowMs: number): string | undefined {
  const stuck = all.find(({ dueAtMs = nowMs }) => nowMs - dueAtMs > LATE_MS_MAX);
  return stuck && `a worker that is ${stuck.state} should have been seen to`;
}
