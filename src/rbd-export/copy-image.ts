// What a handle shows -> another image: what may hold data is read, many reads in flight, and of that what is not zeros is written.

import { type Image, ImageReader, ImageWriter } from 'ceph-napi';
import { GRAIN_BYTES, readExtents } from './extents.ts';
import { probeHoles } from './hole-probe.ts';
import { runPipeline } from './pipeline.ts';
import { segmentsOf } from './segments.ts';
import { CHUNK_BYTES, SLOTS, SlotMemory } from './slots.ts';

export interface CopyProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface CopyImageOptions {
  /** Of `from`, for messages. */
  readonly subject: string;
  /** How long a read may take, in ms. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Bytes of what may hold data. */
  readonly onProgress: (progress: CopyProgress) => void;
}

/** `to` is new, all holes, and of the same size. Safe in the cluster when it returns. @throws OperatingError corrupt; CephError; the signal's reason */
export async function copyImage(
  from: Image,
  to: Image,
  { subject, timeoutMs, signal, onProgress }: CopyImageOptions,
): Promise<void> {
  const sizeBytes = await from.size();
  const extents = await readExtents(from, sizeBytes, signal);
  await probeHoles({ image: from, sizeBytes, subject }, extents, signal);
  const { totalBytes } = extents;
  const memory = new SlotMemory();
  const reader = ImageReader.attach(from);
  const writer = ImageWriter.attach(to);
  let doneBytes = 0;
  onProgress({ doneBytes, totalBytes });
  await runPipeline(
    segmentsOf(extents, sizeBytes, CHUNK_BYTES),
    {
      slots: SLOTS,
      readTimeoutMs: timeoutMs,
      read: async (slot, { offset, length }) =>
        void (await reader.read(memory.bytes(slot, length), offset)),
      write: async (slot, { offset, length }) => {
        const bytes = memory.bytes(slot, length);
        for (const [at, end] of dataRuns(bytes)) {
          await writer.write(bytes.subarray(at, end), offset + at);
        }
      },
      hash: async () => undefined,
      hashHole: () => undefined,
      done: ({ length }) => {
        doneBytes += length;
        onProgress({ doneBytes, totalBytes });
      },
    },
    signal,
  );
  await writer.flush();
}

const ZEROS = Buffer.alloc(GRAIN_BYTES);

/** [begin, end] of each run of grains that are not all zeros. */
export function* dataRuns(bytes: Buffer): Generator<readonly [begin: number, end: number]> {
  let begin: number | undefined;
  for (let at = 0; at < bytes.length; at += GRAIN_BYTES) {
    const grain = bytes.subarray(at, at + GRAIN_BYTES);
    const isZero = ZEROS.subarray(0, grain.length).equals(grain);
    if (!isZero) begin ??= at;
    else if (begin !== undefined) {
      yield [begin, at];
      begin = undefined;
    }
  }
  if (begin !== undefined) yield [begin, bytes.length];
}
