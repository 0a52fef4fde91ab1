// The table of an image's chunks: of each whether it is a hole, else its SHA-256. One content has one table of a chunk size: what reads as
// zeros is a hole, however it is stored. docs/manifests.md has the bytes. Pure.

import { createHash } from 'node:crypto';
import { OperatingError } from '../../wire/errors.ts';

export const CHUNK_BYTES_MIN = 64 * 1024;
export const CHUNK_BYTES_MAX = 64 * 1024 ** 2;
/** Of the tables that siphon makes, for images of up to 1 TiB. */
const CHUNK_BYTES_USUAL = 4 * 1024 ** 2;
/** Digests that a table which siphon makes holds at most: 8 MiB of them. */
const CHUNKS_MAX = 2 ** 18;
/** A table of CHUNKS_MAX digests, and some room: 16 TiB full of data, in chunks of 64 MiB. */
export const TABLE_BYTES_MAX = 8.5 * 1024 ** 2;
export const DIGEST_BYTES = 32;
/** The image's size, and the chunks'. */
export const HEADER_BYTES = 12;

/** Of an image of this size, in the tables that siphon makes; undefined: it is too large for one. */
export function chunkBytesFor(sizeBytes: number): number | undefined {
  let chunkBytes = CHUNK_BYTES_USUAL;
  while (Math.ceil(sizeBytes / chunkBytes) > CHUNKS_MAX) chunkBytes *= 2;
  return chunkBytes > CHUNK_BYTES_MAX ? undefined : chunkBytes;
}

/** Bytes in, or why they are no table. */
export type ParsedTable =
  | { readonly kind: 'table'; readonly table: ChunkTable }
  | { readonly kind: 'none'; readonly why: string };

export class ChunkTable {
  readonly bytes: Buffer;
  readonly sizeBytes: number;
  readonly chunkBytes: number;
  readonly chunkCount: number;
  /** Lower-case hex, of `bytes`. */
  readonly sha256: string;
  readonly #bitmap: Buffer;
  /** How many chunks before each RANK_BYTES of the bitmap have data. */
  readonly #ranks: Uint32Array;

  private constructor(bytes: Buffer, layout: Layout, ranks: Uint32Array) {
    this.bytes = bytes;
    this.sizeBytes = layout.sizeBytes;
    this.chunkBytes = layout.chunkBytes;
    this.chunkCount = layout.chunkCount;
    this.#bitmap = bytes.subarray(HEADER_BYTES, layout.digestsAt);
    this.#ranks = ranks;
    this.sha256 = createHash('sha256').update(bytes).digest('hex');
  }

  /** Everything is compared with the length of `bytes` before anything is made of it. */
  static parse(bytes: Buffer): ParsedTable {
    const none = (why: string): ParsedTable => ({ kind: 'none', why });
    const layout = layoutOf(bytes);
    if (typeof layout === 'string') return none(layout);
    const { digestsAt, chunkCount } = layout;
    const bitmap = bytes.subarray(HEADER_BYTES, digestsAt);
    if (chunkCount % 8 !== 0 && (bitmap.at(-1) ?? 0) >> (chunkCount % 8) !== 0)
      return none('it tells of chunks past its end');
    const { ranks, count } = rank(bitmap);
    const lengthBytes = digestsAt + count * DIGEST_BYTES;
    if (lengthBytes !== bytes.length)
      return none(`it has ${bytes.length} bytes, and with its ${count} digests ${lengthBytes}`);
    const table = new ChunkTable(bytes, layout, ranks);
    const zeros = table.#firstOfZeros();
    if (zeros !== undefined) return none(`chunk ${zeros} is of zeros, and not told as a hole`);
    return { kind: 'table', table };
  }

  /** undefined: a hole. */
  digestOf(chunk: number): Buffer | undefined {
    if (!isSet(this.#bitmap, chunk)) return undefined;
    const at = HEADER_BYTES + this.#bitmap.length + this.#rankOf(chunk) * DIGEST_BYTES;
    return this.bytes.subarray(at, at + DIGEST_BYTES);
  }

  /** The first chunk with data of those from `from` to before `to`. */
  firstData(from: number, to: number): number | undefined {
    for (let chunk = from; chunk < to; chunk++) {
      if (chunk % 8 === 0 && this.#bitmap[chunk >> 3] === 0) chunk += 7;
      else if (isSet(this.#bitmap, chunk)) return chunk;
    }
    return undefined;
  }

  get dataChunks(): number {
    return (this.bytes.length - HEADER_BYTES - this.#bitmap.length) / DIGEST_BYTES;
  }

  #rankOf(chunk: number): number {
    const byte = chunk >> 3;
    const block = Math.floor(byte / RANK_BYTES);
    let count = this.#ranks[block] ?? 0;
    for (let at = block * RANK_BYTES; at < byte; at++) count += bitsOf(this.#bitmap[at] ?? 0);
    return count + bitsOf((this.#bitmap[byte] ?? 0) & ((1 << (chunk & 7)) - 1));
  }

  #firstOfZeros(): number | undefined {
    const last = this.chunkCount - 1;
    const tailBytes = this.sizeBytes - last * this.chunkBytes;
    if (this.digestOf(last)?.equals(digestOfZeros(tailBytes))) return last;
    const ofZeros = digestOfZeros(this.chunkBytes);
    for (let chunk = this.firstData(0, last); chunk !== undefined; ) {
      if (this.digestOf(chunk)?.equals(ofZeros)) return chunk;
      chunk = this.firstData(chunk + 1, last);
    }
    return undefined;
  }
}

interface Layout {
  readonly sizeBytes: number;
  readonly chunkBytes: number;
  readonly chunkCount: number;
  /** Where in the table the digests begin. */
  readonly digestsAt: number;
}

/** Or what is wrong with it. */
function layoutOf(bytes: Buffer): Layout | string {
  if (bytes.length > TABLE_BYTES_MAX) return `it has more than ${TABLE_BYTES_MAX} bytes`;
  if (bytes.length <= HEADER_BYTES) return 'it is cut off';
  const sizeBytes = Number(bytes.readBigUInt64BE(0));
  const chunkBytes = bytes.readUInt32BE(8);
  const wrong = wrongSizes(sizeBytes, chunkBytes);
  if (wrong !== undefined) return wrong;
  const chunkCount = Math.ceil(sizeBytes / chunkBytes);
  const digestsAt = HEADER_BYTES + Math.ceil(chunkCount / 8);
  if (digestsAt > bytes.length) return `it is too short for ${chunkCount} chunks`;
  return { sizeBytes, chunkBytes, chunkCount, digestsAt };
}

function wrongSizes(sizeBytes: number, chunkBytes: number): string | undefined {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 1)
    return `${sizeBytes} bytes are no size of an image`;
  const isPower = (chunkBytes & (chunkBytes - 1)) === 0;
  if (isPower && chunkBytes >= CHUNK_BYTES_MIN && chunkBytes <= CHUNK_BYTES_MAX) return undefined;
  return `its chunks have ${chunkBytes} bytes, and not a power of 2 from ${CHUNK_BYTES_MIN} to ${CHUNK_BYTES_MAX}`;
}

/** Puts a table together from its digests, in whatever order they come. */
export class TableBuilder {
  readonly #sizeBytes: number;
  readonly #chunkBytes: number;
  #chunks = new Uint32Array(64);
  #digests = Buffer.alloc(64 * DIGEST_BYTES);
  #count = 0;

  constructor({ sizeBytes, chunkBytes }: Pick<Layout, 'sizeBytes' | 'chunkBytes'>) {
    this.#sizeBytes = sizeBytes;
    this.#chunkBytes = chunkBytes;
  }

  /** Of a chunk that is no hole, once. */
  add(chunk: number, digest: Uint8Array): void {
    if (this.#count === this.#chunks.length) this.#grow();
    this.#chunks[this.#count] = chunk;
    this.#digests.set(digest, this.#count * DIGEST_BYTES);
    this.#count += 1;
  }

  /** @throws OperatingError exhausted: it has more digests than a table may */
  finish(): ChunkTable {
    const chunkCount = Math.ceil(this.#sizeBytes / this.#chunkBytes);
    const digestsAt = HEADER_BYTES + Math.ceil(chunkCount / 8);
    const bytes = Buffer.alloc(digestsAt + this.#count * DIGEST_BYTES);
    bytes.writeBigUInt64BE(BigInt(this.#sizeBytes), 0);
    bytes.writeUInt32BE(this.#chunkBytes, 8);
    const order = Uint32Array.from({ length: this.#count }, (_, i) => i);
    order.sort((a, b) => (this.#chunks[a] ?? 0) - (this.#chunks[b] ?? 0));
    for (const [rankOf, from] of order.entries()) {
      const chunk = this.#chunks[from] ?? 0;
      const at = HEADER_BYTES + (chunk >> 3);
      bytes[at] = (bytes[at] ?? 0) | (1 << (chunk & 7));
      const digestAt = from * DIGEST_BYTES;
      bytes.set(
        this.#digests.subarray(digestAt, digestAt + DIGEST_BYTES),
        digestsAt + rankOf * DIGEST_BYTES,
      );
    }
    const parsed = ChunkTable.parse(bytes);
    if (parsed.kind === 'table') return parsed.table;
    const subject = `${this.#sizeBytes} bytes in chunks of ${this.#chunkBytes}`;
    const fields = { code: 'exhausted', op: 'make chunk table', subject } as const;
    throw new OperatingError({ ...fields, why: parsed.why });
  }

  #grow(): void {
    const chunks = new Uint32Array(2 * this.#chunks.length);
    chunks.set(this.#chunks);
    this.#chunks = chunks;
    const digests = Buffer.alloc(2 * this.#digests.length);
    digests.set(this.#digests);
    this.#digests = digests;
  }
}

const RANK_BYTES = 256;

function rank(bitmap: Buffer): { readonly ranks: Uint32Array; readonly count: number } {
  const ranks = new Uint32Array(Math.ceil(bitmap.length / RANK_BYTES));
  let count = 0;
  for (const [at, byte] of bitmap.entries()) {
    if (at % RANK_BYTES === 0) ranks[at / RANK_BYTES] = count;
    count += bitsOf(byte);
  }
  return { ranks, count };
}

const BITS = Uint8Array.from({ length: 256 }, (_, byte) => {
  let count = 0;
  for (let left = byte; left !== 0; left &= left - 1) count += 1;
  return count;
});
const bitsOf = (byte: number): number => BITS[byte] ?? 0;

const isSet = (bitmap: Buffer, chunk: number): boolean =>
  ((bitmap[chunk >> 3] ?? 0) & (1 << (chunk & 7))) !== 0;

const ZEROS = Buffer.alloc(CHUNK_BYTES_MIN);
const known = new Map<number, Buffer>();

/** Those of whole chunks are kept: they are eleven. */
function digestOfZeros(lengthBytes: number): Buffer {
  const found = known.get(lengthBytes);
  if (found !== undefined) return found;
  const hash = createHash('sha256');
  for (let left = lengthBytes; left > 0; left -= ZEROS.length)
    hash.update(left < ZEROS.length ? ZEROS.subarray(0, left) : ZEROS);
  const digest = hash.digest();
  if (wrongSizes(1, lengthBytes) === undefined) known.set(lengthBytes, digest);
  return digest;
}
