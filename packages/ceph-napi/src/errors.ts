// What a C call answered, as a JavaScript error. errno is turned into an error here and nowhere else.
import os from 'node:os';
import { getSystemErrorMessage } from 'node:util';

const names = new Map(Object.entries(os.constants.errno).map(([name, value]) => [value, name]));
// What Ceph answers beyond POSIX, with the meanings of asm-generic/errno.h.
names.set(85, 'ERESTART').set(108, 'ESHUTDOWN').set(117, 'EUCLEAN').set(121, 'EREMOTEIO');

/** The errno numbers that callers of this package branch on. */
export const errno = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EINVAL: 22,
  EROFS: 30,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  EOPNOTSUPP: 95,
  ENOTCONN: 107,
  /** This client is blocklisted (librados: -EBLOCKLISTED). */
  ESHUTDOWN: 108,
  ETIMEDOUT: 110,
  ECANCELED: 125,
} as const;

/** A call of librados or librbd that failed. */
export class CephError extends Error {
  override readonly name = 'CephError';
  /** The positive errno, for instance 2. */
  readonly errno: number;
  /** Its name, for instance `ENOENT`. */
  readonly code: string;
  /** The C function that answered it. */
  readonly call: string;

  /** `detail` says more: the option that was refused, the monitors' own words. */
  constructor(number: number, call: string, detail = '') {
    const code = errnoName(number);
    super(`${call}: ${code}: ${describe(number)}${detail && ` (${detail})`}`);
    this.errno = number;
    this.code = code;
    this.call = call;
  }
}

/** librados or librbd is not installed, or cannot be loaded. */
export class LibraryError extends Error {
  override readonly name = 'LibraryError';
}

/** `ENOENT` for 2; `errno 1234` for a number that nobody named. */
export function errnoName(number: number): string {
  return names.get(number) ?? `errno ${number}`;
}

/** Throws what a negative `result` says; gives any other back. */
export function check(result: number, call: string, detail = ''): number {
  if (result < 0) throw new CephError(-result, call, detail);
  return result;
}

/** Whether `error` is a CephError of this errno. */
export function isErrno(error: unknown, number: number): error is CephError {
  return error instanceof CephError && error.errno === number;
}

function describe(number: number): string {
  return number === errno.ESHUTDOWN ? 'this client is blocklisted' : getSystemErrorMessage(-number);
}
