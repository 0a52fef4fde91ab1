// A pause: what it refuses, in words that say how to end it.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decideWork, pausablesOf } from '../../../src/wire/pause.ts';

describe('work that is to begin', () => {
  const sinceMs = Date.UTC(2026, 10, 20, 23, 15, 7, 250);

  it('goes where nothing, or something else, is paused', () => {
    assert.deepEqual(decideWork([], 'fills'), { kind: 'go' });
    assert.deepEqual(decideWork([{ work: 'snapshots', sinceMs }], 'fills'), { kind: 'go' });
  });

  it('is refused where it is paused, with since when, by whom, and what to type', () => {
    assert.deepEqual(decideWork([{ work: 'fills', sinceMs, claimedBy: 'alice' }], 'fills'), {
      kind: 'refuse',
      why: 'paused: fills have been paused by alice since 2026-11-20T23:15:07Z',
      hint: 'To end the pause: siphon resume fills',
    });
  });

  it('is named by one word, or by all', () => {
    assert.deepEqual(pausablesOf('fills'), ['fills']);
    assert.deepEqual(pausablesOf('all'), ['fills', 'snapshots']);
  });
});
