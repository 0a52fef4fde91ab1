// What the hook's filter is told before it asks: how long to wait for a whole answer to `prepare`. A siphond that stops in
// mid-answer then costs a start this much, not the filter's own, longer bound.

import { rename, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** From the end of the budget to the answer's last byte. */
const ANSWER_SECONDS = 1;

/** `prepare-bound`, whole seconds, beside the hook's socket, where the filter looks. */
export async function tellHookBound(hookSocket: string, fillWaitMs: number): Promise<void> {
  const file = path.join(path.dirname(hookSocket), 'prepare-bound');
  const seconds = Math.ceil(fillWaitMs / 1000) + ANSWER_SECONDS;
  await writeFile(`${file}.new`, `${seconds}\n`, { mode: 0o644 });
  await rename(`${file}.new`, file);
}
