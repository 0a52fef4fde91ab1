// The one host of a lab of its own, driven from outside.

import assert from 'node:assert/strict';
import path from 'node:path';
import { type Ran, run } from '../../lab/support/host.ts';

export const PROJECT = path.join(import.meta.dirname, '../../..');

export interface LabHost {
  up(): Promise<void>;
  down(): Promise<void>;
  /** A script in /root; never throws for an exit code. */
  try(script: string): Promise<Ran>;
  /** A script that must succeed; gives its standard output. */
  must(script: string): Promise<string>;
}

/** @param release Debian's; the default is the one that is tested. */
export function labHost(
  purpose: string,
  release = process.env['SIPHON_LAB_RELEASE'] ?? 'trixie',
): LabHost {
  const dir = `/run/siphon-lab/${purpose}-${process.pid}`;
  const lab = (seconds: number, ...args: readonly string[]): Promise<Ran> =>
    run('bash', [`${PROJECT}/scripts/lab.sh`, ...args], { seconds });
  const tryIn = (script: string) =>
    lab(
      90,
      'exec',
      'h1',
      '--dir',
      dir,
      '--',
      'bash',
      '--norc',
      '-euo',
      'pipefail',
      '-c',
      `cd\n${script}`,
    );
  return {
    async up() {
      const { code, stderr } = await lab(300, 'up', '--dir', dir, '--release', release);
      assert.equal(code, 0, stderr);
    },
    async down() {
      await lab(60, 'down', '--dir', dir);
    },
    try: tryIn,
    async must(script) {
      const { code, stdout, stderr } = await tryIn(script);
      assert.equal(code, 0, `${release}: ${script}: ${code}\n${stderr}${stdout}`);
      return stdout.trim();
    },
  };
}
