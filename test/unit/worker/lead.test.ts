import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  decideLead,
  intervalOf,
  type LeadFacts,
  MARGIN_MS,
  nextMargin,
  remember,
} from '../../../src/worker/roles/ceph/lead.ts';

const QUIET = [1001, 999, 1003];

function decide(more: Partial<LeadFacts> & { readonly ageMs?: number } = {}) {
  const { ageMs = 0, ...facts } = more;
  const tick = { isAfterCommit: true, ageMs };
  return decideLead({
    tookMs: QUIET,
    leadMs: 100,
    marginMs: 70,
    earlyTicks: 0,
    ticks: 2,
    armingMs: 2000,
    tick,
    ...facts,
  });
}

test('it waits until the lead, then goes', () => {
  assert.deepEqual(decide({ ageMs: 1 }), { kind: 'wait', waitMs: 1000 - 70 - 100 });
  const ageMs = 1001 - 70 - 100;
  assert.deepEqual(decide({ ageMs }), { kind: 'go', leftMs: 70 + 100, intervalMs: 1001 });
});

test('a tick whose lead has gone by is not the one', () => {
  assert.deepEqual(decide({ ageMs: 980 }), { kind: 'another', why: 'too-late' });
  assert.deepEqual(decide({ ageMs: 5000 }), { kind: 'another', why: 'too-late' });
});

test('nothing is foreseen without a commit before the tick, and enough ticks that agree', () => {
  const tick = { isAfterCommit: false, ageMs: 0 };
  assert.deepEqual(decide({ tick }), { kind: 'another', why: 'no-phase' });
  for (const tookMs of [[], [1001], [1001, 1002], [300, 1001, 1002], [200, 500, 1001, 1002]]) {
    assert.deepEqual(decide({ tookMs }), { kind: 'another', why: 'no-interval' });
  }
});

test('ticks that others brought back early, or load late, are outvoted', () => {
  assert.equal(intervalOf([1001, 146, 999, 706]), undefined, 'not yet');
  assert.equal(intervalOf([1001, 146, 999, 706, 1003, 1480]), 1001);
});

test('nothing is foreseen where ticks keep coming back early, for too long, or in intervals shorter than the lead', () => {
  assert.equal(decide({ earlyTicks: 7 }).kind, 'wait');
  assert.deepEqual(decide({ earlyTicks: 8 }), { kind: 'unforeseen', why: 'restless' });
  assert.deepEqual(decide({ ticks: 16 }), { kind: 'unforeseen', why: 'restless' });
  assert.deepEqual(decide({ armingMs: 15_000 }), { kind: 'unforeseen', why: 'restless' });
  assert.deepEqual(decide({ leadMs: 1000 }), { kind: 'unforeseen', why: 'lead-too-long' });
  assert.deepEqual(decide({ tookMs: [50, 51, 52] }), { kind: 'unforeseen', why: 'lead-too-long' });
});

test('a slower pace is taken up at once, a faster one when most ticks show it', () => {
  const slower = [2003, 2001, 2002].reduce<readonly number[]>(remember, QUIET);
  assert.equal(intervalOf(remember(QUIET, 2003)), undefined);
  assert.equal(intervalOf(slower), 2002);
  const fast = Array.from({ length: 9 }, () => 501);
  assert.equal(intervalOf(fast.slice(0, 2).reduce<readonly number[]>(remember, slower)), 2002);
  assert.equal(intervalOf(fast.reduce<readonly number[]>(remember, slower)), 501);
});

test('the margin grows with each commit that is missed, and shrinks slowly', () => {
  const misses = [true, true, true, true].reduce<number[]>(
    (all, isMissed) => [...all, nextMargin(all.at(-1) ?? 0, isMissed)],
    [MARGIN_MS.least],
  );
  assert.deepEqual(misses, [70, 140, 280, 300, 300]);
  assert.equal(nextMargin(300, false), 285);
  assert.equal(nextMargin(70, false), 70);
});

const ms = fc.nat(5000);

test('whenever it goes, the lead and half of the margin are left, and no more than the margin', () => {
  const facts = fc.record({
    tookMs: fc.array(ms, { maxLength: 9 }),
    leadMs: ms,
    marginMs: fc.integer({ min: MARGIN_MS.least, max: MARGIN_MS.most }),
    tick: fc.record({ isAfterCommit: fc.boolean(), ageMs: ms }),
    earlyTicks: fc.nat(10),
    ticks: fc.nat(20),
    armingMs: fc.nat(20_000),
  });
  fc.assert(
    fc.property(facts, (each) => {
      const decision = decideLead(each);
      if (decision.kind === 'wait') {
        // what it waits for comes: at that time, it goes
        const tick = { ...each.tick, ageMs: each.tick.ageMs + decision.waitMs };
        assert.equal(decideLead({ ...each, tick }).kind, 'go');
      }
      if (decision.kind !== 'go') return;
      assert.ok(each.tick.isAfterCommit);
      const afterLeadMs = decision.leftMs - each.leadMs;
      assert.ok(afterLeadMs >= each.marginMs / 2 - 1e-6 && afterLeadMs <= each.marginMs + 1e-6);
    }),
  );
});

test('whatever ticks come back, few are remembered, and an interval is one that three of them had', () => {
  fc.assert(
    fc.property(fc.array(ms, { maxLength: 40 }), (all) => {
      const tookMs = all.reduce<readonly number[]>(remember, []);
      assert.ok(tookMs.length <= 9);
      const interval = intervalOf(tookMs);
      if (interval === undefined) return;
      const near = tookMs.filter((each) => Math.abs(each - interval) <= interval * 0.25);
      assert.ok(near.length >= 3, `${interval} of ${String(tookMs)}`);
    }),
  );
});
