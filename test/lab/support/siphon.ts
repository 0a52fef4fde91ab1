// siphon as installed in this host, as an operator calls it.

import assert from 'node:assert/strict';
import { must, type Ran, run, sh, until } from './host.ts';

/** Runs `siphon ARGS…`; never throws for an exit code. */
export const siphon = (...args: readonly string[]): Promise<Ran> =>
  run('/usr/bin/siphon', args, { seconds: 180 });

/** Runs `siphon ARGS… --json`, which must succeed, and gives what it printed. */
export async function siphonJson<T>(...args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await siphon(...args, '--json');
  assert.equal(code, 0, `siphon ${args.join(' ')}: ${code}\n${stderr}`);
  return JSON.parse(stdout) as T;
}

/** siphond's main process. */
export const siphondPid = async (): Promise<number> =>
  Number(await must('systemctl', 'show', '-P', 'MainPID', 'siphond.service'));

/** The processes that siphond started for fills. */
export async function fillWorkers(): Promise<number[]> {
  const { stdout } = await run('pgrep', ['-f', 'worker.mjs fill']);
  return stdout.split('\n').filter(Boolean).map(Number);
}

/** Waits until siphond answers. */
export const answering = (): Promise<true> =>
  until(
    'siphond answers',
    async () => ((await siphon('status')).code === 0 ? true : undefined),
    90,
  );

/** All that stands under the bases' folder, partial files too, and not what failed its check; paths relative to it. */
export async function filesOfBases(): Promise<string[]> {
  const text = await sh(
    "find /var/lib/siphon/bases-rw -name .quarantine -prune -o -type f -printf '%P\\n'",
  );
  return text.split('\n').filter(Boolean).toSorted();
}
