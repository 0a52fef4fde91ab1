// The one journal of long work, over the catalogue's rows: what a job intends is durable before it is done. Progress and
// watchers live in memory. A job that is stopped with siphond stays open, and the next start finishes or undoes it.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { JobShelf } from '../cache/catalogue/jobs.ts';
import type { JobLine } from '../wire/api.ts';
import { OperatingError, type WireError } from '../wire/errors.ts';
import {
  type Job,
  type JobKind,
  type JobProgress,
  type JobRecord,
  type Journal,
  SIPHOND_STOPS,
} from '../wire/journal.ts';
import type { ScrubAnswer } from '../wire/scrub-api.ts';
import type { Base } from '../wire/vocabulary.ts';

/** No list is longer, whatever was asked for. */
export const JOBS_LISTED_MAX = 1000;

export interface JobJournal extends Journal {
  progressOf(id: string): JobProgress | undefined;
  /** Tells the job's line, its latest progress, and what comes until its end, which is told even if it is past. */
  watch(id: string, tell: (line: JobLine) => void): Disposable;
  /** Asks a job to end; it does so at its next safe point. @throws OperatingError not-found, refused */
  cancel(id: string): JobRecord;
  /** siphond stops: every running job is asked to end, and whatever ends early from now on stays open. */
  stop(): void;
}

export interface JournalParts {
  readonly rows: JobShelf;
  readonly log: Logger;
  readonly now?: () => number;
  /** A job ended for good; with the bytes that it read from Ceph. */
  readonly onEnd?: (record: JobRecord, readBytes: number) => void;
}

export function createJournal(parts: JournalParts): JobJournal {
  const { rows, log, now = Date.now, onEnd = () => undefined } = parts;
  const life: Life = { rows, log, now, onEnd, running: new Map(), isStopping: false };
  return {
    begin(kind, subject, data) {
      const record = firstRecord(kind, subject, data, now());
      rows.put(record);
      log.info({ job: record.id, kind, subject }, 'begun');
      return new RunningJob(life, record);
    },
    resume(id) {
      const record = rows.get(id);
      assert(record?.state === 'open', `job ${id} is not open`);
      const { kind, subject, step } = record;
      log.info({ job: id, kind, subject, step }, 'resumed');
      return new RunningJob(life, record);
    },
    open: () => rows.open(),
    list: (limit) => rows.list(Math.min(limit, JOBS_LISTED_MAX)),
    get: (id) => rows.get(id),
    progressOf: (id) => life.running.get(id)?.latest,
    watch: (id, tell) => watch(mustBe(rows.get(id), id), life.running.get(id), tell),
    cancel(id) {
      const record = mustBe(rows.get(id), id);
      const job = life.running.get(id);
      if (job === undefined) throw notRunning(record);
      log.info({ job: id }, 'cancel asked for');
      job.abort.abort(cancelled(record));
      return record;
    },
    stop() {
      life.isStopping = true;
      for (const job of life.running.values()) job.abort.abort(stopped(job.record));
    },
  };
}

/** What the jobs of one life of siphond share. */
interface Life {
  readonly rows: JobShelf;
  readonly log: Logger;
  readonly now: () => number;
  readonly onEnd: (record: JobRecord, readBytes: number) => void;
  readonly running: Map<string, RunningJob>;
  isStopping: boolean;
}

class RunningJob implements Job {
  readonly abort = new AbortController();
  readonly watchers = new Set<(line: JobLine) => void>();
  latest: JobProgress | undefined;
  record: JobRecord;
  readonly #life: Life;
  readonly #log: Logger;

  constructor(life: Life, record: JobRecord) {
    const { id, kind, subject } = record;
    assert(!life.running.has(id), `job ${id} runs already`);
    this.record = record;
    this.#life = life;
    this.#log = life.log.child({ job: id, kind, subject });
    life.running.set(id, this);
    if (life.isStopping) this.abort.abort(stopped(record));
  }

  get id(): string {
    return this.record.id;
  }

  get signal(): AbortSignal {
    return this.abort.signal;
  }

  step(name: string, data?: unknown): void {
    this.#put(data === undefined ? { step: name } : { step: name, data });
    this.#log.debug({ step: name }, 'step');
  }

  progress(progress: JobProgress): void {
    this.latest = progress;
    this.#tell({ kind: 'progress', progress });
  }

  done(result?: unknown): void {
    this.#put({ state: 'done', result });
    this.#log.info(this.#summaryOf(result), 'done');
    this.#end({ kind: 'done', result });
  }

  failed(error: WireError): void {
    const told = this.#whyOf(error);
    if (this.#life.isStopping) {
      this.#log.info({ error: told }, 'stopped; it goes on at the next start');
    } else {
      const state = told.code === 'cancelled' ? 'cancelled' : 'failed';
      this.#put({ state, error: told });
      this.#log[state === 'failed' ? 'warn' : 'info']({ error: told }, state);
    }
    this.#end({ kind: 'failed', error: told });
  }

  /** A job that was asked to end says so, not which of its parts noticed it first. */
  #whyOf(error: WireError): WireError {
    const reason: unknown = this.signal.reason;
    return error.code === 'cancelled' && reason instanceof OperatingError ? reason.toWire() : error;
  }

  /** How long it took; of a fill also how much, and what was checked. */
  #summaryOf(result: unknown): object {
    const { kind, createdAtMs, updatedAtMs } = this.record;
    const ms = updatedAtMs - createdAtMs;
    if (kind === 'scrub') return { ms, ...scrubSummary(result) };
    if (kind !== 'fill') return { ms };
    const { sourceSizeBytes, verification } = (result ?? {}) as Partial<Base>;
    const readBytes = this.latest?.readBytes ?? 0;
    return { ms, bytes: sourceSizeBytes, readBytes, verdict: verification?.kind };
  }

  #put(change: Partial<JobRecord>): void {
    const { running, rows, now } = this.#life;
    assert(running.get(this.id) === this, `job ${this.id} has ended`);
    this.record = { ...this.record, ...change, updatedAtMs: now() };
    rows.put(this.record);
  }

  #end(line: JobLine): void {
    this.#life.running.delete(this.id);
    if (this.record.state !== 'open') this.#life.onEnd(this.record, this.latest?.readBytes ?? 0);
    this.#tell(line);
  }

  #tell(line: JobLine): void {
    for (const tell of this.watchers) tell(line);
  }
}

/** How many bases came out how. */
function scrubSummary(result: unknown): object {
  const { bases = [] } = (result ?? {}) as Partial<ScrubAnswer>;
  const byOutcome = Map.groupBy(bases, ({ outcome }) => outcome);
  return Object.fromEntries([...byOutcome].map(([outcome, of]) => [outcome, of.length]));
}

function firstRecord(kind: JobKind, subject: string, data: unknown, nowMs: number): JobRecord {
  const times = { createdAtMs: nowMs, updatedAtMs: nowMs };
  return { id: randomUUID(), kind, subject, state: 'open', step: 'begun', data, ...times };
}

function watch(
  record: JobRecord,
  job: RunningJob | undefined,
  tell: (line: JobLine) => void,
): Disposable {
  tell({ kind: 'job', id: record.id, subject: record.subject });
  if (job === undefined) {
    tell(lastLine(record));
    return { [Symbol.dispose]: () => undefined };
  }
  // Its own function, so that one who watches twice is told twice.
  const own = (line: JobLine) => tell(line);
  if (job.latest !== undefined) own({ kind: 'progress', progress: job.latest });
  job.watchers.add(own);
  return { [Symbol.dispose]: () => void job.watchers.delete(own) };
}

function lastLine(record: JobRecord): JobLine {
  if (record.state === 'done') return { kind: 'done', result: record.result };
  return { kind: 'failed', error: record.error ?? notRunning(record).toWire() };
}

/** @throws OperatingError not-found */
export function mustBe(record: JobRecord | undefined, id: string): JobRecord {
  if (record !== undefined) return record;
  const why = 'siphond knows no such job';
  const hint = '`siphon jobs` lists them; those that ended long ago are forgotten.';
  throw new OperatingError({ code: 'not-found', op: 'find job', subject: id, why, hint });
}

function notRunning({ id, state }: JobRecord): OperatingError {
  const why = state === 'open' ? 'it waits for its next try' : `it has ended: ${state}`;
  return new OperatingError({ code: 'refused', op: 'reach job', subject: id, why });
}

function cancelled({ kind, subject }: JobRecord): OperatingError {
  const why = 'an operator cancelled it';
  return new OperatingError({ code: 'cancelled', op: kind, subject, why });
}

const NOT_TAKEN_UP: ReadonlySet<JobKind> = new Set([
  'start',
  'evict',
  'export',
  'reconcile',
  'scrub',
]);

function stopped({ kind, subject }: JobRecord): OperatingError {
  const isLeft = NOT_TAKEN_UP.has(kind);
  const hint = isLeft ? 'Ask for it again.' : 'It goes on when siphond is up again.';
  return new OperatingError({ code: 'cancelled', op: kind, subject, why: SIPHOND_STOPS, hint });
}

/** The wire face of whatever a job threw; a defect is thrown on. */
export function wireErrorOf(error: unknown): WireError {
  if (error instanceof OperatingError) return error.toWire();
  throw error;
}
