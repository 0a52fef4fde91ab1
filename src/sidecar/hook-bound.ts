// What the hook's filter is told before it asks: how long to wait for a whole answer to `prepare`. A siphond that stops in
// mid-answer then costs a start this much, not the filter's own, longer bound.

import { rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';

/** From the end of the budget to the answer's last byte. */
const ANSWER_SECONDS = 1;

/** `prepare-bound`, whole seconds, beside the hook's socket, where the filter looks. @throws OperatingError */
export async function tellHookBound(hookSocket: string, fillWaitMs: number): Promise<void> {
  const file = path.join(path.dirname(hookSocket), 'prepare-bound');
  const seconds = Math.ceil(fillWaitMs / 1000) + ANSWER_SECONDS;
  try {
    await writeFile(`${file}.new`, `${seconds}\n`, { mode: 0o644 });
    await rename(`${file}.new`, file);
  } catch (cause) {
    const code = codeOfErrno(-((cause as NodeJS.ErrnoException).errno ?? 0));
    throw new OperatingError({ code, op: 'tell the hook its bound', subject: file, cause });
  }
}
