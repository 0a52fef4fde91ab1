// Counts of calendar periods: by hand, and over simulated years against an oracle that was written from docs/snapshots.md alone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { keptBy } from '../../../src/snapshot/keep.ts';
import { decideRetention, type KeptSet } from '../../../src/snapshot/retention.ts';
import { type KeepCounts, PERIODS, type Period } from '../../../src/wire/keep.ts';
import type { SetDisk } from '../../../src/wire/vocabulary.ts';
import { domainXml, UUIDS } from '../hook/domains.ts';
import { policyOf } from './world.ts';

/** Of the many days; fast-check prints the seed of a failure. */
const RUNS = process.env['SIPHON_SOAK'] === undefined ? 3 : 300;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** A Friday. */
const BEGIN = Date.UTC(2026, 10, 20);

interface Dated {
  readonly id: string;
  readonly createdAtMs: number;
}

/** The page's words, one after the other: "Which sets stay". */
function oracle(oldestFirst: readonly Dated[], { keepLast, keepPeriods }: KeepCounts): Set<string> {
  const newestFirst = oldestFirst.toReversed();
  const stay = new Set(newestFirst.slice(0, keepLast).map(({ id }) => id));
  for (const period of PERIODS) {
    const called = ({ createdAtMs }: Dated) => nameOf(period, createdAtMs);
    const have = oldestFirst.filter(({ id }) => stay.has(id)).map(called);
    const newestOfEach = newestFirst
      .filter((set) => !have.includes(called(set)))
      .filter(
        (set, index, all) => all.findIndex((other) => called(other) === called(set)) === index,
      );
    for (const { id } of newestOfEach.slice(0, keepPeriods[period] ?? 0)) stay.add(id);
  }
  return stay;
}

function nameOf(period: Period, ms: number): string {
  const date = new Date(ms);
  if (period === 'weekly') date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7)); // its Monday
  const letters = { hourly: 13, daily: 10, weekly: 10, monthly: 7, yearly: 4 };
  return date.toISOString().slice(0, letters[period]);
}

test('each period by hand: the newest of it, and a period that one stays of is not counted again', () => {
  const at = (text: string) => ({ id: text, createdAtMs: Date.parse(`${text}:00Z`) });
  const newestFirst = [
    '2027-01-04T09:30', // a Monday, of the first ISO week
    '2027-01-04T09:10',
    '2027-01-04T08:59',
    '2027-01-03T23:59', // a Sunday, of the week before
    '2027-01-01T00:00',
    '2026-12-31T23:59', // the same ISO week, another month and year
    '2026-12-27T12:00',
    '2026-11-30T12:00',
    '2025-03-01T00:00',
  ].map(at);
  const rules = (keepPeriods: KeepCounts['keepPeriods'], keepLast = 1) =>
    [...keptBy(newestFirst, { keepLast, keepPeriods })].map(([id, rule]) => `${id} ${rule}`);
  const last = '2027-01-04T09:30 last 1 of 1';
  assert.deepEqual(rules({}), [last]);
  assert.deepEqual(rules({ hourly: 1 }), [last, '2027-01-04T08:59 hourly 1 of 1']);
  assert.deepEqual(rules({ daily: 2 }), [
    last,
    '2027-01-03T23:59 daily 1 of 2',
    '2027-01-01T00:00 daily 2 of 2',
  ]);
  assert.deepEqual(rules({ weekly: 2 }), [
    last,
    '2027-01-03T23:59 weekly 1 of 2',
    '2026-12-27T12:00 weekly 2 of 2',
  ]);
  assert.deepEqual(rules({ monthly: 9, yearly: 1 }), [
    last,
    '2026-12-31T23:59 monthly 1 of 9',
    '2026-11-30T12:00 monthly 2 of 9',
    '2025-03-01T00:00 monthly 3 of 9',
  ]);
  assert.deepEqual(rules({ yearly: 3 }, 2).slice(2), [
    '2026-12-31T23:59 yearly 1 of 3',
    '2025-03-01T00:00 yearly 2 of 3',
  ]);
});

const count = fc.constantFrom(undefined, 0, 1, 2, 5, 13);
const countsOf = fc
  .record({
    keepLast: fc.integer({ min: 1, max: 4 }),
    periods: fc.tuple(count, count, count, count, count),
  })
  .map(({ keepLast, periods }): KeepCounts => {
    const stated = PERIODS.map((period, index) => [period, periods[index]] as const);
    return {
      keepLast,
      keepPeriods: Object.fromEntries(stated.filter(([, each]) => each !== undefined)),
    };
  });

const EVENTS = ['release', 'started', 'scheduled', 'manual'] as const;
/** What is counted apart. */
const KINDS: Readonly<Record<string, string>> = {
  release: 'hook',
  started: 'hook',
  scheduled: 'schedule',
  manual: 'manual',
};

/** 400 days of a host, 90 of which it is off; in the middle its clock is somewhere else for a while. */
const history = fc.record({
  counts: countsOf,
  /** From one set to the next, in minutes: an hour or so, or days. */
  gaps: fc.infiniteStream(
    fc.oneof(fc.integer({ min: 10, max: 600 }), fc.integer({ min: 600, max: 4000 })),
  ),
  events: fc.infiniteStream(fc.constantFrom(...EVENTS)),
  protects: fc.infiniteStream(fc.nat(30).map((each) => each === 0)),
  offFrom: fc.integer({ min: 0, max: 310 }),
  jump: fc.record({
    day: fc.integer({ min: 0, max: 400 }),
    lastsHours: fc.constantFrom(1, 20, 200, 10_000),
    byHours: fc.oneof(fc.integer({ min: -10_000, max: 10_000 }), fc.constantFrom(0, 24 * 3650)),
  }),
});

type History = typeof history extends fc.Arbitrary<infer T> ? T : never;

/** Sets in the order in which they are made, each with what the host's clock said. */
function* setsOf({ gaps, events, protects, offFrom, jump }: History): Generator<KeptSet> {
  let atMs = BEGIN;
  for (let index = 0; ; index += 1) {
    atMs += (gaps.next().value as number) * 60_000;
    if (atMs >= BEGIN + offFrom * DAY && atMs < BEGIN + (offFrom + 90) * DAY) continue;
    if (atMs >= BEGIN + 400 * DAY) return;
    const sinceMs = atMs - (BEGIN + jump.day * DAY);
    const isJumped = sinceMs >= 0 && sinceMs < jump.lastsHours * HOUR;
    yield {
      id: `s${index}`,
      domainUuid: UUIDS[0],
      domainXml: domainXml(UUIDS[0]),
      policy: 'kept',
      event: events.next().value,
      state: 'complete',
      createdAtMs: isJumped ? atMs + jump.byHours * HOUR : atMs,
      disks: [{ poolId: 3, snapId: index + 1 } as SetDisk],
      ...(protects.next().value === true && { isProtected: true }),
    } as unknown as KeptSet;
  }
}

const snapIdOf = (set: KeptSet) => set.disks[0]?.snapId ?? 0;

test('400 days with 90 off and a clock that jumps: after each set the shelf is as the page says', () => {
  const property = fc.property(history, (lived) => {
    const policies = [policyOf({ name: 'kept', ...lived.counts })];
    let shelf: readonly KeptSet[] = [];
    const seen: KeptSet[] = [];
    for (const set of setsOf(lived)) {
      seen.push(set);
      const sets = snapIdOf(set) % 2 === 0 ? [...shelf, set] : [set, ...shelf];
      const verdicts = decideRetention({ sets, policies, nowMs: set.createdAtMs });
      const stays = new Set(
        verdicts.filter((each) => each.decision === 'keep').map((each) => each.set),
      );
      const wanted = new Set(sets.filter(({ isProtected }) => isProtected).map(({ id }) => id));
      for (const group of Object.values(Object.groupBy(sets, ({ event }) => KINDS[event] ?? ''))) {
        const counted = (group ?? []).filter(({ isProtected }) => isProtected !== true);
        const oldestFirst = counted.toSorted((a, b) => snapIdOf(a) - snapIdOf(b));
        for (const id of oracle(oldestFirst, lived.counts)) wanted.add(id);
      }
      assert.deepEqual(stays, wanted, `after ${set.id}`);
      shelf = sets.filter(({ id }) => stays.has(id));
    }
    assertPromised(seen, shelf, lived.counts);
  });
  fc.assert(property, { numRuns: RUNS, endOnFailure: true });
});

/** Whatever was removed on the way: of the newest periods that ever had a set, as many as are counted have one. */
function assertPromised(
  seen: readonly KeptSet[],
  shelf: readonly KeptSet[],
  counts: KeepCounts,
): void {
  for (const kind of Object.values(KINDS)) {
    const ofKind = (sets: readonly KeptSet[]) =>
      sets.filter((set) => KINDS[set.event] === kind && set.isProtected !== true);
    for (const period of PERIODS) {
      const names = (sets: readonly KeptSet[]) =>
        sets.map((set) => nameOf(period, set.createdAtMs));
      const ever = [...new Set(names(ofKind(seen).toReversed()))];
      const left = new Set(names(ofKind(shelf)));
      for (const name of ever.slice(0, counts.keepPeriods[period] ?? 0)) {
        assert.ok(left.has(name), `${kind}, ${period}: nothing is left of ${name}`);
      }
    }
    const newest = ofKind(seen).slice(-counts.keepLast);
    assert.ok(
      newest.every(({ id }) => shelf.some((set) => set.id === id)),
      `${kind}: last`,
    );
  }
}
