// The table of a source's chunks, made in threads on all cores that it takes while its bytes pass; or compared with the one that a manifest has,
// chunk by chunk. Holes are not hashed.

import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import type { ChunkEntry } from '../trust/manifest/chunk-digester.ts';
import { ChunkTable, TableBuilder } from '../trust/manifest/chunk-table.ts';
import { OperatingError } from '../wire/errors.ts';
import type { ExpectedManifest } from '../wire/verification-plan.ts';
import { ChunkLane } from './chunk-lane.ts';
import { CHUNK_BYTES, SLOTS, type SlotMemory } from './slots.ts';

/** A part of the source, in bytes. */
interface Part {
  readonly offset: number;
  readonly length: number;
}

interface ChunkHashingOptions {
  readonly subject: string;
  readonly sizeBytes: number;
  readonly chunkBytes: number;
  readonly memory: SlotMemory;
  /** Something hashes all bytes in their order, too: one thread keeps pace with it. */
  readonly isPaced?: boolean;
  readonly expected?: ExpectedManifest;
  /** Else a table is made, or compared with the expected one. */
  readonly check?: ChunkCheck;
}

export class ChunkHashing implements AsyncDisposable {
  /** Chunks are larger than a slot: their parts have to be told in order. Else each slot has whole chunks, told in any. */
  readonly isOrdered: boolean;
  readonly #options: ChunkHashingOptions;
  /** A thread takes some 12 MiB: each begins when it is needed. */
  readonly #lanes: ChunkLane[] = [];
  readonly #lanesMax: number;
  readonly #check: ChunkCheck;
  readonly #chunkCount: number;
  /** Zeros that were told, whose answers nobody waits for. */
  readonly #telling = new Set<Promise<void>>();
  #fault: { readonly why: unknown } | undefined;

  constructor(options: ChunkHashingOptions) {
    const { sizeBytes, chunkBytes, isPaced = false } = options;
    this.#options = options;
    this.isOrdered = chunkBytes > CHUNK_BYTES;
    this.#chunkCount = Math.ceil(sizeBytes / chunkBytes);
    // More than there are slots would never have work at once.
    const units = Math.ceil(sizeBytes / CHUNK_BYTES);
    this.#lanesMax = isPaced ? 1 : Math.min(availableParallelism(), SLOTS, units);
    this.#start();
    const { expected, check } = options;
    this.#check = check ?? (expected === undefined ? new Making(options) : new Comparing(options));
  }

  /** Resolves when the slot may be overwritten. @throws OperatingError corrupt: it is not what the manifest says */
  async data(slot: number, { offset, length }: Part): Promise<void> {
    const start = this.#options.memory.startOf(slot);
    const entries = await this.#laneOf(offset).tell({ kind: 'data', start, offset, length });
    for (const entry of entries) this.#check.chunk(entry);
  }

  /** @throws OperatingError corrupt: by the manifest there is data */
  hole({ offset, length }: Part): void {
    const { chunkBytes, sizeBytes } = this.#options;
    const end = offset + length;
    const first = Math.ceil(offset / chunkBytes);
    const last = end === sizeBytes ? this.#chunkCount : Math.floor(end / chunkBytes);
    this.#check.holes(first, last);
    if (!this.isOrdered) return;
    // The hole begins, and ends, within a chunk.
    const headEnd = Math.min(first * chunkBytes, end);
    if (headEnd > offset) this.#zeros(offset, headEnd - offset);
    const tail = Math.max(last * chunkBytes, headEnd);
    if (tail < end) this.#zeros(tail, end - tail);
  }

  /** When all of the source was told. @throws OperatingError corrupt */
  async finish(): Promise<ChunkTable> {
    await Promise.all(this.#telling);
    if (this.#fault !== undefined) throw this.#fault.why;
    return this.#check.finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane[Symbol.asyncDispose]()));
  }

  #zeros(offset: number, length: number): void {
    const telling = this.#laneOf(offset)
      .tell({ kind: 'zeros', offset, length })
      .then((entries) => {
        for (const entry of entries) this.#check.chunk(entry);
      })
      .catch((why: unknown) => {
        this.#fault ??= { why };
      })
      .finally(() => this.#telling.delete(telling));
    this.#telling.add(telling);
  }

  /** All parts of a chunk go to one lane, in their order. */
  #laneOf(offset: number): ChunkLane {
    if (!this.isOrdered) return this.#idlest();
    const index = Math.floor(offset / this.#options.chunkBytes) % this.#lanesMax;
    while (this.#lanes.length <= index) this.#start();
    const lane = this.#lanes[index];
    assert(lane !== undefined);
    return lane;
  }

  /** Where all that run have something to do, one more. */
  #idlest(): ChunkLane {
    const lane = this.#lanes.reduce((least, each) => (each.waiting < least.waiting ? each : least));
    const isOneMore = lane.waiting > 0 && lane.isUp && this.#lanes.length < this.#lanesMax;
    return isOneMore ? this.#start() : lane;
  }

  #start(): ChunkLane {
    const { memory, sizeBytes, chunkBytes } = this.#options;
    const lane = new ChunkLane({ memory: memory.shared, sizeBytes, chunkBytes });
    this.#lanes.push(lane);
    return lane;
  }
}

/** What becomes of the chunks. */
export interface ChunkCheck {
  chunk(entry: ChunkEntry): void;
  /** Those from `first` to before `last`. */
  holes(first: number, last: number): void;
  finish(): ChunkTable;
}

class Making implements ChunkCheck {
  readonly #builder: TableBuilder;

  constructor(sizes: { readonly sizeBytes: number; readonly chunkBytes: number }) {
    this.#builder = new TableBuilder(sizes);
  }

  chunk({ chunk, digest }: ChunkEntry): void {
    if (digest !== null) this.#builder.add(chunk, digest);
  }

  holes(): void {}

  finish(): ChunkTable {
    return this.#builder.finish();
  }
}

class Comparing implements ChunkCheck {
  readonly #subject: string;
  readonly #keyId: string;
  readonly #table: ChunkTable;
  #dataChunks = 0;

  constructor({ subject, expected }: ChunkHashingOptions) {
    assert(expected !== undefined);
    const parsed = ChunkTable.parse(Buffer.from(expected.table.base64, 'base64'));
    assert(parsed.kind === 'table', 'siphond has parsed it');
    this.#subject = subject;
    this.#keyId = expected.keyId;
    this.#table = parsed.table;
  }

  chunk({ chunk, digest }: ChunkEntry): void {
    const wanted = this.#table.digestOf(chunk);
    if (digest === null && wanted !== undefined) throw this.#wrong(chunk, WHY_ZEROS);
    if (digest === null) return;
    if (wanted === undefined) throw this.#wrong(chunk, 'it has data, and should be a hole');
    if (!wanted.equals(digest))
      throw this.#wrong(chunk, 'its bytes are not the ones that were signed');
    this.#dataChunks += 1;
  }

  holes(first: number, last: number): void {
    const chunk = this.#table.firstData(first, last);
    if (chunk !== undefined) throw this.#wrong(chunk, WHY_ZEROS);
  }

  finish(): ChunkTable {
    assert.equal(this.#dataChunks, this.#table.dataChunks);
    return this.#table;
  }

  #wrong(chunk: number, why: string): OperatingError {
    return new OperatingError({
      code: 'corrupt',
      op: 'verify',
      subject: this.#subject,
      why: `its manifest (key ${this.#keyId}) says something else of chunk ${chunk}, at byte ${chunk * this.#table.chunkBytes}: ${why}`,
      hint: 'Find out which is wrong: the image, or its manifest (siphon describe SOURCE shows it). What a fill has read, siphon list --quarantined shows.',
    });
  }
}

const WHY_ZEROS = 'it is all zeros, and should have data';
