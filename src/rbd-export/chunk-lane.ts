// The reader's end of a thread that digests chunks.

import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ChunkThreadData, FromChunkThread, ToChunkThread } from './chunk-thread.ts';
import { THREAD_LIMITS } from './hash-lane.ts';

/** `.ts` in the tree, the bundle's own suffix as installed. */
const THREAD_FILE = new URL(`./chunk-thread${path.extname(import.meta.url)}`, import.meta.url);

interface Waiting {
  readonly resolve: (entries: FromChunkThread) => void;
  readonly reject: (why: unknown) => void;
}

export class ChunkLane implements AsyncDisposable {
  readonly #worker: Worker;
  /** One for each message that is not answered yet, oldest first. */
  readonly #waiting: Waiting[] = [];
  #isUp = false;
  #fault: unknown;

  /** Starts the thread; what is told before it runs waits in its queue. */
  constructor(workerData: ChunkThreadData) {
    this.#worker = new Worker(THREAD_FILE, {
      workerData,
      name: 'hash chunks',
      resourceLimits: THREAD_LIMITS,
    });
    this.#worker.on('message', (entries: FromChunkThread) => {
      this.#isUp = true;
      this.#waiting.shift()?.resolve(entries);
    });
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail(new Error('the chunk thread ended early')));
  }

  /** How much it has to do. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** It has answered. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** Resolves when the bytes may be overwritten, with the chunks that are complete. */
  tell(message: ToChunkThread): Promise<FromChunkThread> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(message, []);
      if (this.#fault !== undefined) this.#fail(this.#fault);
    });
  }

  /** Ends the thread, whatever it does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }

  #fail(why: unknown): void {
    this.#fault ??= why;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#fault);
  }
}
