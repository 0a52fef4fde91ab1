// The one journal of long work: each job's intent and steps are durable before the effect that they name.

import type { WireError } from './errors.ts';

export const JOB_KINDS = [
  'fill',
  'snapshot',
  'delete-set',
  'start',
  'evict',
  'restore',
  'undo-restore',
  'flatten',
  'export',
  'import',
  'publish',
  'publish-flatten',
  'reconcile',
  'verify-restore',
  'sign',
  'scrub',
] as const;
export type JobKind = (typeof JOB_KINDS)[number];
/** `open`: not ended yet. Every job ends done, failed (said why, nothing left) or cancelled. */
export type JobState = 'open' | 'done' | 'failed' | 'cancelled';

export interface JobRecord {
  readonly id: string;
  readonly kind: JobKind;
  /** What it works on, for people: a source, a domain, a set. */
  readonly subject: string;
  readonly state: JobState;
  /** The last step whose intent was recorded. */
  readonly step: string;
  /** The job's own facts, enough for recovery to finish or undo it. JSON. */
  readonly data: unknown;
  readonly error?: WireError;
  readonly result?: unknown;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** Progress is told, not kept. */
export interface JobProgress {
  /** Of a fill: bytes of the source that are through, holes included; of a flatten, of the image. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** Of a fill: what was read for that from Ceph. */
  readonly readBytes?: number;
  /** At the rate of the last seconds; absent while there is none. */
  readonly remainingMs?: number;
}

export interface Job {
  readonly id: string;
  /** Durable when it returns. `data` replaces what recovery will see. */
  step(name: string, data?: unknown): void;
  progress(progress: JobProgress): void;
  done(result?: unknown): void;
  failed(error: WireError): void;
  /** Aborted when an operator cancels the job or siphond stops. */
  readonly signal: AbortSignal;
}

/** Why siphond's end aborts a job: it is not the operator's wish. */
export const SIPHOND_STOPS = 'siphond stops';

export interface Journal {
  begin(kind: JobKind, subject: string, data: unknown): Job;
  /** An open job of an earlier life, to be finished or undone. */
  resume(id: string): Job;
  open(): readonly JobRecord[];
  list(limit: number): readonly JobRecord[];
  get(id: string): JobRecord | undefined;
}
