// The memory of one export: a fixed number of chunk buffers in one shared block.

import { alignedShared } from 'ceph-napi';

/** One read, one write, one hash message: an object of the usual size. */
export const CHUNK_BYTES = 4 * 1024 * 1024;
/** Reads in flight at most: hides 20 ms of latency at over 1 GiB/s, more than a core can hash, in 32 MiB. */
export const SLOTS = 8;
/** What O_DIRECT asks of addresses, offsets and lengths, on any disk that is common. */
export const ALIGN_BYTES = 4096;

/** `count` buffers of CHUNK_BYTES, aligned for O_DIRECT, in memory that threads can share. */
export class SlotMemory {
  readonly #all: Buffer<SharedArrayBuffer>;

  constructor(count = SLOTS) {
    this.#all = alignedShared(count * CHUNK_BYTES, ALIGN_BYTES);
  }

  get shared(): SharedArrayBuffer {
    return this.#all.buffer;
  }

  /** Where in `shared` a slot begins. */
  startOf(slot: number): number {
    return this.#all.byteOffset + slot * CHUNK_BYTES;
  }

  bytes(slot: number, length: number): Buffer {
    return Buffer.from(this.shared, this.startOf(slot), length);
  }
}
