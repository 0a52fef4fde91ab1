// Commands in this lab host: run one, wait for a condition. Every wait has an end.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { isDeepStrictEqual } from 'node:util';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end, bounded in time (default 60 s; code 124 then). Never throws for an exit code. */
export function run(
  command: string,
  args: readonly string[],
  options: {
    readonly input?: string;
    readonly seconds?: number;
    readonly env?: NodeJS.ProcessEnv;
  } = {},
): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(
      command,
      args,
      {
        timeout: (options.seconds ?? 60) * 1000,
        killSignal: 'SIGKILL',
        maxBuffer: 256 * 1024 * 1024,
        env: { ...process.env, ...options.env },
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 124;
        resolve({ code, stdout, stderr });
      },
    );
    child.stdin?.on('error', () => {}); // a command that does not read its input
    child.stdin?.end(options.input ?? '');
  });
}

/** Runs a command that must succeed; gives its standard output without the last newline. */
export async function must(command: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, { seconds: 120 });
  assert.equal(code, 0, `${command} ${args.join(' ')}: ${code}\n${stderr}${stdout}`);
  return stdout.replace(/\n$/, '');
}

/** `bash -c` of a script that must succeed. */
export const sh = (script: string): Promise<string> =>
  must('bash', '-euo', 'pipefail', '-c', script);

/** Waits until the probe gives something that is neither undefined nor false; fails after `seconds`. */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  seconds = 60,
): Promise<T> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    assert.ok(performance.now() < end, `not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits until the probe gives what is wanted; fails after `seconds` with what it gives instead. */
export async function becomes<T>(probe: () => Promise<T>, want: T, seconds = 60): Promise<void> {
  let found: T | undefined;
  const isWanted = async () => {
    found = await probe();
    return isDeepStrictEqual(found, want);
  };
  await until('what is wanted', isWanted, seconds).catch((error: unknown) => {
    assert.deepEqual(found, want);
    throw error;
  });
}

/** The milliseconds that an action takes, with its result. */
export async function timed<T>(action: () => Promise<T>): Promise<{ ms: number; result: T }> {
  const from = performance.now();
  const result = await action();
  return { ms: performance.now() - from, result };
}
