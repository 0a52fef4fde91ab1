import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseNewest } from '../../../../src/snapshot/verify/choose.ts';
import type { SetState } from '../../../../src/wire/api.ts';
import type { Proof } from '../../../../src/wire/verify-api.ts';
import type { SnapshotSet } from '../../../../src/wire/vocabulary.ts';

function setOf(
  id: string,
  domain: string,
  createdAtMs: number,
  more: { readonly triedAtMs?: number; readonly state?: SetState } = {},
) {
  const { triedAtMs, state = 'complete' } = more;
  const proof = triedAtMs === undefined ? {} : { proof: { atMs: triedAtMs } as Proof };
  const of = { id, domainUuid: `uuid-${domain}`, domainName: domain, createdAtMs };
  return { ...of, ...proof, state } as SnapshotSet & { state: SetState };
}

const SETS = [
  setOf('a1', 'a', 1, { triedAtMs: 50 }),
  setOf('a2', 'a', 2),
  setOf('b1', 'b', 9, { triedAtMs: 40 }),
  setOf('c1', 'c', 1),
  setOf('c2', 'c', 5, { state: 'deleting' }),
  setOf('d1', 'd', 3, { state: 'taking' }),
];
const chosen = (...asked: [string[], number]) =>
  chooseNewest(SETS, ...asked).map(({ decision, set }) => `${decision} ${set}`);

test('of each domain its newest complete set; first what was never tried, then the longest ago', () => {
  assert.deepEqual(chosen([], 1), ['now c1', 'later b1', 'later a2']);
  assert.deepEqual(chosen([], 9), ['now c1', 'now b1', 'now a2']);
});

test('only the domains asked for, by name or UUID', () => {
  assert.deepEqual(chosen(['a', 'UUID-B'], 1), ['now b1', 'later a2']);
  assert.deepEqual(chosen(['d', 'nobody'], 5), []);
});

test('each says why', () => {
  const whys = chooseNewest(SETS, [], 1).map(({ domain, why }) => `${domain}: ${why}`);
  assert.match(whys[0] ?? '', /^c: no set of it was tried yet/);
  assert.match(whys[2] ?? '', /^a: a set of it was tried last at 1970-01-01T00:00:00\.050Z/);
});
