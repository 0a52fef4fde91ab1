// libvirt's lifecycle events, as a policy names them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isOfMigration, LIFECYCLE_EVENTS, STOPPED_DETAILS } from 'node-libvirt';
import { happenedOf } from '../../../src/snapshot/happened.ts';

const told = (event: string, more: object = {}) =>
  happenedOf({ what: 'lifecycle', uuid: 'u', name: 'n', event, ...more });

test('starts and stops are events of their own, the others go by their names, and what no policy names is nothing', () => {
  assert.deepEqual(told('started'), { event: 'started' });
  assert.deepEqual(told('stopped', { reason: 'crashed' }), { event: 'stopped', reason: 'crashed' });
  assert.deepEqual(told('suspended'), { event: 'lifecycle', lifecycle: 'suspended' });
  assert.equal(told('undefined'), undefined);
});

test('a domain that moves neither starts nor stops', () => {
  for (const event of LIFECYCLE_EVENTS) assert.equal(told(event, { isMove: true }), undefined);
  const moves = LIFECYCLE_EVENTS.flatMap((event) =>
    Array.from({ length: 10 }, (_, detail) => ({ event, detail })).filter(isOfMigration),
  );
  assert.deepEqual(
    moves.map(({ event, detail }) => `${event} ${detail}`),
    [
      'started 1',
      ...[1, 7, 8].map((detail) => `suspended ${detail}`),
      ...[1, 3, 4].map((detail) => `resumed ${detail}`),
      `stopped ${STOPPED_DETAILS.indexOf('migrated')}`,
    ],
  );
});
