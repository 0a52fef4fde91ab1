// A root shell in the tiny guest, on its serial console.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { until } from './host.ts';

/** Where the console of a guest of this name is, for `Guest.console`. */
export const consolePath = (name: string): string => `/run/${name}.console`;

export interface GuestShell extends Disposable {
  /** Runs a line of shell in the guest, and gives what it printed. */
  run(line: string, seconds?: number): Promise<string>;
}

/** Connects to the console of a guest that runs. */
export async function guestShell(path: string): Promise<GuestShell> {
  const socket = connect({ path });
  let said = '';
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => (said += text));
  socket.on('error', (error) => (said += `\n[${error.message}]`));
  let count = 0;
  const run = async (line: string, seconds = 30) => {
    const mark = `end-${(count += 1)}`;
    const from = said.length;
    // The terminal echoes the line: the mark is put together in the guest only.
    socket.write(`${line}; echo "<"${mark}">"\n`);
    const printed = await until(
      `the guest has run ${line}`,
      () => new RegExp(`\\r?\\n([^]*)<${mark}>`).exec(said.slice(from))?.[1],
      seconds,
    );
    return printed.replaceAll('\r', '').trim();
  };
  await until('a shell answers', async () => {
    const answered = await run('echo here', 5).catch((error: unknown) => {
      assert.ok(error instanceof assert.AssertionError);
      return undefined;
    });
    return answered?.includes('here');
  });
  return { run, [Symbol.dispose]: () => void socket.destroy() };
}
