// The reader's end of a hash thread.

import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { HashJob, HashOutcome } from '../trust/verify.ts';
import type { FromHashThread, HashThreadData, ToHashThread } from './hash-thread.ts';

/** `.ts` in the tree, the bundle's own suffix as installed. */
const THREAD_FILE = new URL(`./hash-thread${path.extname(import.meta.url)}`, import.meta.url);

/** What threads make of their own is small and short-lived: what they hash is not theirs. */
export const THREAD_LIMITS = { maxYoungGenerationSizeMb: 1 };

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (why: unknown) => void;
}

export class HashLane implements AsyncDisposable {
  readonly #worker: Worker;
  /** One for each `data` that is not consumed yet, oldest first. */
  readonly #waiting: Waiting<void>[] = [];
  #finishing: Waiting<HashOutcome> | undefined;
  #fault: unknown;
  #zeroBytes = 0;

  /** Starts the thread; what is fed before it runs waits in its queue. */
  constructor(job: HashJob, memory: SharedArrayBuffer) {
    const workerData: HashThreadData = { job, memory };
    const name = `hash ${job.kind}`;
    this.#worker = new Worker(THREAD_FILE, { workerData, name, resourceLimits: THREAD_LIMITS });
    this.#worker.on('message', (message: FromHashThread) => this.#take(message));
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(new Error('the hash thread ended early')));
  }

  /** How much of the holes is hashed. */
  get zeroBytes(): number {
    return this.#zeroBytes;
  }

  /** Hashes `length` bytes of the shared memory. Resolves when they may be overwritten. */
  data(start: number, length: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#post({ kind: 'data', start, length });
    });
  }

  /** Hashes `length` zeros. */
  hole(length: number): void {
    this.#post({ kind: 'hole', length });
  }

  /** The outcome over all that was fed. Rejects when `signal` aborts: zeros alone can take hours. */
  finish(signal?: AbortSignal): Promise<HashOutcome> {
    const { promise, resolve, reject } = Promise.withResolvers<HashOutcome>();
    const onAbort = () => reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#finishing = { resolve, reject };
    this.#post({ kind: 'finish' });
    if (signal?.aborted) onAbort();
    return promise.finally(() => signal?.removeEventListener('abort', onAbort));
  }

  /** Ends the thread, whatever it does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }

  #post(message: ToHashThread): void {
    this.#worker.postMessage(message, []);
    if (this.#fault !== undefined) this.#fail(this.#fault);
  }

  #take(message: FromHashThread): void {
    switch (message.kind) {
      case 'consumed':
        this.#waiting.shift()?.resolve();
        break;
      case 'zeros':
        this.#zeroBytes += message.length;
        break;
      case 'finished':
        this.#finishing?.resolve(message.outcome);
        break;
    }
  }

  #fail(why: unknown): void {
    this.#fault ??= why;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#fault);
    this.#finishing?.reject(this.#fault);
  }
}
