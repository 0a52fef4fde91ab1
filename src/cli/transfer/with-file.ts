// Files of the command's own user: what the system says of them, as operating errors.

import { write } from 'node:fs';
import { promisify } from 'node:util';
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

const writeSome = promisify(write);

/** All of it, to a pipe that may be slow. @throws OperatingError: its reader is gone */
export async function writeAll(fd: number, bytes: Buffer): Promise<void> {
  await withFile('write', 'standard output', async () => {
    for (let done = 0; done < bytes.length; ) {
      done += (await writeSome(fd, bytes, done, bytes.length - done, null)).bytesWritten;
    }
  });
}
