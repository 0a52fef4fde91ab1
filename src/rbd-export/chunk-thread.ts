// A thread that digests chunks, told of parts of them in memory that it shares with the reader. An entry point of its own: the build makes a
// file of it beside the worker's.

import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { ChunkDigester, type ChunkEntry } from '../trust/manifest/chunk-digester.ts';

export interface ChunkThreadData {
  readonly memory: SharedArrayBuffer;
  readonly sizeBytes: number;
  readonly chunkBytes: number;
}
/** `start`: in the memory. `offset`: in the source. */
export type ToChunkThread =
  | {
      readonly kind: 'data';
      readonly start: number;
      readonly offset: number;
      readonly length: number;
    }
  | { readonly kind: 'zeros'; readonly offset: number; readonly length: number };
/** Of the oldest message that was not answered yet: the chunks that are complete with it. */
export type FromChunkThread = readonly ChunkEntry[];

const port = parentPort;
assert(port, 'runs in a thread');
const { memory, ...sizes } = workerData as ChunkThreadData;
const digester = new ChunkDigester(sizes);
port.on('message', (message: ToChunkThread) => {
  const { offset, length } = message;
  const entries: FromChunkThread =
    message.kind === 'data'
      ? digester.update(Buffer.from(memory, message.start, length), offset)
      : digester.skip(offset, length);
  port.postMessage(entries);
});
