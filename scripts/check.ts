// npm run check: types, lint, format and structure, side by side; fails if any does. Under 30 seconds.

import { spawn } from 'node:child_process';
import path from 'node:path';

const ROOT = path.join(import.meta.dirname, '..');
const CHECKS: readonly (readonly [string, ...string[]])[] = [
  ['tsc', '--noEmit'],
  ['oxlint', '--type-aware', '--deny-warnings'],
  ['biome', 'check', '--error-on-warnings'],
  ['node', '--test', '--test-reporter=dot', 'test/unit/structure.test.ts'],
];

/** Runs one check to its end and gives its output; the exit code decides. */
function run([command, ...args]: readonly [string, ...string[]]) {
  return new Promise<{ name: string; code: number; output: string }>((resolve, reject) => {
    const PATH = `${ROOT}/node_modules/.bin:${process.env['PATH']}`;
    const child = spawn(command, args, { cwd: ROOT, env: { ...process.env, PATH } });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) =>
      resolve({ name: [command, ...args].join(' '), code: code ?? 1, output }),
    );
  });
}

const results = await Promise.all(CHECKS.map(run));
for (const { name, code, output } of results) {
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name}`);
  if (code !== 0) console.log(output);
}
process.exitCode = results.every((one) => one.code === 0) ? 0 : 1;
