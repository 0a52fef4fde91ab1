// Who may work now: a few at once, those that the hook waits for first.

import PQueue from 'p-queue';
import type { Job } from '../wire/journal.ts';

export type Priority = 'hook' | 'operator';

const RANK = { hook: 1, operator: 0 } as const;

/**
 * Turns for long work. Operators' work never keeps the hook's waiting: for it there are up to as many slots more, for as long
 * as it needs them.
 */
export class Turns {
  readonly #queue: PQueue;
  readonly #slots: () => number;
  readonly #waiting = new Set<string>();
  readonly #urgent = new Set<string>();

  /** `slots` is asked whenever somebody comes or goes: it may change. */
  constructor(slots: () => number) {
    this.#slots = slots;
    this.#queue = new PQueue({ concurrency: slots() });
  }

  /** A slot to work in, until it is disposed. Rejects at once with the signal's reason if the job is cancelled in the queue. */
  async take(job: Job, priority: Priority): Promise<Disposable> {
    const turn = Promise.withResolvers<Disposable>();
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const work = async () => {
      if (job.signal.aborted) return;
      this.#waiting.delete(job.id);
      turn.resolve({ [Symbol.dispose]: release });
      await released;
      this.#setUrgent(job.id, false);
    };
    const leave = () => {
      if (!this.#waiting.delete(job.id)) return;
      this.#setUrgent(job.id, false);
      turn.reject(job.signal.reason);
    };
    this.#waiting.add(job.id);
    this.#setUrgent(job.id, priority === 'hook');
    job.signal.addEventListener('abort', leave, { once: true });
    if (job.signal.aborted) leave();
    // It resolves when the slot is free again, and cannot reject.
    void this.#queue.add(work, { id: job.id, priority: RANK[priority] });
    try {
      return await turn.promise;
    } finally {
      job.signal.removeEventListener('abort', leave);
    }
  }

  /** The hook waits for this job too: if it is still in the queue, it goes ahead. */
  raise(jobId: string): void {
    if (!this.#waiting.has(jobId)) return;
    this.#queue.setPriority(jobId, RANK.hook);
    this.#setUrgent(jobId, true);
  }

  #setUrgent(jobId: string, isUrgent: boolean): void {
    if (isUrgent) this.#urgent.add(jobId);
    else this.#urgent.delete(jobId);
    const slots = this.#slots();
    this.#queue.concurrency = slots + Math.min(this.#urgent.size, slots);
  }
}
