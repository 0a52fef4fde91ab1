// Which sets stay: counts, ages on disks of neighbours, protection, and clocks that jump.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  decideRetention,
  type KeptSet,
  MAX_AGE_MS,
  setsInTheirWay,
} from '../../../src/snapshot/retention.ts';
import type { SetDisk } from '../../../src/wire/vocabulary.ts';
import { domainXml, UUIDS } from '../hook/domains.ts';
import { policyOf } from './world.ts';

const HOUR = 3_600_000;
const DAILY = policyOf({ name: 'daily', keepLast: 2 });
const disk = (fields: Partial<SetDisk>) => ({ poolId: 3, snapId: 1, ...fields }) as SetDisk;

function setOf(fields: Partial<KeptSet>): KeptSet {
  const made = { domainUuid: UUIDS[0], policy: 'daily', event: 'release', state: 'complete' };
  const rest = { domainXml: domainXml(UUIDS[0]), disks: [], createdAtMs: 0, ...fields };
  return { ...made, ...rest } as unknown as KeptSet;
}

function withoutPolicy(set: KeptSet): KeptSet {
  const { policy: _, ...rest } = set;
  return rest;
}

const facts = { policies: [DAILY], nowMs: 100 * HOUR };
const pruned = (sets: readonly KeptSet[], given: Partial<typeof facts> = {}) =>
  decideRetention({ ...facts, ...given, sets })
    .filter(({ decision }) => decision === 'prune')
    .map(({ set }) => set);

/** Made one an hour, with snapshots that count up; the newest last. */
const series = (count: number, fields: Partial<KeptSet> = {}) =>
  Array.from({ length: count }, (_, index) =>
    setOf({
      id: `s${index}`,
      createdAtMs: index * HOUR,
      disks: [disk({ snapId: index + 1 })],
      ...fields,
    }),
  );

test('the newest of a policy stay, and each set says where it stands', () => {
  assert.deepEqual(decideRetention({ ...facts, sets: series(3) }), [
    { set: 's0', decision: 'prune', reason: "beyond what policy 'daily' keeps: last 2" },
    { set: 's1', decision: 'keep', reason: "last 2 of 2 of policy 'daily'" },
    { set: 's2', decision: 'keep', reason: "last 1 of 2 of policy 'daily'" },
  ]);
});

test('sets of events, of schedules and of operators, of each domain and policy, are counted apart', () => {
  const weekly = policyOf({ name: 'weekly' });
  const sets = [
    ...series(3),
    ...series(3, { event: 'manual' }).map((set) => ({ ...set, id: `m${set.id}` })),
    ...series(3, { event: 'scheduled' }).map((set) => ({ ...set, id: `t${set.id}` })),
    ...series(2, { policy: 'weekly' }).map((set) => ({ ...set, id: `w${set.id}` })),
    ...series(2, { domainUuid: UUIDS[1] }).map((set) => ({ ...set, id: `o${set.id}` })),
  ];
  assert.deepEqual(pruned(sets, { policies: [DAILY, weekly] }), ['s0', 'ms0', 'ts0', 'ws0']);
});

test('no policy, no pruning: of none in force, of an operator’s sets, of a protected one', () => {
  assert.deepEqual(pruned(series(9), { policies: [] }), []);
  assert.deepEqual(pruned(series(9, { policy: 'gone' })), []);
  const manual = series(9, { event: 'manual' }).map(withoutPolicy);
  assert.deepEqual(pruned(manual), []);
  assert.deepEqual(pruned(series(9, { isProtected: true })), []);
  const [first, ...rest] = series(4);
  assert.ok(first);
  assert.deepEqual(pruned([{ ...first, isProtected: true }, ...rest]), ['s1'], 'it does not count');
});

test("the domain's own metadata says how many, as of its newest set", () => {
  const says = (keepLast: number) =>
    domainXml(UUIDS[0]).replace(
      '<devices>',
      `<metadata><s:domain xmlns:s='urn:siphon:domain:1' keep_last='${keepLast}'/></metadata><devices>`,
    );
  const sets = series(4, { domainXml: says(1) });
  const newest = setOf({
    id: 's4',
    createdAtMs: 9 * HOUR,
    disks: [disk({ snapId: 9 })],
    domainXml: says(3),
  });
  assert.deepEqual(pruned([...sets, newest]), ['s0', 's1']);
  assert.deepEqual(pruned(series(3, { domainXml: 'not XML' })), ['s0']);
});

test("on Nova's and Cinder's disks age wins over counts, and protection over age", () => {
  const old = facts.nowMs - MAX_AGE_MS;
  for (const owner of ['nova', 'cinder'] as const) {
    const disks = [disk({}), disk({ owner })];
    const at = (createdAtMs: number, fields: Partial<KeptSet> = {}) =>
      setOf({ id: `at-${createdAtMs - old}`, createdAtMs, disks, ...fields });
    assert.deepEqual(pruned([at(old), at(old + 1)]), ['at-0']);
    assert.deepEqual(pruned([at(old, { isProtected: true })]), []);
    const manual = withoutPolicy(at(old, { event: 'manual' }));
    assert.deepEqual(pruned([manual]), ['at-0'], 'of an operator, too');
    assert.deepEqual(pruned([at(old)], { policies: [] }), ['at-0'], 'of a policy that is gone');
    const longer = policyOf({ name: 'daily', maxAgeMs: 30 * HOUR });
    assert.deepEqual(pruned([at(old)], { policies: [longer] }), []);
    const protectedOne = at(old, { isProtected: true });
    assert.deepEqual(setsInTheirWay([at(old), protectedOne, setOf({ id: 'ours' })]), [at(old)]);
  }
  const shorter = policyOf({ name: 'daily', keepLast: 9, maxAgeMs: HOUR });
  assert.deepEqual(pruned(series(4), { policies: [shorter] }), [], 'on other disks counts decide');
});

test('a clock that was set back: what Ceph counted up last is the newest, and nothing is too old', () => {
  const sets = series(4).map((set, index) => ({ ...set, createdAtMs: (9 - index) * HOUR }));
  assert.deepEqual(pruned(sets), ['s0', 's1']);
  const owned = series(2, {
    disks: [disk({ owner: 'nova' })],
    createdAtMs: facts.nowMs + 99 * HOUR,
  });
  assert.deepEqual(pruned(owned), []);
});

const kept = fc
  .record({
    createdAtMs: fc.nat(50).map((hours) => hours * HOUR),
    domainUuid: fc.constantFrom(...UUIDS),
    policy: fc.constantFrom('daily', 'weekly', undefined),
    event: fc.constantFrom('release', 'started', 'scheduled', 'manual'),
    state: fc.constantFrom('complete', 'deleting'),
    isProtected: fc.constantFrom(true, undefined),
    disks: fc.array(
      fc
        .record({
          poolId: fc.constantFrom(1, 2),
          snapId: fc.integer({ min: 1, max: 50 }),
          owner: fc.constantFrom('nova', undefined),
        })
        .map((each) => each as SetDisk),
      { maxLength: 2 },
    ),
  })
  .map((set) => setOf(set as Partial<KeptSet>));
/** What is counted apart; any other event is of one kind. */
const KINDS: Readonly<Record<string, string>> = { manual: 'manual', scheduled: 'scheduled' };
const shelf = fc
  .array(kept, { maxLength: 30 })
  .map((sets) => sets.map((set, index) => ({ ...set, id: `s${index}` })));

test('whatever is on the shelf: what is protected, of no policy in force, or among the last stays', () => {
  fc.assert(
    fc.property(shelf, fc.integer({ min: 1, max: 5 }), fc.nat(100), (sets, keepLast, hours) => {
      const policies = [policyOf({ name: 'daily', keepLast })];
      const given = { policies, nowMs: hours * HOUR };
      const gone = new Set(pruned(sets, given));
      const verdicts = decideRetention({ ...given, sets });
      assert.deepEqual(
        verdicts.map(({ set }) => set),
        sets.map(({ id }) => id),
      );
      for (const set of sets.filter(({ id }) => gone.has(id))) {
        assert.ok(set.isProtected !== true && set.state === 'complete');
        const isTooOld =
          set.disks.some(({ owner }) => owner) && given.nowMs - set.createdAtMs >= MAX_AGE_MS;
        if (isTooOld) continue;
        assert.equal(set.policy, 'daily');
        const kind = (each: KeptSet) => [each.domainUuid, each.policy, KINDS[each.event]].join();
        const stays = sets.filter((each) => kind(each) === kind(set) && !gone.has(each.id));
        assert.ok(stays.length >= keepLast);
      }
      // A second round finds nothing more to do.
      assert.deepEqual(
        pruned(
          sets.filter(({ id }) => !gone.has(id)),
          given,
        ),
        [],
      );
    }),
  );
});
