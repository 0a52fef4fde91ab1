// Tables: whole where there is room; else the least important columns go, and never those that a next command needs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { baseColumn, table } from '../../../src/cli/output.ts';

const COLUMNS = [
  { head: 'SOURCE' },
  { head: 'STATE', drop: 1 },
  { head: 'WHY', drop: 2, isCut: true },
  { head: 'BASE', drop: 3 },
];
const ROWS = [
  ['rbd:images/a@s', 'ready', 'the overlay /some/where refers to it', 'f'.repeat(50)],
  ['rbd:images/longer-name@s', 'filling', '', 'e'.repeat(50)],
];

test('all columns where they fit, each as wide as its widest cell', () => {
  const lines = table(COLUMNS, ROWS, Number.POSITIVE_INFINITY).split('\n');
  assert.equal(
    lines[0],
    'SOURCE                    STATE    WHY                                   BASE',
  );
  assert.match(lines[2] ?? '', /^rbd:images\/longer-name@s {2}filling {40}e{50}$/);
});

test('the highest goes first; a text is cut before it goes; what has no rank stays', () => {
  assert.match(table(COLUMNS, ROWS, 80), /refers to it$/m);
  assert.doesNotMatch(table(COLUMNS, ROWS, 80), /BASE/);
  assert.match(table(COLUMNS, ROWS, 60), /ready {4}the overlay \/some\/where …$/m);
  assert.doesNotMatch(table(COLUMNS, ROWS, 40), /WHY/);
  assert.equal(table(COLUMNS, ROWS, 5), 'SOURCE\nrbd:images/a@s\nrbd:images/longer-name@s');
});

test('no line is wider than the terminal, unless what must stay is', () => {
  const cell = fc.string({ unit: fc.constantFrom('a', 'b', ' '), maxLength: 60 });
  const rows = fc.array(fc.tuple(cell, cell, cell, cell), { maxLength: 5 });
  fc.assert(
    fc.property(rows, fc.integer({ min: 1, max: 200 }), (cells, width) => {
      const must = Math.max('SOURCE'.length, ...cells.map(([source]) => source.length));
      for (const line of table(COLUMNS, cells, width).split('\n'))
        assert.ok(line.length <= Math.max(width, must), line);
    }),
  );
});

test('ids of bases stay where two have one name', () => {
  assert.equal(baseColumn(['a', 'b'], 7).drop, 7);
  assert.equal(baseColumn(['a', 'a'], 7).drop, undefined);
});
