// When a worker that ended is started again: pure.

export interface BackOff {
  /** The delay after the first failure. It doubles with each further one, up to `delayMsMax`. */
  readonly firstDelayMs: number;
  readonly delayMsMax: number;
  /** A worker that lived this long was well: what ended it counts as a first failure. */
  readonly forgetMs: number;
}

export const BACK_OFF: BackOff = { firstDelayMs: 100, delayMsMax: 30_000, forgetMs: 60_000 };

/** Failures in a row, after one more that came `livedMs` after its start. */
export function countFailures(failures: number, livedMs: number, backOff = BACK_OFF): number {
  return livedMs >= backOff.forgetMs ? 1 : failures + 1;
}

/**
 * How long to wait, in ms, after `failures` (1 or more) in a row, `sinceLastMs` after the last start. `jitter`, 0 to 1, takes
 * up to half of it away, so that the workers of many hosts do not return to a cluster at one instant.
 */
export function nextDelay(
  failures: number,
  sinceLastMs: number,
  jitter: number,
  backOff = BACK_OFF,
): number {
  const doublings = Math.min(failures - 1, 30);
  const fullMs = Math.min(backOff.firstDelayMs * 2 ** doublings, backOff.delayMsMax);
  return Math.max(0, fullMs * (1 - jitter / 2) - sinceLastMs);
}
