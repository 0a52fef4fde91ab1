// A root shell in the tiny guest, on its serial console.

import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { until } from './host.ts';
import type { Cleanup } from './images.ts';

/** Where the console of a guest of this name is, for `Guest.console`. */
export const consolePath = (name: string): string => `/run/${name}.console`;

export interface GuestShell {
  /** Runs a line of shell in the guest, and gives what it printed. */
  run(line: string, seconds?: number): Promise<string>;
  /** Hears what is printed, as it comes. */
  listen(listener: (text: string) => void): void;
}

/** Connects to the console of a guest that runs, until the test has ended. */
export async function guestShell(t: Cleanup, path: string): Promise<GuestShell> {
  const socket = connect({ path });
  t.after(async () => {
    socket.destroy();
    await rm(path, { force: true });
  });
  let said = '';
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => (said += text));
  socket.on('error', (error) => (said += `\n[${error.message}]`));
  let count = 0;
  const run = async (line: string, seconds = 30) => {
    const number = (count += 1);
    const from = said.length;
    // The terminal echoes the line, broken where it likes: the marks are put together in the guest only.
    socket.write(`echo "<"${number}; ${line}; echo ${number}">"\n`);
    const printed = await until(
      `the guest has run ${line}`,
      () => new RegExp(`<${number}\r?\n([^]*)${number}>`).exec(said.slice(from))?.[1],
      seconds,
    );
    return printed.replaceAll('\r', '').trim();
  };
  const answers = async () => (await run('echo here', 5).catch(() => '')).includes('here');
  await until('a shell answers', answers, 90);
  const listen = (listener: (text: string) => void) => void socket.on('data', listener);
  return { run, listen };
}
