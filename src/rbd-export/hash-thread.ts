// A thread that runs one hash job over the source's bytes, told in their order, in memory that it shares with the reader. An
// entry point of its own: the build makes a file of it beside the worker's.

import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import type { HashJob, HashOutcome } from '../trust/verify.ts';
import { openHasher } from '../trust/verify.ts';

export interface HashThreadData {
  readonly job: HashJob;
  readonly memory: SharedArrayBuffer;
}
export type ToHashThread =
  | { readonly kind: 'data'; readonly start: number; readonly length: number }
  | { readonly kind: 'hole'; readonly length: number }
  | { readonly kind: 'finish' };
/** `consumed`: the oldest `data` that was not answered yet. */
export type FromHashThread =
  | { readonly kind: 'consumed' }
  | { readonly kind: 'finished'; readonly outcome: HashOutcome };

/** Holes are hashed from here: small enough to stay in a core's cache. */
const zeros = Buffer.alloc(256 * 1024);

const port = parentPort;
assert(port, 'runs in a thread');
const { job, memory } = workerData as HashThreadData;
const hasher = openHasher(job);
port.on('message', (message: ToHashThread) => {
  switch (message.kind) {
    case 'data':
      hasher.update(Buffer.from(memory, message.start, message.length));
      port.postMessage({ kind: 'consumed' } satisfies FromHashThread);
      break;
    case 'hole':
      for (let left = message.length; left > 0; left -= zeros.length) {
        hasher.update(left < zeros.length ? zeros.subarray(0, left) : zeros);
      }
      break;
    case 'finish':
      port.postMessage({ kind: 'finished', outcome: hasher.finish() } satisfies FromHashThread);
      port.close();
      break;
  }
});
