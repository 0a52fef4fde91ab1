// Files of the command's own user: what the system says of them, as operating errors.

import { codeOfErrno, OperatingError } from '../../wire/errors.ts';

export async function withFile<T>(op: string, subject: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    const { errno } = cause as NodeJS.ErrnoException;
    if (!(cause instanceof Error) || typeof errno !== 'number') throw cause;
    throw new OperatingError({ code: codeOfErrno(-errno), op, subject, cause });
  }
}
