import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { rowsOf, sectionOf } from '../../../scripts/bindings-table.ts';
import { bindings } from '../src/index.ts';

test('the table has every function that is bound, and who calls it', () => {
  const rows = rowsOf('ceph-napi');
  const bound = [...bindings().values()].filter((each) => each.library !== 'libc');
  assert.deepEqual(
    rows.map((row) => row.prototype).toSorted(),
    bound.map((each) => each.prototype).toSorted(),
  );
  assert.deepEqual(
    rows.filter((row) => row.callers.length === 0).map((row) => row.symbol),
    [],
  );
  const open = rows.find((row) => row.symbol === 'rados_watch3');
  assert.deepEqual(open?.callers, ['watch.ts: ObjectWatch.open']);
});

test('docs/bindings.md is up to date: node scripts/bindings-table.ts', () => {
  const page = readFileSync(new URL('../../../docs/bindings.md', import.meta.url), 'utf8');
  assert(page.includes(sectionOf('ceph-napi')));
});
