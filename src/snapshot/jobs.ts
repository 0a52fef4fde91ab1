// The jobs of this room that run in this life of siphond, each brought to its end in the journal.

import { OperatingError } from '../wire/errors.ts';
import type { Job, JobRecord } from '../wire/journal.ts';
import type { SnapshotParts } from './ports.ts';

export class Jobs {
  readonly #parts: Pick<SnapshotParts, 'journal' | 'onDefect'>;
  /** Work on jobs, and whether siphond's end waits for it. */
  readonly #running = new Map<string, { work: Promise<unknown>; isAwaited: boolean }>();
  /** Left open: what they need could not be reached. */
  readonly #open = new Map<string, Job>();

  constructor(parts: Pick<SnapshotParts, 'journal' | 'onDefect'>) {
    this.#parts = parts;
  }

  /** Runs the job's work; its result or operating error ends the job. The promise may be left alone. */
  run<T>(job: Job, work: () => Promise<T>): Promise<T> {
    return this.#track(job.id, this.#end(job, work), true);
  }

  /** Runs work that must be done sometime: while the cluster cannot be reached, the job is left open. */
  runUntilDone(job: Job, work: () => Promise<void>): Promise<'ended' | 'left'> {
    this.#open.set(job.id, job);
    return this.#track(job.id, this.#go(job, work), false);
  }

  /** Jobs in the journal that nobody works on. */
  left(): readonly JobRecord[] {
    return this.#parts.journal.open().filter(({ kind, id }) => {
      return (kind === 'snapshot' || kind === 'delete-set') && !this.#running.has(id);
    });
  }

  /** The job of one of {@link left}. */
  resume(record: JobRecord): Job {
    return this.#open.get(record.id) ?? this.#parts.journal.resume(record.id);
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
      if (failure.code === 'unavailable' || failure.code === 'busy') return 'left';
      job.failed(failure.toWire());
    }
    this.#open.delete(job.id);
    return 'ended';
  }

  async #end<T>(job: Job, work: () => Promise<T>): Promise<T> {
    try {
      const result = await work();
      job.done(result);
      return result;
    } catch (error) {
      job.failed(this.#operating(error).toWire());
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
