// Reads a base's file whole, and says what of it is not what it must be: the tables in front by their digest, the data chunk by chunk, and
// that nothing else is there. Where the table has data it is read; where it has a hole, a hole of the file is as good as zeros.

import { setImmediate } from 'node:timers/promises';
import type { ChunkTable } from '../../trust/manifest/chunk-table.ts';
import type { FileDamage, FileHead } from '../../wire/scrub-protocol.ts';
import type { FillProgress } from '../../wire/worker-protocol.ts';
import { ChunkHashing } from '../chunk-hashing.ts';
import { HeadDigest } from '../head-digest.ts';
import { type Meter, startMeter } from '../meter.ts';
import { runPipeline } from '../pipeline.ts';
import { CLUSTER_BYTES, ClusterSet, encodeTables, type Layout } from '../qcow2-layout.ts';
import type { Segment } from '../segments.ts';
import { dataRuns } from '../sink.ts';
import { ALIGN_BYTES, CHUNK_BYTES, SLOTS, type SlotMemory } from '../slots.ts';
import type { BaseFile, Part } from './base-file.ts';
import type { RateBound } from './rate.ts';
import type { FileShape } from './shape.ts';
import { Survey } from './survey.ts';

export interface ScrubRequest {
  readonly subject: string;
  readonly file: BaseFile;
  readonly shape: FileShape;
  readonly table: ChunkTable;
  /** As it was recorded; else the data says what it must be, where all of it is good. */
  readonly head?: FileHead | undefined;
  readonly rate: RateBound;
  /** Slower than one thread hashes. */
  readonly isPaced: boolean;
  readonly memory: SlotMemory;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: FillProgress) => void) | undefined;
}

export interface Scrubbed {
  readonly damage?: FileDamage;
  readonly readBytes: number;
  /** Which clusters have data: where all chunks are good. */
  readonly clusters?: ClusterSet;
}

/** How long a read may take before there are fewer at once. */
const READ_TIMEOUT_MS = 5000;

export async function scrubFile(request: ScrubRequest): Promise<Scrubbed> {
  const { file, shape } = request;
  const work = new Work(request);
  using meter = startMeter(
    {
      totalBytes: shape.headBytes + shape.dataBytes,
      allocatedBytes: file.allocatedBytes,
      zeroBytes: () => work.holeBytes,
    },
    request.onProgress,
  );
  file.rewind();
  const head = shape.headBytes === 0 ? undefined : await work.readHead(meter);
  await work.readData(meter);
  const isTail = await work.hasWrongTail();
  meter.tell();
  return await work.found(head, isTail);
}

/** Of a disk of some TiB they take seconds: nobody waits so long for anything else. */
const PIECES_AT_ONCE = 100;

/** What the tables in front of such data are. */
export async function headOf(layout: Layout, clusters: ClusterSet): Promise<FileHead> {
  const digest = new HeadDigest(layout.dataOffset);
  let count = 0;
  for (const piece of encodeTables(layout, clusters)) {
    digest.add(piece);
    count += 1;
    if (count % PIECES_AT_ONCE === 0) await setImmediate();
  }
  return digest.finish();
}

/** A part of the file, in chunks that something hashes. */
interface Region {
  readonly at: number;
  readonly lengthBytes: number;
  readonly grainBytes: number;
  readonly chunks: ChunkHashing;
  /** Whether these are read though they are a hole of the file. */
  readonly isNeeded: (from: number, to: number) => boolean;
  readonly onData: (bytes: Buffer, part: Part) => void;
  readonly onLost: (part: Part) => void;
}

class Work {
  holeBytes = 0;
  #readBytes = 0;
  #unreadBytes = 0;
  #isHeadLost = false;
  readonly #request: ScrubRequest;
  readonly #survey: Survey;
  readonly #clusters: ClusterSet | undefined;

  constructor(request: ScrubRequest) {
    this.#request = request;
    this.#survey = new Survey(request.table);
    this.#clusters = request.shape.layout && new ClusterSet();
  }

  async readHead(meter: Meter): Promise<string> {
    const { subject, shape, memory, isPaced } = this.#request;
    const sizes = { sizeBytes: shape.headBytes, chunkBytes: CLUSTER_BYTES };
    await using chunks = new ChunkHashing({ subject, ...sizes, memory, isPaced });
    const region: Region = {
      at: 0,
      lengthBytes: shape.headBytes,
      grainBytes: CLUSTER_BYTES,
      chunks,
      isNeeded: () => false,
      onData: () => {},
      onLost: () => (this.#isHeadLost = true),
    };
    await this.#read(region, meter);
    return (await chunks.finish()).sha256;
  }

  async readData(meter: Meter): Promise<void> {
    const { subject, shape, table, memory, isPaced } = this.#request;
    const { sizeBytes, chunkBytes } = table;
    const check = this.#survey;
    const sizes = { sizeBytes, chunkBytes };
    await using chunks = new ChunkHashing({ subject, ...sizes, memory, isPaced, check });
    const region: Region = {
      at: shape.headBytes,
      lengthBytes: shape.dataBytes,
      grainBytes: Math.min(chunkBytes, CHUNK_BYTES),
      chunks,
      isNeeded: (from, to) =>
        table.firstData(Math.floor(from / chunkBytes), Math.ceil(to / chunkBytes)) !== undefined,
      onData: (bytes, { offset, length }) => {
        for (const { start, end } of dataRuns(bytes, length))
          this.#clusters?.add(offset + start, end - start);
      },
      onLost: (part) => this.#survey.lost(part),
    };
    await this.#read(region, meter);
    await chunks.finish();
  }

  /** Of less than a cluster: qcow2 has whole ones. */
  async hasWrongTail(): Promise<boolean> {
    const { file, shape, memory } = this.#request;
    if (file.sizeBytes !== shape.fileBytes) return true;
    const end = shape.headBytes + shape.dataBytes;
    const offset = Math.floor(end / ALIGN_BYTES) * ALIGN_BYTES;
    const length = shape.fileBytes - offset;
    if (shape.fileBytes === end) return false;
    const bytes = memory.bytes(0, CHUNK_BYTES);
    const lost = await file.read(bytes, { offset, length }, ALIGN_BYTES);
    const rest = bytes.subarray(end - offset, length);
    return lost.length > 0 || rest.some((byte) => byte !== 0);
  }

  async found(headFound: string | undefined, isTail: boolean): Promise<Scrubbed> {
    const { shape, head } = this.#request;
    const isWhole = this.#survey.isWhole;
    const clusters = isWhole ? this.#clusters : undefined;
    const wanted = head ?? (clusters && shape.layout && (await headOf(shape.layout, clusters)));
    const isHead = this.#isHeadLost || (wanted !== undefined && wanted.sha256 !== headFound);
    const told = { readBytes: this.#readBytes, ...(clusters && { clusters }) };
    if (isWhole && !isHead && !isTail) return told;
    const { runs: chunks, chunkCount, bytes: chunkBytes } = this.#survey;
    const damage = { chunks, chunkCount, chunkBytes, isHead, isTail };
    return { ...told, damage: { ...damage, unreadBytes: this.#unreadBytes } };
  }

  async #read(region: Region, meter: Meter): Promise<void> {
    const { file, memory, signal } = this.#request;
    const { chunks, at, grainBytes, onData, onLost } = region;
    const check = async (slot: number, segment: Segment) => {
      await chunks.data(slot, segment);
    };
    await runPipeline(
      this.#segments(region),
      {
        slots: SLOTS,
        readTimeoutMs: READ_TIMEOUT_MS,
        read: async (slot, { offset, length }) => {
          const bytes = memory.bytes(slot, CHUNK_BYTES);
          const lost = await file.read(bytes, { offset: at + offset, length }, grainBytes);
          for (const part of lost) {
            this.#unreadBytes += part.length;
            onLost({ offset: part.offset - at, length: part.length });
          }
          onData(bytes, { offset, length });
        },
        write: async () => undefined,
        check: async (slot, segment) => {
          if (!chunks.isOrdered) await check(slot, segment);
        },
        hash: async (slot, segment) => {
          if (chunks.isOrdered) await check(slot, segment);
        },
        hashHole: (length, offset) => {
          chunks.hole({ offset, length });
          this.holeBytes += length;
        },
        done: ({ length }) => {
          this.#readBytes += length;
          meter.read(length);
        },
      },
      signal,
    );
  }

  async *#segments({ at, lengthBytes, isNeeded }: Region): AsyncGenerator<Segment> {
    const { file, rate, signal } = this.#request;
    let holeFrom = 0;
    const hole = (to: number): Segment[] =>
      to > holeFrom ? [{ kind: 'hole', offset: holeFrom, length: to - holeFrom }] : [];
    for (let offset = 0; offset < lengthBytes; offset += CHUNK_BYTES) {
      const end = Math.min(offset + CHUNK_BYTES, lengthBytes);
      if (!isNeeded(offset, end) && !file.hasData(at + offset, at + end)) continue;
      yield* hole(offset);
      await rate.take(end - offset, signal);
      yield { kind: 'data', offset, length: end - offset };
      holeFrom = end;
    }
    yield* hole(lengthBytes);
  }
}
