// The jobs of this room that run in this life of siphond, each brought to its end in the journal.

import { type ErrorCode, OperatingError, type WireError } from '../wire/errors.ts';
import type { Job, JobKind, JobRecord } from '../wire/journal.ts';
import type { SnapshotParts } from './ports.ts';

type JobsParts = Pick<SnapshotParts, 'journal' | 'log' | 'onDefect'>;

/** The work of a job cannot be done now, and what the journal has of it is enough to do it later: the job is left open. */
export class StaysOpen extends OperatingError {
  constructor(error: OperatingError) {
    super({ ...error.toWire(), cause: error });
  }
}

/** What was taken must not be left behind for any of these. */
const LEAVES_OPEN: readonly ErrorCode[] = ['unavailable', 'busy', 'denied', 'exhausted'];

export class Jobs {
  readonly #parts: JobsParts;
  readonly #kinds: readonly JobKind[];
  /** Work on jobs, and whether siphond's end waits for it. */
  readonly #running = new Map<string, { work: Promise<unknown>; isAwaited: boolean }>();
  /** Left open: what they need could not be reached. */
  readonly #open = new Map<string, Job>();
  /** Why they are, as it was said last. */
  readonly #said = new Map<string, string>();

  /** `kinds`: those that are its own in the journal. */
  constructor(parts: JobsParts, kinds: readonly JobKind[] = ['snapshot', 'delete-set']) {
    this.#parts = parts;
    this.#kinds = kinds;
  }

  /** Runs the job's work; its result or operating error ends the job, unless it stays open. The promise may be left alone. */
  run<T>(job: Job, work: () => Promise<T>): Promise<T> {
    return this.#track(job.id, this.#end(job, work), true);
  }

  /** Runs work that must be done sometime: while the cluster cannot be reached, or lets nobody in, the job is left open. */
  runUntilDone(job: Job, work: () => Promise<void>): Promise<'ended' | 'left'> {
    this.#open.set(job.id, job);
    return this.#track(job.id, this.#go(job, work), false);
  }

  /** Jobs in the journal that nobody works on. */
  left(): readonly JobRecord[] {
    return this.#parts.journal.open().filter(({ kind, id }) => {
      return this.#kinds.includes(kind) && !this.#running.has(id);
    });
  }

  /** The job of one of {@link left}. */
  resume(record: JobRecord): Job {
    return this.#open.get(record.id) ?? this.#parts.journal.resume(record.id);
  }

  /** Ends one of {@link left} as failed. */
  end(record: JobRecord, error: WireError): void {
    this.resume(record).failed(error);
    this.#open.delete(record.id);
    this.#said.delete(record.id);
  }

  /** Settles when nothing runs that {@link run} began. */
  async idle(): Promise<void> {
    for (;;) {
      const awaited = [...this.#running.values()].filter((each) => each.isAwaited);
      if (awaited.length === 0) return;
      await Promise.allSettled(awaited.map((each) => each.work));
    }
  }

  #track<T>(id: string, work: Promise<T>, isAwaited: boolean): Promise<T> {
    this.#running.set(id, { work, isAwaited });
    const leave = () => this.#running.delete(id);
    work.then(leave, leave);
    return work;
  }

  async #go(job: Job, work: () => Promise<void>): Promise<'ended' | 'left'> {
    try {
      await work();
    } catch (error) {
      const failure = this.#operating(error);
      if (failure instanceof StaysOpen) return 'left';
      if (LEAVES_OPEN.includes(failure.code)) {
        this.#sayOnce(job, failure);
        return 'left';
      }
      job.failed(failure.toWire());
    }
    this.#open.delete(job.id);
    this.#said.delete(job.id);
    return 'ended';
  }

  #sayOnce(job: Job, failure: OperatingError): void {
    if (this.#said.get(job.id) === failure.message) return;
    this.#said.set(job.id, failure.message);
    const fields = { job: job.id, error: failure.toWire() };
    this.#parts.log.warn(fields, 'it stays open until this is put right');
  }

  async #end<T>(job: Job, work: () => Promise<T>): Promise<T> {
    try {
      const result = await work();
      job.done(result);
      return result;
    } catch (error) {
      const failure = this.#operating(error);
      if (failure instanceof StaysOpen) this.#open.set(job.id, job);
      else job.failed(failure.toWire());
      throw error;
    }
  }

  /** A defect ends the process; its job stays open. */
  #operating(error: unknown): OperatingError {
    if (error instanceof OperatingError) return error;
    this.#parts.onDefect(error);
    throw error;
  }
}
