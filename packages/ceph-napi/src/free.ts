// What librados allocated for its caller, given back.
import { librados } from './library.ts';

const bufferFree = librados('void rados_buffer_free(char *buf)');

/** Null is nothing to free. Implements: rados_buffer_free */
export function freeBuffer(pointer: bigint): void {
  if (pointer !== 0n) bufferFree.call(pointer);
}
