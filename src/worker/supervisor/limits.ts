// The bounds of a supervised worker, in one place.

import type { WorkerRole } from '../../wire/worker-protocol.ts';

export interface WorkerLimits {
  /** From spawn to `ready`. */
  readonly startMs: number;
  /** From a cancel to its answer; then the worker is killed. Longer than librados' own timeouts, which should come first. */
  readonly graceMs: number;
  /** From the polite end to the kill. */
  readonly endMs: number;
  /** Calls that the worker holds at once, cancelled ones that still run included. Fewer than `threads`. */
  readonly callsMax: number;
  /** Calls that wait for a place or for a start; over it, a call is refused as `busy`. */
  readonly queueMax: number;
  /** How often it is asked whether it lives, and how many such questions it may leave unanswered before it is killed. */
  readonly pulseMs: number;
  readonly missesMax: number;
  /** UV_THREADPOOL_SIZE: a native call holds a thread until it returns. */
  readonly threads: number;
}

const COMMON = {
  startMs: 20_000,
  graceMs: 5000,
  endMs: 5000,
  queueMax: 256,
  pulseMs: 5000,
  missesMax: 4,
} as const;

export const WORKER_LIMITS: Readonly<Record<WorkerRole, WorkerLimits>> = {
  // The disks of many domains are snapshotted at one instant, a thread each.
  ceph: { ...COMMON, graceMs: 10_000, callsMax: 64, threads: 128 },
  // libvirtd holds answers back while a hook runs for a domain: patience costs a thread, a kill costs all other calls.
  libvirt: { ...COMMON, graceMs: 60_000, callsMax: 16, threads: 24 },
  fill: { ...COMMON, callsMax: 1, threads: 16 },
  // Letting go of what it writes takes a call or two of librados, with their timeouts.
  transfer: { ...COMMON, graceMs: 60_000, callsMax: 1, threads: 16 },
};
