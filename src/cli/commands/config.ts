// siphon config check, reload: the config on disk, and siphond's taking it up. The check is siphond's own, run without one:
// it must work while siphond is down.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { CONFIG_PATH, type ReloadAnswer } from '../../wire/api.ts';
import { fromWire, OperatingError, type WireError } from '../../wire/errors.ts';
import { createClient } from '../client.ts';
import { print, printJson } from '../output.ts';

interface Options {
  readonly json?: true;
}

export function addConfig(program: Command): void {
  program
    .command('config')
    .description('the configuration')
    .command('check')
    .description('tell every mistake in the configuration, or that there is none')
    .argument('[FILE]', 'the main file; the files of the conf.d beside it count too', CONFIG_PATH)
    .option('--json', 'print JSON')
    .action(check);
  program
    .command('reload')
    .description('let siphond take up the configuration as it is now')
    .option('--json', 'print JSON')
    .action(reload);
}

const CHECK_MS_MAX = 30_000;

async function check(file: string, { json }: Options): Promise<void> {
  const args = ['--check-config', path.resolve(file), ...(json ? ['--json'] : [])];
  await runSiphond('check config', file, args);
}

/** Runs siphond's entry point for a look of its own; its output and exit code are ours. */
export async function runSiphond(
  op: string,
  subject: string,
  args: readonly string[],
): Promise<void> {
  const argv = [siphondEntry(), ...args];
  const child = spawn(process.execPath, argv, { stdio: 'inherit', timeout: CHECK_MS_MAX });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code === null) {
    const why = `siphond's check did not end within ${CHECK_MS_MAX / 1000} s`;
    throw new OperatingError({ code: 'unavailable', op, subject, why });
  }
  process.exitCode = code;
}

/** Runs it for an answer, which it prints as JSON; an error too. @throws OperatingError */
export async function askSiphond<T>(
  op: string,
  subject: string,
  args: readonly string[],
): Promise<T> {
  const child = spawn(process.execPath, [siphondEntry(), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: CHECK_MS_MAX,
  });
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit').then(([exit]) => exit as number | null),
  ]);
  if (code === 0) return JSON.parse(stdout) as T;
  const said = code === null ? undefined : errorIn(stderr);
  if (said !== undefined) throw fromWire(said);
  throw new OperatingError({ code: 'unavailable', op, subject, why: stderr.trim() || 'no answer' });
}

function errorIn(stderr: string): WireError | undefined {
  try {
    return (JSON.parse(stderr) as { readonly error: WireError }).error;
  } catch {
    return undefined; // it ended for a reason of Node's own
  }
}

/** Beside this file's bundle where it is bundled, else in its room's sources. */
function siphondEntry(): string {
  const isBundled = !import.meta.url.endsWith('.ts');
  const entry = isBundled ? './siphond.mjs' : '../../sidecar/main.ts';
  return fileURLToPath(new URL(entry, import.meta.url));
}

async function reload({ json }: Options): Promise<void> {
  const answer = await createClient().post<ReloadAnswer>('/v1/reload', {});
  if (json) return printJson(answer);
  const { applied, needsRestart } = answer;
  print(applied.length === 0 ? 'Nothing to apply.' : `Applied: ${applied.join(', ')}.`);
  if (needsRestart.length > 0)
    print(`Waits for \`systemctl restart siphond\`: ${needsRestart.join(', ')}.`);
}
