// The house rules that a test can hold: arrows between the rooms, sizes, purity of decisions, no dead files.

import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { factsOf, forbiddenImports } from '../support/source-facts.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const files = globSync(['src/**/*.ts', 'packages/*/src/**/*.ts'], { cwd: ROOT });
const all = files.map((file) => factsOf(file, readFileSync(path.join(ROOT, file), 'utf8')));
const others = globSync(
  ['test/**/*.ts', 'scripts/**/*.ts', 'bench/**/*.ts', 'packages/*/test/**/*.ts'],
  {
    cwd: ROOT,
  },
).map((file) => factsOf(file, readFileSync(path.join(ROOT, file), 'utf8')));

/** Run by hand, by systemd, or by package name: imported by nothing. */
const ENTRY_POINTS = [
  'src/sidecar/main.ts',
  'src/worker/main.ts',
  'src/cli/main.ts',
  'packages/ceph-napi/src/index.ts',
  'packages/node-libvirt/src/index.ts',
];

/** Decisions: functions of facts and `now`. */
const DECISIONS =
  /^src\/(wire|domain)\/|^src\/(hook|snapshot)\/(decide|events|policy|retention)|^src\/cache\/(states|admit|evict)\.ts|^src\/worker\/roles\/libvirt\/decide|^src\/trust\/(inspect|plan|verify|manifest\/)/;

test('every import follows the arrows', () => {
  assert.deepEqual(all.flatMap(forbiddenImports), []);
});

test('the check of arrows sees what it must', () => {
  const planted = factsOf(
    'src/hook/planted.ts',
    "import a from '../cache/fill.ts'; export * from 'koffi'; await import('node:fs');",
  );
  assert.equal(forbiddenImports(planted).length, 3);
});

test('no file is over 400 lines, and nine in ten are under 250', () => {
  assert.deepEqual(
    [...all, ...others].filter((one) => one.lines > 400).map((one) => one.file),
    [],
  );
  assert.ok(
    quantile(
      all.map((one) => one.lines),
      0.9,
    ) < 250,
    'the long files are too many',
  );
  assert.ok(
    quantile(
      all.map((one) => one.lines),
      0.5,
    ) < 150,
    'the middle file is too long',
  );
});

test('no function of the product is over 70 lines, and most are under 15', () => {
  const long = all.filter((one) => one.functionLines.some((lines) => lines > 70));
  assert.deepEqual(
    long.map((one) => one.file),
    [],
  );
  assert.ok(
    quantile(
      all.flatMap((one) => one.functionLines),
      0.8,
    ) <= 15,
    'functions grow long',
  );
});

test('decisions read no clock, no chance and no environment', () => {
  const impure = files
    .filter((file) => DECISIONS.test(file))
    .filter((file) =>
      /\bDate\.now\(|\bnew Date\(\)|Math\.random\(|process\.(env|hrtime)|\bperformance\.now\(/.test(
        readFileSync(path.join(ROOT, file), 'utf8'),
      ),
    );
  assert.deepEqual(impure, []);
});

test('every file of the product is imported by something', () => {
  const imported = new Set(
    [...all, ...others].flatMap((one) =>
      one.imports
        .filter((name) => name.startsWith('.'))
        .map((name) => path.join(path.dirname(one.file), name)),
    ),
  );
  const started = readFileSync(path.join(ROOT, 'scripts/build.ts'), 'utf8');
  const dead = files.filter(
    (file) => !imported.has(file) && !ENTRY_POINTS.includes(file) && !isStarted(file, started),
  );
  assert.deepEqual(dead, []);
});

/** Worker threads and other programs are started by their file's name, not imported. */
function isStarted(file: string, build: string): boolean {
  return build.includes(file);
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
}
