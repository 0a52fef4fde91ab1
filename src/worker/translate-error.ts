// The one translation of what native calls and the file system answer into operating errors, with the step that they were part of
// and a hint that an operator can follow. What is not known here is a defect, and is thrown on.

import { codeOfErrno, type ErrorCode, OperatingError } from '../wire/errors.ts';

/** What was being done when a native call failed. */
export interface Step {
  /** Verb first: 'open image'. */
  readonly op: string;
  readonly subject: string;
  /** Said instead of the cause's own words, for a code: `{'not-found': "there is no pool 'x'"}`. */
  readonly why?: Readonly<Partial<Record<ErrorCode, string>>>;
  /** What to do, for a code. */
  readonly hint?: Readonly<Partial<Record<ErrorCode, string>>>;
}

/** Runs one step; what it rejects with is an OperatingError or a defect. */
export async function during<T>(step: Step, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw translateError(error, step);
  }
}

/** @throws the error itself where it is no operating error, but a defect of this program. */
export function translateError(error: unknown, step: Step): OperatingError {
  if (error instanceof OperatingError) return error;
  // What `await using` makes where closing fails too: what came first says why.
  if (error instanceof SuppressedError) return translateError(error.suppressed, step);
  const { op, subject } = step;
  const code = codeOf(error);
  if (code === undefined) throw error;
  const why = step.why?.[code];
  const hint = step.hint?.[code] ?? generalHint(error);
  return new OperatingError({
    code,
    op,
    subject,
    cause: error,
    ...(why !== undefined && { why: `${why} (${messageOf(error)})` }),
    ...(hint !== undefined && { hint }),
  });
}

/** The errno of a CephError or of a file system call, positive. The class is told by its name: a role loads only its own binding. */
export function errnoOf(error: unknown): number | undefined {
  if (error instanceof OperatingError) return errnoOf(error.cause);
  if (!(error instanceof Error) || !('errno' in error) || typeof error.errno !== 'number') {
    return undefined;
  }
  return error.name === 'CephError' || 'syscall' in error ? Math.abs(error.errno) : undefined;
}

function codeOf(error: unknown): ErrorCode | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error.name === 'AbortError') return 'cancelled';
  if (error.name === 'LibraryError') return 'unavailable';
  if (error.name === 'LibvirtError' && 'code' in error) {
    return LIBVIRT_CODES[Number(error.code)] ?? 'unavailable';
  }
  const errno = errnoOf(error);
  return errno === undefined ? undefined : codeOfErrno(errno);
}

/** virErrorNumber (libvirt/virterror.h) to code; any other could not be told. */
const LIBVIRT_CODES: Readonly<Record<number, ErrorCode>> = {
  8: 'usage', // INVALID_ARG
  27: 'usage', // XML_ERROR
  29: 'denied', // OPERATION_DENIED
  42: 'not-found', // NO_DOMAIN
  45: 'denied', // AUTH_FAILED
  55: 'refused', // OPERATION_INVALID: the domain's state forbids it
  70: 'refused', // HOOK_SCRIPT_FAILED
  79: 'denied', // AUTH_CANCELLED
  87: 'busy', // RESOURCE_BUSY
  88: 'denied', // ACCESS_DENIED
};

const BLOCKLISTED = 108;

function generalHint(error: unknown): string | undefined {
  if (error instanceof Error && error.name === 'LibraryError') {
    return 'Install librados2 and librbd1, or libvirt0.';
  }
  if (errnoOf(error) !== BLOCKLISTED) return undefined;
  return 'The cluster has blocklisted this client (`ceph osd blocklist ls`); the next call connects anew.';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
