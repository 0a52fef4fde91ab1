// Rounds of open, read, close: 300, or the full 10,000 where SIPHON_SOAK is 1. They run in a process whose freed memory is overwritten
// (MALLOC_PERTURB_, mallopt(3)), so that whoever still uses it dies.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const rounds = process.env['SIPHON_SOAK'] === '1' ? 10_000 : 300;

test(`${rounds} rounds of open, read, close leave no descriptor, no memory, and nobody who uses it`, async () => {
  const argv = [path.join(import.meta.dirname, 'soak-rounds.ts'), String(rounds)];
  const env = { ...process.env, MALLOC_PERTURB_: '165' };
  const { stdout } = await promisify(execFile)(process.execPath, argv, { env, timeout: 280_000 });
  assert.equal(stdout, 'done\n');
});
