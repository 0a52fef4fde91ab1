// What librbd and the filesystem answer, as operating errors.

import { CephError, LibraryError } from 'ceph-napi';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';

/** Runs one call of librados or librbd; what it throws is named by `op` and `subject`. */
export async function withCeph<T>(op: string, subject: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof CephError) {
      throw new OperatingError({ code: codeOfErrno(cause.errno), op, subject, cause });
    }
    if (cause instanceof LibraryError) {
      const hint = 'Install librados2 and librbd1.';
      throw new OperatingError({ code: 'unavailable', op, subject, cause, hint });
    }
    throw cause;
  }
}

/** Runs one call of the filesystem on `path`. */
export async function withFile<T>(op: string, path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (!isSystemError(cause)) throw cause;
    throw new OperatingError({ code: codeOfErrno(-cause.errno), op, subject: path, cause });
  }
}

export function isSystemError(error: unknown): error is Error & { errno: number; code: string } {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).errno === 'number';
}

export function cancelled(subject: string): OperatingError {
  return new OperatingError({ code: 'cancelled', op: 'export', subject });
}
