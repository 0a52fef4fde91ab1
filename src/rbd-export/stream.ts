// Binds the pipeline's ports to Ceph, the file and the hash threads.

import type { HashJob, HashOutcome } from '../trust/verify.ts';
import type { FillProgress } from '../wire/worker-protocol.ts';
import { readExtents } from './extents.ts';
import { HashLane } from './hash-lane.ts';
import { runPipeline } from './pipeline.ts';
import { segmentsOf } from './segments.ts';
import type { Sink } from './sink.ts';
import type { SlotMemory } from './slots.ts';
import { CHUNK_BYTES, SLOTS } from './slots.ts';
import type { Source } from './source.ts';

const PROGRESS_EVERY_MS = 200;

/** The hash threads of one export, and the memory that they read. */
export interface Hashing extends AsyncDisposable {
  readonly memory: SlotMemory;
  data(slot: number, length: number): Promise<void>;
  hole(length: number): void;
  finish(signal?: AbortSignal): Promise<HashOutcome[]>;
}

export function startHashing(jobs: readonly HashJob[], memory: SlotMemory): Hashing {
  const lanes = jobs.map((job) => new HashLane(job, memory.shared));
  return {
    memory,
    async data(slot, length) {
      await Promise.all(lanes.map((lane) => lane.data(memory.startOf(slot), length)));
    },
    hole: (length) => lanes.forEach((lane) => lane.hole(length)),
    finish: (signal) => Promise.all(lanes.map((lane) => lane.finish(signal))),
    async [Symbol.asyncDispose]() {
      await Promise.all(lanes.map((lane) => lane[Symbol.asyncDispose]()));
    },
  };
}

export interface StreamRequest {
  readonly source: Source;
  readonly hashing: Hashing;
  /** undefined: the bytes are only hashed. */
  readonly sink: Sink | undefined;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: FillProgress) => void;
}

/** Reads what is allocated, writes it, and hashes everything. Resolves when nothing is in flight any more. */
export async function stream(request: StreamRequest): Promise<void> {
  const { source, hashing, sink, timeoutMs, signal } = request;
  const { memory } = hashing;
  const extents = await readExtents(source.image, source.sizeBytes, signal);
  const progress = meter(extents.totalBytes, request.onProgress);
  await runPipeline(
    segmentsOf(extents, source.sizeBytes, CHUNK_BYTES),
    {
      slots: SLOTS,
      readTimeoutMs: timeoutMs,
      read: (slot, { offset, length }) => source.read(memory.bytes(slot, length), offset),
      async write(slot, { offset, length }) {
        await sink?.write(memory.bytes(slot, CHUNK_BYTES), length, offset);
      },
      hash: (slot, { length }) => hashing.data(slot, length),
      hashHole: (length) => hashing.hole(length),
      done: ({ length }) => progress(length),
    },
    signal,
  );
}

function meter(
  totalBytes: number,
  tell: (progress: FillProgress) => void = () => {},
): (bytes: number) => void {
  let doneBytes = 0;
  let toldAtMs = performance.now();
  tell({ doneBytes, totalBytes });
  return (bytes) => {
    doneBytes += bytes;
    const now = performance.now();
    if (doneBytes < totalBytes && now - toldAtMs < PROGRESS_EVERY_MS) return;
    toldAtMs = now;
    tell({ doneBytes, totalBytes });
  };
}
