// What the hook's filter is told before it asks: the budget of a whole answer to `prepare`. A siphond that stops in mid-answer
// then costs a start this much, not the filter's own, longer bound.

import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';

/**
 * Whole seconds, as a file's name in `bound/` beside the hook's socket: the filter, which is root, looks whether it is there, and
 * opens nothing that is not root's. @throws OperatingError
 */
export async function tellHookBound(hookSocket: string, fillWaitMs: number): Promise<void> {
  const folder = path.join(path.dirname(hookSocket), 'bound');
  const seconds = String(Math.max(1, Math.ceil(fillWaitMs / 1000)));
  try {
    await mkdir(folder, { recursive: true, mode: 0o755 });
    await writeFile(path.join(folder, seconds), '');
    for (const name of await readdir(folder))
      if (name !== seconds) await rm(path.join(folder, name), { recursive: true });
  } catch (cause) {
    const code = codeOfErrno(-((cause as NodeJS.ErrnoException).errno ?? 0));
    throw new OperatingError({ code, op: 'tell the hook its bound', subject: folder, cause });
  }
}
