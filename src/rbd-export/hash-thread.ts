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
/** `consumed`: the oldest `data` that was not answered yet. `zeros`: so many bytes of holes more, told while they are hashed. */
export type FromHashThread =
  | { readonly kind: 'consumed' }
  | { readonly kind: 'zeros'; readonly length: number }
  | { readonly kind: 'finished'; readonly outcome: HashOutcome };

/** Holes are hashed from here: small enough to stay in a core's cache. */
const zeros = Buffer.alloc(256 * 1024);
const TELL_EVERY_MS = 50;

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
      hashZeros(message.length);
      break;
    case 'finish':
      port.postMessage({ kind: 'finished', outcome: hasher.finish() } satisfies FromHashThread);
      port.close();
      break;
  }
});

function hashZeros(length: number): void {
  let toldAtMs = performance.now();
  let untold = 0;
  const tell = () => {
    port?.postMessage({ kind: 'zeros', length: untold } satisfies FromHashThread);
    untold = 0;
    toldAtMs = performance.now();
  };
  for (let left = length; left > 0; left -= zeros.length) {
    const bytes = left < zeros.length ? zeros.subarray(0, left) : zeros;
    hasher.update(bytes);
    untold += bytes.length;
    if (performance.now() - toldAtMs >= TELL_EVERY_MS) tell();
  }
  tell();
}
