// One disk into an export: read with many requests in flight, digested in threads, and told as frames in their order.

import { webcrypto } from 'node:crypto';
import { digest, type ExportChain, type Frame, NO_PAYLOAD } from '../../export-file/index.ts';
import { GRAIN_BYTES } from '../extents.ts';
import { runPipeline } from '../pipeline.ts';
import { dataRuns } from '../sink.ts';
import { CHUNK_BYTES, SLOTS } from '../slots.ts';
import type { Source } from '../source.ts';
import type { Piece, Run } from './pieces.ts';

/** Where the file's bytes go. They stay as they are until the promise settles. */
export type WriteOut = (bytes: readonly Buffer[]) => Promise<void>;

export interface DiskTransfer {
  /** Of the export's disks. */
  readonly disk: number;
  readonly source: Source;
  readonly pieces: AsyncIterable<Piece>;
  /** Zeros are told, since they were something else before; else they are left out. */
  readonly tellsZeros: boolean;
  readonly chain: ExportChain;
  readonly write: WriteOut;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

interface Part {
  readonly frame: Frame;
  readonly bytes?: Buffer;
  readonly digest: Uint8Array;
}

/** Resolves when all of it is written. @throws OperatingError */
export async function transferDisk(transfer: DiskTransfer): Promise<void> {
  const { source, pieces, chain, write, timeoutMs, signal } = transfer;
  const slots = Array.from({ length: SLOTS }, () => Buffer.from(new ArrayBuffer(CHUNK_BYTES)));
  const parts = new Map<number, readonly Part[]>();
  await runPipeline<Piece>(
    pieces,
    {
      slots: SLOTS,
      readTimeoutMs: timeoutMs,
      async read(slot, piece) {
        const memory = slots[slot] as Buffer;
        const memoryOf = ({ offset, end }: Run) =>
          memory.subarray(offset - piece.offset, end - piece.offset);
        const wanted = piece.runs.filter(({ isZero }) => !isZero);
        await Promise.all(wanted.map((run) => source.read(memoryOf(run), run.offset)));
        const all = piece.runs.map((run) => partsOf(transfer, run, memoryOf(run)));
        parts.set(slot, (await Promise.all(all)).flat());
      },
      write: () => Promise.resolve(),
      hash: (slot) => {
        const bytes = (parts.get(slot) ?? []).flatMap((part) => {
          const head = chain.frame(part.frame, part.digest);
          return part.bytes === undefined ? [head] : [head, part.bytes];
        });
        parts.delete(slot);
        return bytes.length === 0 ? Promise.resolve() : write(bytes);
      },
      hashHole: () => undefined,
      done: () => undefined,
    },
    signal,
  );
}

async function partsOf(
  { disk, tellsZeros }: DiskTransfer,
  { offset, end, isZero }: Run,
  memory: Buffer,
): Promise<Part[]> {
  const parts: Promise<Part>[] = [];
  let at = 0;
  const zeros = (until: number) => {
    const frame = { kind: 'zero', disk, offset: offset + at, length: until - at } as const;
    if (tellsZeros && until > at) parts.push(Promise.resolve({ frame, digest: NO_PAYLOAD }));
  };
  const grainBytes = tellsZeros ? BLOCK_BYTES : GRAIN_BYTES;
  for (const run of isZero ? [] : dataRuns(memory, memory.length, grainBytes)) {
    zeros(run.start);
    const bytes = memory.subarray(run.start, run.end);
    const frame = { kind: 'data', disk, offset: offset + run.start, length: bytes.length } as const;
    parts.push(digestOf(bytes).then((sum) => ({ frame, bytes, digest: sum })));
    at = run.end;
  }
  zeros(end - offset);
  return await Promise.all(parts);
}

/** librbd tells an object that is new as changed up to its end: of it the guest may have written one block. */
const BLOCK_BYTES = 4096;

/** Less is digested sooner than a thread is asked. */
const THREADED_BYTES = 32 * 1024;

/** In a thread of libuv's: all of a core and more goes into digests. */
async function digestOf(bytes: Buffer): Promise<Uint8Array> {
  if (bytes.length < THREADED_BYTES) return digest(bytes);
  return new Uint8Array(await webcrypto.subtle.digest('SHA-256', bytes as Buffer<ArrayBuffer>));
}
