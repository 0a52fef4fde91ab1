// Memory that C writes into, and what it wrote. Everything here lies in an ArrayBuffer of its own, off the JavaScript heap, where
// no garbage collection moves it.
import assert from 'node:assert/strict';
import koffi from 'koffi';
import { CephError, errno } from './errors.ts';

/** Room for `count` 64-bit values or pointers, zeroed. */
export function words(count = 1): BigUint64Array {
  return new BigUint64Array(new ArrayBuffer(count * 8));
}

/** Room for `count` ints, zeroed. */
export function ints(count = 1): Int32Array {
  return new Int32Array(new ArrayBuffer(count * 4));
}

/** Room for `size` bytes, zeroed. */
export function bytes(size: number): Buffer {
  return Buffer.from(new ArrayBuffer(size));
}

/**
 * `size` bytes that threads can share, zeroed, beginning at a multiple of `alignment` (a power of two): what O_DIRECT asks of a buffer that is
 * read into from the cluster and then written to a disk.
 */
export function alignedShared(size: number, alignment = 4096): Buffer<SharedArrayBuffer> {
  const memory = new SharedArrayBuffer(size + alignment);
  const start = Number(-koffi.address(Buffer.from(memory)) & BigInt(alignment - 1));
  return Buffer.from(memory, start, size);
}

/** Reads word `index`: a size, an id or a pointer's value. */
export function word(from: BigUint64Array, index = 0): bigint {
  const value = from[index];
  assert(value !== undefined);
  return value;
}

/** A size or id of C as a number. Throws RangeError where a number could not hold it exactly. */
export function safeInteger(value: bigint | number, what: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new RangeError(`${what} ${value} is beyond 2^53`);
  return number;
}

/** Refuses, before C, what is not a size, an offset or an id. */
export function assertSize(value: number, what: string): void {
  assert(
    Number.isSafeInteger(value) && value >= 0,
    `${what} must be a whole number from 0: ${value}`,
  );
}

/** Refuses memory that could go away under C. Asking a small view for its buffer moves it off the JavaScript heap, for good. */
export function assertSteady(view: ArrayBufferView): void {
  const { buffer } = view;
  const resizable = buffer instanceof SharedArrayBuffer ? buffer.growable : buffer.resizable;
  assert(!resizable, 'memory for C must not be resizable');
}

/** The text up to the first NUL. */
export function textOf(buffer: Buffer): string {
  const end = buffer.indexOf(0);
  return buffer.toString('utf8', 0, end < 0 ? buffer.length : end);
}

/** The texts of a buffer in which NUL ends each. */
export function textsOf(buffer: Buffer): string[] {
  const all = buffer.toString('utf8').split('\0');
  all.pop();
  return all;
}

/** The text that a `char *` points to. */
export function textAt(pointer: bigint): string {
  return koffi.decode.string(pointer);
}

/** A copy of `length` bytes at `pointer`, which may be null when there are none. */
export function bytesAt(pointer: bigint, length: number): Buffer {
  return length === 0
    ? Buffer.alloc(0)
    : Buffer.from(koffi.decode(pointer, 'uint8_t', length) as Uint8Array);
}

/** A copy of `count` 64-bit values at `pointer`, which may be null when there are none. */
export function wordsAt(pointer: bigint, count: number): BigUint64Array {
  const copy = bytesAt(pointer, count * 8);
  const values = words(count);
  for (let index = 0; index < count; index += 1) values[index] = copy.readBigUInt64LE(index * 8);
  return values;
}

const owners = new WeakMap<BigUint64Array, readonly Uint8Array[]>();

/** An array of pointers to `parts`, which live as long as it does. */
export function pointersTo(parts: readonly Uint8Array[]): BigUint64Array {
  const own = parts.map((part) => Buffer.concat([part, Buffer.alloc(1)])).map(offHeap);
  const pointers = words(parts.length);
  own.forEach((part, index) => {
    pointers[index] = koffi.address(part);
  });
  owners.set(pointers, own);
  return pointers;
}

/** The lengths of `parts` as an array of size_t. */
export function lengthsOf(parts: readonly Uint8Array[]): BigUint64Array {
  const lengths = words(parts.length);
  parts.forEach((part, index) => {
    lengths[index] = BigInt(part.length);
  });
  return lengths;
}

/** One answer of a call that may find its room too small: its result, and how much room it wants now. */
export interface Sized {
  readonly result: number;
  readonly wanted: number;
}

/**
 * Calls `attempt` with growing room until it no longer answers ERANGE: what the C calls that fill a buffer of the caller's ask for. Room
 * doubles where the call does not say what it wants. What is listed may grow meanwhile, so it is tried again, up to `limit`.
 */
export async function withRoom<T extends Sized>(
  call: string,
  first: number,
  attempt: (room: number) => Promise<T>,
  limit = 1 << 26,
): Promise<T> {
  let room = first;
  for (;;) {
    const answer = await attempt(room);
    if (answer.result !== -errno.ERANGE) return answer;
    if (room >= limit) throw new CephError(errno.ERANGE, call);
    room = Math.min(limit, answer.wanted > room ? answer.wanted : room * 2);
  }
}

function offHeap(part: Uint8Array): Buffer {
  const own = bytes(part.length);
  own.set(part);
  return own;
}
