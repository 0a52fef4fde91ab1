// Armed snapshots where three monitors must agree on each commit: in a lab of its own, since it stops two of them.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { after, test } from 'node:test';

const project = path.join(import.meta.dirname, '../..');
const dir = `/run/siphon-lab/armed-${process.pid}`;

/** Its output is this test's own: what was measured is read there. */
function lab(...args: readonly string[]): void {
  const argv = [path.join(project, 'scripts/lab.sh'), ...args];
  const { status } = spawnSync('bash', argv, { stdio: 'inherit', timeout: 280_000 });
  assert.equal(status, 0, args.join(' '));
}

after(() => lab('down', '--dir', dir));

test('three monitors', () => {
  lab('up', '--mons', '3', '--dir', dir);
  const soak = `SIPHON_SOAK=${process.env['SIPHON_SOAK'] ?? ''}`;
  const program = [process.execPath, '--test', '--test-timeout=200000'];
  const file = path.join(project, 'test/lab/armed/quorum.ts');
  lab('exec', 'h1', '--dir', dir, '--', 'env', soak, ...program, file);
});
