// How long one call of the cluster's worker may take before it is ended, in ms. Above librados' own timeouts, which come first;
// a snapshot waits for the monitors, and up to half a minute for a lock's owner.

export const DEADLINE_MS = {
  /** For a dead client's watch, half a minute. */
  drop: { deadlineMs: 60_000 },
  look: { deadlineMs: 30_000 },
  snapshot: { deadlineMs: 60_000 },
  record: { deadlineMs: 30_000 },
  /** A clone with its snapshot, or its removal after a dead client's watch. */
  clone: { deadlineMs: 120_000 },
  /** 8 TiB at 100 MiB/s. */
  flatten: { deadlineMs: 24 * 3_600_000 },
  measure: { deadlineMs: 10_000 },
  libvirt: { deadlineMs: 10_000 },
  /** Above the longest hook call, for which libvirt's lists wait. */
  list: { deadlineMs: 40_000 },
  /** A few intervals of the monitors. */
  arm: { deadlineMs: 30_000 },
  holdable: { deadlineMs: 10_000 },
  guard: { deadlineMs: 15_000 },
  /** A freeze, and should that fail, thaws. */
  hold: { deadlineMs: 8000 },
  release: { deadlineMs: 10_000 },
} as const;

/** PID 1 lets a guest go so long after its hold began, whoever is dead by then. */
export const HELD_MS = 5000;
/** From the guard on, before the commit has been foreseen. */
export const GUARD_MS = 60_000;
