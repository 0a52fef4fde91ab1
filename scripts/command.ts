// Commands on this machine and labs of their own, for the scripts that npm runs.

import { spawn } from 'node:child_process';
import path from 'node:path';

export const ROOT = path.join(import.meta.dirname, '..');

/**
 * Runs a command with this terminal (or what it prints to a descriptor) and the project's own Node first; gives its exit code.
 * After `seconds` it is killed with all that it started, and the code is 124.
 */
export function command(
  argv: readonly string[],
  seconds: number,
  env: NodeJS.ProcessEnv = {},
  output: 'inherit' | number = 'inherit',
): Promise<number> {
  return new Promise((resolve, reject) => {
    const PATH = `${ROOT}/node_modules/.bin:${process.env['PATH']}`;
    const child = spawn(argv[0] ?? '', argv.slice(1), {
      cwd: ROOT,
      env: { ...process.env, PATH, ...env },
      stdio: ['ignore', output, output],
      detached: true,
    });
    let isLate = false;
    const end = (signal: NodeJS.Signals) => process.kill(-(child.pid ?? 0), signal);
    const interrupt = () => end('SIGINT'); // Ctrl-C ends the command; what stands around it still cleans up
    process.on('SIGINT', interrupt);
    process.on('SIGTERM', interrupt);
    const timer = setTimeout(() => {
      isLate = true;
      console.error(`over ${seconds} s, ended: ${argv.join(' ').slice(0, 200)}`);
      end('SIGKILL');
    }, seconds * 1000);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', interrupt);
      resolve(isLate ? 124 : (code ?? 1));
    });
  });
}

export interface Lab extends AsyncDisposable {
  /** h1 and so on. */
  readonly hosts: readonly string[];
  /** Runs a command in a host of the lab, the first one where it is not said. */
  exec(
    argv: readonly string[],
    seconds: number,
    env?: Readonly<Record<string, string>>,
    host?: string,
  ): Promise<number>;
}

/**
 * A lab of one host of each of the releases for this run, gone when it is disposed of; all of it prints to `output`.
 * @throws Error if it does not come up.
 */
export async function labFor(
  purpose: string,
  releases = ['trixie'] as readonly string[],
  output: 'inherit' | number = 'inherit',
): Promise<Lab> {
  const dir = `/run/siphon-lab/${purpose}-${process.pid}`;
  const lab = (verb: string, ...more: readonly string[]) => [
    'bash',
    'scripts/lab.sh',
    verb,
    ...more,
  ];
  const shape = ['--hosts', String(releases.length), '--release', releases.join(',')];
  const down = () => command(lab('down', '--dir', dir), 60, {}, output);
  if ((await command(lab('up', ...shape, '--dir', dir), 600, {}, output)) !== 0) {
    await down();
    throw new Error('the lab did not come up');
  }
  return {
    hosts: releases.map((_, index) => `h${index + 1}`),
    exec: (argv, seconds, env = {}, host = 'h1') => {
      // A host has an environment of its own.
      const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      const inHost = lab('exec', host, '--dir', dir, '--', 'env', ...settings, ...argv);
      return command(inHost, seconds, {}, output);
    },
    [Symbol.asyncDispose]: async () => {
      if ((await down()) !== 0) process.exitCode = 1;
    },
  };
}
