// How suspect bases are told: many that one revocation reached are one problem.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { suspectProblems } from '../../../src/sidecar/suspects.ts';
import type { Suspicion } from '../../../src/wire/vocabulary.ts';

const base = (image: string, suspicion?: Suspicion) => ({
  state: suspicion === undefined ? ('ready' as const) : ('suspect' as const),
  path: `/bases/${image}`,
  name: { pool: 'p', namespace: '', image, snap: 's' },
  ...(suspicion && { suspicion }),
});
const REVOKED: Suspicion = { of: 'revoked', why: 'key 12 was revoked' };

test('bases that one revocation reached are one problem, and damaged ones one each', () => {
  const revoked = ['a', 'b', 'c', 'd', 'e'].map((image) => base(image, REVOKED));
  const damaged = base('x', { of: 'bytes', why: 'its file has 3 bytes' });
  const [first, second, ...more] = suspectProblems([base('good'), damaged, ...revoked]);
  assert.equal(first?.where, '/bases/x');
  assert.match(first.what, /do not agree \(its file has 3 bytes\)/);
  assert.equal(second?.where, 'trust');
  assert.match(second.what, /^5 bases are suspect: key 12 was revoked: rbd:p\/a@s, .* and 2 more$/);
  assert.deepEqual(more, []);
  const [one] = suspectProblems([base('a', REVOKED)]);
  assert.match(one?.what ?? '', /^1 base is suspect: .*: rbd:p\/a@s$/);
});
