// The error table: faces are distinct, and an error crosses a process boundary unharmed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeOfErrno, ERROR_TABLE, fromWire, OperatingError } from '../../../src/wire/errors.ts';

test('every code has an exit code and a status of its own', () => {
  const rows = Object.values(ERROR_TABLE);
  assert.equal(new Set(rows.map((row) => row.exit)).size, rows.length);
  assert.equal(new Set(rows.map((row) => row.http)).size, rows.length);
  assert.ok(rows.every((row) => row.exit > 1 && row.http >= 400 && row.http < 600));
});

test('an error keeps its words across the wire', () => {
  const error = new OperatingError({
    code: 'not-found',
    op: 'open image',
    subject: 'images/x',
    cause: new Error('rbd_open: ENOENT'),
    hint: 'rbd ls images',
  });
  const again = fromWire(JSON.parse(JSON.stringify(error.toWire())));
  assert.equal(again.message, 'open image: images/x: rbd_open: ENOENT');
  assert.equal(again.code, 'not-found');
  assert.equal(again.hint, 'rbd ls images');
});

test('absent and could-not-tell are different', () => {
  assert.equal(codeOfErrno(2), 'not-found');
  assert.equal(codeOfErrno(110), 'unavailable');
  assert.equal(codeOfErrno(9999), 'unavailable');
});
