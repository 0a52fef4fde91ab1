// The one error class of operating errors, and the one table that says what each code means to whom.

/** One row a code. `retry`: whether the same call may succeed later by itself. `http`, `exit`: its faces outside. */
export const ERROR_TABLE = {
  usage: { retry: 'never', http: 400, exit: 2, means: 'the request itself is wrong' },
  'not-found': { retry: 'never', http: 404, exit: 4, means: 'it is proved not to be there' },
  refused: { retry: 'never', http: 409, exit: 5, means: 'a policy or a rule said no' },
  busy: { retry: 'later', http: 423, exit: 6, means: 'something else is using it' },
  unavailable: {
    retry: 'later',
    http: 503,
    exit: 7,
    means: 'could not tell: timeout, or a part is down',
  },
  exhausted: {
    retry: 'later',
    http: 507,
    exit: 8,
    means: 'no space, or a limit would be exceeded',
  },
  corrupt: { retry: 'never', http: 422, exit: 9, means: 'bytes are not what they must be' },
  mismatch: { retry: 'never', http: 412, exit: 10, means: 'it is not the thing that was meant' },
  cancelled: { retry: 'now', http: 499, exit: 11, means: 'the caller or a deadline ended it' },
  denied: { retry: 'never', http: 403, exit: 12, means: 'this user may not do that' },
} as const satisfies Record<string, ErrorRow>;

interface ErrorRow {
  readonly retry: 'never' | 'later' | 'now';
  readonly http: number;
  readonly exit: number;
  readonly means: string;
}

export type ErrorCode = keyof typeof ERROR_TABLE;

export interface OperatingErrorFields {
  readonly code: ErrorCode;
  /** What was being done, verb first: 'open image', 'warm'. */
  readonly op: string;
  /** What it was done to: 'images/base@snap'. */
  readonly subject: string;
  /** Why, in the words of the cause where there are any. */
  readonly why?: string;
  /** What to do about it, one sentence for an operator. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** What crosses a process boundary. */
export interface WireError {
  readonly code: ErrorCode;
  readonly op: string;
  readonly subject: string;
  readonly why?: string;
  readonly hint?: string;
}

/** An operating error: the world's fault, not the program's. Its message reads `op: subject: why`. */
export class OperatingError extends Error {
  override readonly name = 'OperatingError';
  readonly code: ErrorCode;
  readonly op: string;
  readonly subject: string;
  readonly why: string;
  readonly hint: string | undefined;

  constructor(fields: OperatingErrorFields) {
    const why = fields.why ?? causeText(fields.cause) ?? ERROR_TABLE[fields.code].means;
    super(`${fields.op}: ${fields.subject}: ${why}`, { cause: fields.cause });
    this.code = fields.code;
    this.op = fields.op;
    this.subject = fields.subject;
    this.why = why;
    this.hint = fields.hint;
  }

  toWire(): WireError {
    const { code, op, subject, why, hint } = this;
    return hint === undefined ? { code, op, subject, why } : { code, op, subject, why, hint };
  }
}

/** Back from {@link OperatingError.toWire}. An unknown code (a newer peer's) becomes `unavailable`. */
export function fromWire(error: WireError): OperatingError {
  return new OperatingError({
    ...error,
    code: error.code in ERROR_TABLE ? error.code : 'unavailable',
  });
}

function causeText(cause: unknown): string | undefined {
  return cause instanceof Error ? cause.message : undefined;
}

/** Linux errno (asm-generic/errno*.h) to code: the only translation of errno there is. */
const ERRNO_CODES: Readonly<Record<number, ErrorCode>> = {
  1: 'denied', // EPERM
  2: 'not-found', // ENOENT
  5: 'unavailable', // EIO
  11: 'busy', // EAGAIN
  13: 'denied', // EACCES
  16: 'busy', // EBUSY
  17: 'refused', // EEXIST
  22: 'usage', // EINVAL
  28: 'exhausted', // ENOSPC
  30: 'busy', // EROFS: librbd's word for a lock that another client keeps
  39: 'busy', // ENOTEMPTY: an image that still has snapshots
  95: 'refused', // EOPNOTSUPP
  108: 'unavailable', // ESHUTDOWN: this client was blocklisted
  110: 'unavailable', // ETIMEDOUT
  122: 'exhausted', // EDQUOT
};

/** The code for a positive errno; whatever is not in the table could not be told. */
export function codeOfErrno(errno: number): ErrorCode {
  return ERRNO_CODES[errno] ?? 'unavailable';
}
