// Bytes of an image -> what its chunks are: holes, or their digests. The bytes of one chunk come in order; chunks in any. Pure.

import { createHash, type Hash } from 'node:crypto';

/** null: it is all zeros. */
export interface ChunkEntry {
  readonly chunk: number;
  readonly digest: Uint8Array | null;
}

const ZEROS = Buffer.alloc(64 * 1024);

export class ChunkDigester {
  readonly #sizeBytes: number;
  readonly #chunkBytes: number;
  /** Of the chunk that is not complete yet: undefined while it is all zeros. */
  #hash: Hash | undefined;
  /** Zeros that came, and are not hashed yet: perhaps they need not be. */
  #zeroBytes = 0;

  constructor(of: { readonly sizeBytes: number; readonly chunkBytes: number }) {
    this.#sizeBytes = of.sizeBytes;
    this.#chunkBytes = of.chunkBytes;
  }

  /** Takes the bytes at `offset`; gives the chunks that are complete with them. */
  update(bytes: Buffer, offset: number): ChunkEntry[] {
    const entries: ChunkEntry[] = [];
    for (let at = 0; at < bytes.length; ) {
      const [chunk, end] = this.#chunkAt(offset + at);
      const part = bytes.subarray(at, Math.min(bytes.length, end - offset));
      this.#take(part);
      at += part.length;
      if (offset + at === end) entries.push({ chunk, digest: this.#complete() });
    }
    return entries;
  }

  /** As zeros of one chunk. */
  skip(offset: number, length: number): ChunkEntry[] {
    const [chunk, end] = this.#chunkAt(offset);
    this.#zeroBytes += length;
    return offset + length === end ? [{ chunk, digest: this.#complete() }] : [];
  }

  #chunkAt(offset: number): readonly [chunk: number, end: number] {
    const chunk = Math.floor(offset / this.#chunkBytes);
    return [chunk, Math.min((chunk + 1) * this.#chunkBytes, this.#sizeBytes)];
  }

  #take(part: Buffer): void {
    if (isZeros(part)) {
      this.#zeroBytes += part.length;
      return;
    }
    this.#hash ??= createHash('sha256');
    this.#hashZeros(this.#hash);
    this.#hash.update(part);
  }

  #complete(): Uint8Array | null {
    const hash = this.#hash;
    if (hash !== undefined) this.#hashZeros(hash);
    this.#hash = undefined;
    this.#zeroBytes = 0;
    return hash === undefined ? null : new Uint8Array(hash.digest());
  }

  #hashZeros(hash: Hash): void {
    for (; this.#zeroBytes > 0; this.#zeroBytes -= Math.min(this.#zeroBytes, ZEROS.length))
      hash.update(ZEROS.subarray(0, this.#zeroBytes));
  }
}

/** Cheap: data differs from zeros in its first bytes. */
function isZeros(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const part = bytes.subarray(at, at + ZEROS.length);
    if (part.compare(ZEROS, 0, part.length) !== 0) return false;
  }
  return true;
}
