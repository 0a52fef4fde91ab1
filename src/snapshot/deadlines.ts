// How long one call of the cluster's worker may take before it is ended, in ms. Above librados' own timeouts, which come first;
// a snapshot waits for the monitors, and up to half a minute for a lock's owner.

export const DEADLINE_MS = {
  /** For a dead client's watch, half a minute. */
  drop: { deadlineMs: 60_000 },
  look: { deadlineMs: 30_000 },
  snapshot: { deadlineMs: 60_000 },
  record: { deadlineMs: 30_000 },
  libvirt: { deadlineMs: 10_000 },
} as const;
