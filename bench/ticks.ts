// Signs of life of a guest: its own clock stands while it is suspended, so it prints ticks, and the host times them.

import type { Cleanup } from '../test/lab/support/images.ts';
import { guestShell } from '../test/lab/support/shell.ts';

/** The longest time without a tick while something is done, in ms. */
export type LongestDuring = (work: () => Promise<unknown>) => Promise<number>;

/** Of a guest that runs, by its console, which is a shell. */
export async function tickingGuest(cleanup: Cleanup, console: string): Promise<LongestDuring> {
  const shell = await guestShell(cleanup, console);
  let [lastMs, longestMs] = [0, 0];
  shell.listen(() => {
    const nowMs = performance.now();
    longestMs = Math.max(longestMs, nowMs - lastMs);
    lastMs = nowMs;
  });
  await shell.run('(while :; do echo .; usleep 5000; done) & :');
  return async (work) => {
    longestMs = 0;
    await work();
    return longestMs;
  };
}
