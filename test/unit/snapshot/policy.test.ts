import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { readWish } from '../../../src/domain/wish.ts';
import { evaluate } from '../../../src/snapshot/evaluate.ts';
import { PolicyStore, schedulesIn } from '../../../src/snapshot/policy.ts';
import { UUIDS } from '../hook/domains.ts';
import { policyOf } from './world.ts';

const GOOD = `# what stays of a stop
[[policy]]
name = "daily"
domains = ["web-*", "db"]
keep_last = 7

[[policy]]
name = "all"
domains = ["*"]
on = ["shutdown", "destroyed"]
keep_last = 1
`;

function load(text: string) {
  return new PolicyStore().load(new Map([['p.toml', text]]));
}

test('a good file, with what it leaves out', () => {
  const { policies, problems } = load(GOOD);
  assert.deepEqual(problems, []);
  assert.deepEqual(policies, [
    policyOf({ name: 'daily', domains: ['web-*', 'db'], keepLast: 7 }),
    policyOf({ name: 'all', on: ['shutdown', 'destroyed'] }),
  ]);
});

test('no file, and a file without a policy, are no policies', () => {
  assert.deepEqual(new PolicyStore().load(new Map()), { policies: [], problems: [] });
  assert.deepEqual(load('# nothing yet\n'), { policies: [], problems: [] });
});

const WRONG: readonly [name: string, from: string, to: string, line: number, what: RegExp][] = [
  [
    'unknown key',
    'keep_last = 1',
    'keep = 1\nkeep_last = 1',
    11,
    /unknown key 'keep'; allowed: name, domains, uuids, tags, on, schedule, catch_up, jitter, devices, quiesce, instant, keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly, max_age, publish_to, publish_cluster, flatten, fallback$/,
  ],
  ['unknown table', '# what stays of a stop', '[defaults]\nx = 1', 1, /unknown key 'defaults'/],
  ['not TOML', 'keep_last = 7', 'keep_last = = 7', 5, /./],
  [
    'keep_last of nothing',
    'keep_last = 1',
    'keep_last = 0',
    11,
    /keep_last: a whole number from 1 to 1000/,
  ],
  ['keep_last as text', 'keep_last = 7', 'keep_last = "7"', 5, /keep_last: a whole number/],
  [
    'a count of days that is none',
    'keep_last = 1',
    'keep_last = 1\nkeep_daily = -1',
    12,
    /keep_daily: a whole number from 0 to 1000/,
  ],
  [
    'a misspelt count',
    'keep_last = 7',
    'keep_last = 7\nkeep_dayly = 7',
    6,
    /unknown key 'keep_dayly'; allowed: .*keep_hourly, keep_daily, keep_weekly/,
  ],
  ['no keep_last', 'keep_last = 1\n', '', 7, /keep_last: a whole number/],
  [
    'a reason never taken',
    '"destroyed"',
    '"migrated"',
    10,
    /on: a list of at least one of shutdown/,
  ],
  ['no reason', 'on = ["shutdown", "destroyed"]', 'on = []', 10, /on: a list/],
  ['no glob', 'domains = ["*"]', 'domains = []', 9, /domains: a list of at least one glob/],
  ['one glob as text', 'domains = ["*"]', 'domains = "*"', 9, /domains: a list/],
  ['a name with a space', '"daily"', '"dai ly"', 3, /name: a name of letters/],
  ['a name that means none', '"daily"', '"off"', 3, /name: a name .* not 'off'/],
  ['no domain at all', 'domains = ["*"]\n', '', 7, /domains: at least one of domains, uuids, tags/],
  ['a UUID that is none', 'domains = ["*"]', 'uuids = ["web-1"]', 9, /uuids: a list .* UUID/],
  ['a tag with a space', 'domains = ["*"]', 'tags = ["a b"]', 9, /tags: a list/],
  [
    'quiesce of another word',
    'keep_last = 1',
    'keep_last = 1\nquiesce = "yes"',
    12,
    /quiesce: one of none, try, require/,
  ],
  [
    'instant of another word',
    'keep_last = 1',
    'keep_last = 1\ninstant = "now"',
    12,
    /instant: one of auto/,
  ],
  [
    'devices of nothing',
    'keep_last = 1',
    'keep_last = 1\ndevices = []',
    12,
    /devices: all, root, or a list/,
  ],
  [
    'max_age without a unit',
    'keep_last = 1',
    'keep_last = 1\nmax_age = "24"',
    12,
    /max_age: a duration/,
  ],
  [
    'max_age of nothing',
    'keep_last = 1',
    'keep_last = 1\nmax_age = "5s"',
    12,
    /max_age: .* at least 1min/,
  ],
  [
    'jitter without a schedule',
    'keep_last = 1',
    'keep_last = 1\njitter = "5min"',
    12,
    /jitter: only beside a schedule/,
  ],
  [
    'a jitter of days',
    'keep_last = 1',
    'schedule = "daily"\njitter = "2d"\nkeep_last = 1',
    12,
    /jitter: a duration .* at most 24h/,
  ],
  ['a lifecycle event that is none', '"destroyed"', '"lifecycle:paused"', 10, /on: a list/],
  ['the same name twice', '"all"', '"daily"', 8, /another policy is named 'daily'/],
];

for (const [name, from, to, line, what] of WRONG) {
  test(`${name}: told with its line, and the last good version stays`, () => {
    const store = new PolicyStore();
    const before = store.load(new Map([['p.toml', GOOD]])).policies;
    const text = GOOD.replace(from, to);
    assert.notEqual(text, GOOD);
    const { policies, problems } = store.load(new Map([['p.toml', text]]));
    assert.equal(problems.length, 1);
    assert.equal(problems[0]?.where, `p.toml:${line}`);
    assert.match(problems[0]?.what ?? '', what);
    assert.deepEqual(policies, before);
    assert.deepEqual(store.policies, before);
  });
}

test('one file’s error leaves the others their change; a removed file takes its policies along', () => {
  const store = new PolicyStore();
  const one = (name: string) => `[[policy]]\nname = "${name}"\ndomains = ["*"]\nkeep_last = 1\n`;
  store.load(
    new Map([
      ['a', one('a1')],
      ['b', one('b1')],
    ]),
  );
  const second = store.load(
    new Map([
      ['b', 'x'],
      ['a', one('a2')],
    ]),
  );
  assert.deepEqual(
    second.policies.map((policy) => policy.name),
    ['a2', 'b1'],
  );
  assert.equal(second.problems.length, 1);
  const third = store.load(
    new Map([
      ['b', one('a2')],
      ['a', one('a2')],
    ]),
  );
  assert.deepEqual(
    third.policies.map((policy) => policy.name),
    ['a2', 'b1'],
  );
  assert.match(third.problems[0]?.what ?? '', /another policy is named 'a2'/);
  assert.deepEqual(
    store.load(new Map([['a', one('a3')]])).policies.map((policy) => policy.name),
    ['a3'],
  );
});

test('every key of a policy', () => {
  const { policies, problems } = load(`[[policy]]
name = "nightly"
uuids = ["${UUIDS[0]}"]
tags = ["tier=gold", "backup"]
on = ["prepare", "started", "stopped", "lifecycle:suspended", "manual", "crashed"]
devices = ["vda", "vdc"]
schedule = "Mon..Fri 02:00"
catch_up = false
jitter = "10min"
quiesce = "require"
instant = "suspend"
keep_last = 3
keep_hourly = 24
keep_daily = 7
keep_weekly = 0
keep_monthly = 12
keep_yearly = 1000
max_age = "36h"
publish_to = "images/tenant"
flatten = "never"
fallback = "none"
`);
  assert.deepEqual(problems, []);
  assert.deepEqual(policies, [
    {
      name: 'nightly',
      domains: [],
      uuids: [UUIDS[0]],
      tags: ['tier=gold', 'backup'],
      on: ['prepare', 'started', 'stopped', 'lifecycle:suspended', 'manual', 'crashed'],
      devices: ['vda', 'vdc'],
      quiesce: 'require',
      instant: 'suspend',
      schedule: { calendar: 'Mon..Fri 02:00', isCaughtUp: false, jitterMs: 600_000 },
      keepLast: 3,
      keepPeriods: { hourly: 24, daily: 7, weekly: 0, monthly: 12, yearly: 1000 },
      maxAgeMs: 36 * 3_600_000,
      publishTo: 'images/tenant',
      flatten: 'never',
      fallback: 'none',
    },
  ]);
});

test('a schedule alone: no set of stops; what is missed is caught up with', () => {
  const { policies } = load(GOOD.replace('keep_last = 7', 'schedule = "daily"\nkeep_last = 7'));
  const schedule = { calendar: 'daily', isCaughtUp: true, jitterMs: 0 };
  assert.deepEqual([policies[0]?.on, policies[0]?.schedule], [[], schedule]);
});

test('a schedule that is none is told with its line, and the last good version stays', () => {
  const store = new PolicyStore();
  const before = store.load(new Map([['p.toml', GOOD]])).policies;
  const files = new Map([
    ['p.toml', GOOD.replace('keep_last = 1', 'keep_last = 1\nschedule = "dayly"')],
  ]);
  assert.deepEqual([...schedulesIn(files)], ['dayly']);
  const { policies, problems } = store.load(files, new Map([['dayly', 'no such calendar']]));
  assert.deepEqual(policies, before);
  assert.equal(problems[0]?.where, 'p.toml:12');
  assert.match(problems[0]?.what ?? '', /^schedule: .*"Mon\.\.Fri 02:00".*: no such calendar$/);
  assert.equal(store.load(files).policies[1]?.schedule?.calendar, 'dayly');
});

test('no text of a file, and no name of a domain, throws', () => {
  const glob = fc.string({ minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.string(), glob, fc.string({ unit: 'binary' }), (text, pattern, domain) => {
      load(text);
      load(`[[policy]]\n${text}`);
      const policy = policyOf({ name: 'p', domains: [pattern] });
      const facts = { name: domain, uuid: UUIDS[0], wish: readWish(undefined) };
      evaluate([policy], facts, { event: 'release', reason: 'shutdown' });
    }),
  );
});

test('of two files with one policy’s name only the first one’s is in force, whichever came first', () => {
  const policy = (keep: number) =>
    `[[policy]]\nname = "daily"\ndomains = ["*"]\nkeep_last = ${keep}\n`;
  const store = new PolicyStore();
  store.load(new Map([['b', policy(30)]]));
  const files = new Map([
    ['a', policy(1)],
    ['b', policy(30)],
  ]);
  for (const loaded of [store.load(files), new PolicyStore().load(files)]) {
    assert.deepEqual(
      loaded.policies.map((each) => each.keepLast),
      [1],
    );
    assert.deepEqual(loaded.problems, [
      { where: 'b:2', what: "another policy is named 'daily': this file's is not in force" },
    ]);
  }
  files.delete('a');
  assert.equal(store.load(files).policies[0]?.keepLast, 30);
});
