// Which policy asks for a set: by event, domain and the domain's own metadata, and what is said of those that do not.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { DomainWish, Stated } from '../../../src/domain/wish.ts';
import { type EventFacts, evaluate, parseEvent } from '../../../src/snapshot/evaluate.ts';
import type { Evaluation } from '../../../src/wire/evaluation.ts';
import {
  LIFECYCLE_NAMES,
  POLICY_EVENTS,
  RELEASE_REASONS,
  SET_EVENTS,
} from '../../../src/wire/vocabulary.ts';
import { UUIDS } from '../hook/domains.ts';
import { policyOf } from './world.ts';

const SHUTDOWN: EventFacts = { event: 'release', reason: 'shutdown' };
const NONE: DomainWish = { kind: 'none' };
const stated = (wish: Partial<Stated>): Stated => ({ kind: 'stated', tags: [], ...wish });
const web = (wish: DomainWish = NONE) => ({ name: 'web-1', uuid: UUIDS[0], wish });

const DAILY = policyOf({ name: 'daily', domains: ['web-*', 'db'], keepLast: 7 });
const ALL = policyOf({ name: 'all', on: ['shutdown', 'destroyed', 'started', 'manual'] });
const POLICIES = [DAILY, ALL];

const policyIn = (found: Evaluation) => (found.kind === 'take' ? found.policy?.name : 'nothing');
const verdicts = ({ considered }: Evaluation) => considered.map(({ verdict }) => verdict);

test('the first policy that names domain and event decides; the others say why they do not', () => {
  const found = evaluate(POLICIES, web(), SHUTDOWN);
  assert.deepEqual(found, {
    kind: 'take',
    wanted: { devices: 'all', quiesce: 'try', instant: 'auto' },
    policy: { name: 'daily', keepLast: 7, keepPeriods: {} },
    why: "policy 'daily': its glob 'web-*' is the domain's name",
    considered: [
      { policy: 'daily', verdict: 'first', why: "its glob 'web-*' is the domain's name" },
      { policy: 'all', verdict: 'also', why: "its glob '*' is the domain's name" },
    ],
  });
  const destroyed = evaluate(POLICIES, web(), { event: 'release', reason: 'destroyed' });
  assert.equal(policyIn(destroyed), 'all');
  assert.match(destroyed.considered[0]?.why ?? '', /none after 'destroyed' \(on = shutdown\)/);
  const other = evaluate(POLICIES, { ...web(), name: '.db2' }, SHUTDOWN);
  assert.deepEqual([policyIn(other), verdicts(other)], ['all', ['no', 'first']]);
});

test('after a stop that leaves nothing to take none is taken, whatever policies say', () => {
  const found = evaluate(POLICIES, web(), { event: 'release', reason: 'migrated' });
  assert.deepEqual(
    [found.kind, found.why],
    ['nothing', "none is ever taken after 'migrated': the guest runs on another host"],
  );
});

test('a stop of which libvirt has not told why yet is meant by any reason, and by nothing else', () => {
  const untold: EventFacts = { event: 'release' };
  assert.equal(policyIn(evaluate([policyOf({ name: 'p', on: ['crashed'] })], web(), untold)), 'p');
  const others = policyOf({ name: 'p', on: ['started', 'manual', 'lifecycle:crashed'] });
  assert.equal(policyIn(evaluate([others], web(), untold)), 'nothing');
});

test('each word of `on` is one event', () => {
  const events: EventFacts[] = [
    ...SET_EVENTS.filter((event) => event !== 'release' && event !== 'lifecycle').map((event) => ({
      event,
    })),
    ...RELEASE_REASONS.map((reason) => ({ event: 'release', reason }) as const),
    ...LIFECYCLE_NAMES.map((lifecycle) => ({ event: 'lifecycle', lifecycle }) as const),
  ];
  for (const word of POLICY_EVENTS) {
    const policies = [policyOf({ name: 'p', on: [word] })];
    const hits = events.filter((event) => policyIn(evaluate(policies, web(), event)) === 'p');
    assert.deepEqual(hits, [parseEvent(word)]);
  }
});

test('selectors: one of names and UUIDs, and all tags', () => {
  const uuids = [UUIDS[1]];
  const gold = policyOf({ name: 'gold', domains: ['db-*'], uuids, tags: ['tier=gold', 'backup'] });
  const of = (name: string, uuid: string, tags: readonly string[]) =>
    policyIn(evaluate([gold], { name, uuid, wish: stated({ tags }) }, SHUTDOWN));
  assert.equal(of('db-1', UUIDS[0], ['backup=yes', 'tier=gold']), 'gold');
  assert.equal(of('web', UUIDS[1], ['backup', 'tier=gold', 'x']), 'gold');
  assert.equal(of('web', UUIDS[0], ['backup', 'tier=gold']), 'nothing');
  assert.equal(of('db-1', UUIDS[0], ['backup', 'tier=golden']), 'nothing');
  assert.equal(of('db-1', UUIDS[0], ['backups', 'tier=gold']), 'nothing');
  const tagged = policyOf({ name: 'tagged', domains: [], tags: ['backup'] });
  assert.equal(policyIn(evaluate([tagged], web(stated({ tags: ['backup'] })), SHUTDOWN)), 'tagged');
  assert.equal(policyIn(evaluate([tagged], web(), SHUTDOWN)), 'nothing');
});

test("the domain's own metadata: off, one policy, and what it overrides", () => {
  const off = evaluate(POLICIES, web({ kind: 'off' }), SHUTDOWN);
  assert.deepEqual([off.kind, off.why], ['nothing', "the domain's own metadata says off"]);
  const keepPeriods = { daily: 7, yearly: 2 };
  const elsewhere = policyOf({ name: 'weekly', domains: ['nobody'], keepPeriods });
  const wish = stated({
    policy: 'weekly',
    devices: 'root',
    quiesce: 'none',
    keepLast: 30,
    keepPeriods: { daily: 0 },
  });
  const named = evaluate([...POLICIES, elsewhere], web(wish), SHUTDOWN);
  assert.deepEqual(verdicts(named), ['no', 'no', 'first']);
  assert.deepEqual(named.kind === 'take' && [named.policy, named.wanted], [
    { name: 'weekly', keepLast: 30, keepPeriods: { daily: 0, yearly: 2 } },
    { devices: 'root', quiesce: 'none', instant: 'auto' },
  ]);
  const started = evaluate([...POLICIES, elsewhere], web(wish), { event: 'started' });
  assert.equal(started.kind, 'nothing', 'the policy that it names does not ask for one then');
});

for (const [what, wish, problem] of [
  ['cannot be read', { kind: 'bad', problem: 'x' }, /^x$/],
  [
    'names a policy that is not there',
    stated({ policy: 'nihgtly' }),
    /'nihgtly', and none of that/,
  ],
] as const) {
  test(`metadata that ${what}: the policies apply, the guest is not held, and it is said`, () => {
    const strict = policyOf({ name: 'strict', quiesce: 'require', instant: 'suspend' });
    const found = evaluate([strict], web(wish), SHUTDOWN);
    assert.equal(policyIn(found), 'strict');
    assert.deepEqual(found.kind === 'take' && found.wanted, {
      devices: 'all',
      quiesce: 'none',
      instant: 'none',
    });
    assert.match(found.problem ?? '', problem);
  });
}

test('an operator gets a set, by the policy for that where there is one', () => {
  const manual: EventFacts = { event: 'manual' };
  assert.equal(policyIn(evaluate(POLICIES, web(), manual)), 'all');
  for (const wish of [NONE, { kind: 'off' } as const]) {
    const found = evaluate([], web(wish), manual);
    assert.deepEqual(
      [found.kind, found.why, policyIn(found)],
      ['take', 'an operator asks', undefined],
    );
  }
});

const word = fc.constantFrom('web-1', 'web-*', '*', 'db', 'backup', 'nightly');
const policy = fc
  .record({
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    domains: fc.array(word, { maxLength: 2 }),
    tags: fc.array(word, { maxLength: 1 }),
    on: fc.subarray([...POLICY_EVENTS]),
  })
  .map(policyOf);
const policies = fc.uniqueArray(policy, { selector: ({ name }) => name, maxLength: 5 });
const wishes = fc.oneof(
  fc.constant(NONE),
  fc.constant<DomainWish>({ kind: 'off' }),
  fc.constant<DomainWish>({ kind: 'bad', problem: 'it is bad' }),
  fc
    .record({ tags: fc.array(word), policy: fc.constantFrom('a', 'z', undefined) })
    .map(({ tags, policy: named }) =>
      stated({ tags, ...(named !== undefined && { policy: named }) }),
    ),
);
const event = fc.record({
  event: fc.constantFrom(...SET_EVENTS),
  reason: fc.constantFrom(...RELEASE_REASONS),
  lifecycle: fc.constantFrom(...LIFECYCLE_NAMES),
});

test('whatever the facts: one decides at most, none behind it counts, and off means off', () => {
  fc.assert(
    fc.property(policies, wishes, event, (all, wish, happened) => {
      const found = evaluate(all, web(wish), happened);
      assert.equal(found.considered.length, all.length);
      assert.ok(found.why !== '' && found.considered.every(({ why }) => why !== ''));
      const seen = verdicts(found).filter((verdict) => verdict !== 'no');
      assert.ok(seen.every((verdict, index) => verdict === (index === 0 ? 'first' : 'also')));
      if (happened.event === 'manual') return;
      if (wish.kind === 'off') assert.equal(found.kind, 'nothing');
      if (found.kind === 'take') assert.ok(all.some(({ name }) => name === found.policy?.name));
      // What stands behind the one that decides changes nothing but what is said of it.
      const upTo = all.findIndex(({ name }) => name === policyIn(found));
      if (upTo === -1 || wish.kind === 'stated') return;
      assert.equal(
        policyIn(evaluate(all.slice(0, upTo + 1), web(wish), happened)),
        policyIn(found),
      );
    }),
  );
});

test('of one stop there is one set: `stopped` has none where the release of that reason has', () => {
  const stopped = policyOf({ name: 'stopped', on: ['stopped'] });
  const at = (reason: EventFacts['reason']) =>
    evaluate([DAILY, stopped], web(), { event: 'stopped', ...(reason && { reason }) });
  assert.equal(at('shutdown').why, "policy 'daily' has one taken of this stop");
  assert.equal(at('shutdown').kind, 'nothing');
  assert.equal(policyIn(at('destroyed')), 'stopped');
  assert.equal(policyIn(at(undefined)), 'stopped');
  assert.equal(policyIn(at('migrated')), 'nothing');
});
