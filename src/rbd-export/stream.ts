// Binds the pipeline's ports to Ceph, the file and the hash threads.

import type { ChunkTable } from '../trust/manifest/chunk-table.ts';
import type { HashJob, HashOutcome } from '../trust/verify.ts';
import type { ChunkTableBytes } from '../wire/verification-plan.ts';
import type { FillProgress } from '../wire/worker-protocol.ts';
import type { ChunkHashing } from './chunk-hashing.ts';
import { withCeph } from './errors.ts';
import { GRAIN_BYTES, readExtents } from './extents.ts';
import { HashLane } from './hash-lane.ts';
import { probeHoles } from './hole-probe.ts';
import { startMeter } from './meter.ts';
import { type PipelinePorts, runPipeline } from './pipeline.ts';
import { segmentsOf } from './segments.ts';
import type { Sink } from './sink.ts';
import type { SlotMemory } from './slots.ts';
import { CHUNK_BYTES, SLOTS } from './slots.ts';
import type { Source } from './source.ts';

/** The hash threads of one export, and the memory that they read. */
export interface Hashing extends AsyncDisposable {
  readonly memory: SlotMemory;
  data(slot: number, length: number): Promise<void>;
  hole(length: number): void;
  /** How much of the holes all threads have hashed. */
  readonly zeroBytes: number;
  finish(signal?: AbortSignal): Promise<HashOutcome[]>;
}

export function startHashing(jobs: readonly HashJob[], memory: SlotMemory): Hashing {
  const lanes = jobs.map((job) => new HashLane(job, memory.shared));
  let fedBytes = 0;
  return {
    memory,
    async data(slot, length) {
      await Promise.all(lanes.map((lane) => lane.data(memory.startOf(slot), length)));
    },
    hole(length) {
      fedBytes += length;
      for (const lane of lanes) lane.hole(length);
    },
    get zeroBytes() {
      return Math.min(fedBytes, ...lanes.map((lane) => lane.zeroBytes));
    },
    finish: (signal) => Promise.all(lanes.map((lane) => lane.finish(signal))),
    async [Symbol.asyncDispose]() {
      await Promise.all(lanes.map((lane) => lane[Symbol.asyncDispose]()));
    },
  };
}

export interface StreamRequest {
  readonly source: Source;
  readonly hashing: Hashing;
  /** Whether what is read will be compared with what it must be: then a hole that is none is found anyway. */
  readonly isChecked?: boolean;
  /** undefined: nobody asks for a table of chunks. In the memory of `hashing`. */
  readonly chunks?: ChunkHashing | undefined;
  /** undefined: the bytes are only hashed. */
  readonly sink: Sink | undefined;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: FillProgress) => void;
}

export interface Streamed {
  readonly outcomes: readonly HashOutcome[];
  /** With `chunks`. */
  readonly table?: ChunkTableBytes;
  /** What the sink's file takes on disk; 0 without one. */
  readonly allocatedBytes: number;
}

/** Reads what is allocated, writes it, and hashes everything; then makes the file safe while the hashes end. */
export async function stream(request: StreamRequest): Promise<Streamed> {
  const { source, hashing, chunks, sink, signal, onProgress } = request;
  // A slot then has whole chunks, or a chunk whole slots.
  const grainBytes = chunks === undefined ? GRAIN_BYTES : CHUNK_BYTES;
  const extents = await readExtents(source.image, source.sizeBytes, signal, { grainBytes });
  if (!request.isChecked) {
    await withCeph('look at holes', source.subject, () => probeHoles(source, extents, signal));
  }
  const sizes = { totalBytes: source.sizeBytes, allocatedBytes: extents.totalBytes };
  using meter = startMeter({ ...sizes, zeroBytes: () => hashing.zeroBytes }, onProgress);
  const segments = segmentsOf(extents, source.sizeBytes, CHUNK_BYTES);
  await runPipeline(segments, portsOf(request, meter.read), signal);
  const table = await chunks?.finish();
  const [outcomes, allocatedBytes = 0] = await Promise.all([
    hashing.finish(signal),
    sink?.complete(),
  ]);
  meter.tell();
  return { outcomes, allocatedBytes, ...(table && { table: told(table) }) };
}

function told({ sha256, chunkBytes, bytes }: ChunkTable): ChunkTableBytes {
  return { sha256, chunkBytes, base64: bytes.toString('base64') };
}

function portsOf(
  { source, hashing, chunks, sink, timeoutMs }: StreamRequest,
  done: (bytes: number) => void,
): PipelinePorts {
  const { memory } = hashing;
  return {
    slots: SLOTS,
    readTimeoutMs: timeoutMs,
    read: (slot, { offset, length }) => source.read(memory.bytes(slot, length), offset),
    async write(slot, { offset, length }) {
      await sink?.write(memory.bytes(slot, CHUNK_BYTES), length, offset);
    },
    async check(slot, segment) {
      if (chunks?.isOrdered === false) await chunks.data(slot, segment);
    },
    async hash(slot, segment) {
      const inTurn = chunks?.isOrdered ? chunks.data(slot, segment) : undefined;
      await Promise.all([hashing.data(slot, segment.length), inTurn]);
    },
    hashHole(length, offset) {
      chunks?.hole({ offset, length });
      hashing.hole(length);
    },
    done: ({ length }) => done(length),
  };
}
