// What `siphon check` says, and with which exit code.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideHealth, type HealthFacts, unansweredHealth } from '../../../src/cli/health.ts';
import type { JobsAnswer, SnapshotsAnswer, StatusAnswer } from '../../../src/wire/api.ts';
import { type ErrorCode, OperatingError } from '../../../src/wire/errors.ts';
import type { Proof } from '../../../src/wire/verify-api.ts';

const HOUR = 3_600_000;
const NOW = 1000 * HOUR;
const BOUNDS = { failedMs: 24 * HOUR, openMs: HOUR, setAgeMs: 26 * HOUR };

const cluster = (name: string, state: 'connected' | 'unavailable') => ({ name, state });
const STATUS = {
  clusters: [cluster('east', 'connected')],
  libvirt: { state: 'connected' },
  cache: { bases: 3, allocatedBytes: 4096 },
  jobsOpen: 0,
  paused: [],
  spooled: 0,
  trust: { unverified: 0, unstated: 0, refused: [], problems: [] },
  problems: [],
} as unknown as StatusAnswer;

type Job = JobsAnswer['jobs'][number];
const job = (fields: Partial<Job>): Job =>
  ({ kind: 'snapshot', subject: 'web', createdAtMs: NOW, updatedAtMs: NOW, ...fields }) as Job;
const failed = (code: ErrorCode, hoursAgo = 1) =>
  job({
    state: 'failed',
    updatedAtMs: NOW - hoursAgo * HOUR,
    error: { code, op: 'x', subject: 'y' },
  });
const open = (hours: number) => job({ state: 'open', createdAtMs: NOW - hours * HOUR });
const set = (domainUuid: string, hours: number) =>
  ({
    domainUuid,
    domainName: domainUuid,
    createdAtMs: NOW - hours * HOUR,
    state: 'complete',
  }) as SnapshotsAnswer['sets'][number];

function said(given: Partial<Omit<HealthFacts, 'status'>>, status: Partial<StatusAnswer> = {}) {
  const facts = { jobs: [], sets: [], nowMs: NOW, ...given, status: { ...STATUS, ...status } };
  return decideHealth(facts, BOUNDS);
}

test('all is well: one line, with numbers to draw', () => {
  const sets = [set('web', 30), set('web', 1)];
  assert.deepEqual(said({ sets, jobs: [failed('refused'), failed('corrupt', 25), open(0.5)] }), {
    level: 'OK',
    exit: 0,
    line: 'SIPHON OK - 1 clusters, 3 bases, 2 sets | clusters=1 problems=0 jobs_open=0 jobs_failed=0 spooled=0 sets=2 sets_overdue=0 unverified=0 cache=4096B',
  });
});

test('bases that nothing verified are told where no rule says that they may be so, and what a rule is against', () => {
  const trust = { unverified: 5, unstated: 0, refused: [], problems: [] };
  assert.match(said({}, { trust }).line, /^SIPHON OK .* unverified=5 /);
  const line = (more: object) => said({}, { trust: { ...trust, ...more } }).line;
  assert.match(line({ unstated: 1 }), /^SIPHON WARNING - 1 base unverified, and no trust rule/);
  const refused = [
    { rule: 1, bases: 2 },
    { rule: 3, bases: 1 },
  ];
  const against = 'would be refused now by trust rule 1 (2 bases), trust rule 3 (1 base)';
  assert.ok(line({ refused }).includes(against));
  const problems = [{ where: '/t/crls/a', what: 'it is overdue' }];
  assert.match(line({ problems }), /WARNING - \/t\/crls\/a: it is overdue/);
});

test('a domain whose last proof failed is named, whatever an older one said', () => {
  const tried = (domain: string, atMs: number, isProven: boolean) => {
    return { ...set(domain, 1), proof: { atMs, isProven } as Proof };
  };
  const sets = [tried('web', 1, true), tried('web', 2, false), tried('db', 1, false)];
  const { line, exit } = said({ sets: [...sets, tried('db', 2, true)] });
  assert.match(line, /not proven restorable: web \|/);
  assert.equal(exit, 1);
});

for (const [what, given, status, exit, line] of [
  [
    'a cluster is away',
    {},
    { clusters: [cluster('west', 'unavailable')] },
    2,
    /no answer of cluster west/,
  ],
  ['libvirt is away', {}, { libvirt: { state: 'unavailable' } }, 2, /no answer of libvirt/],
  [
    'a problem',
    {},
    { problems: [{ where: 'a.toml:3', what: 'it is\nwrong' }] },
    1,
    /a\.toml:3: it is wrong .*problems=1/,
  ],
  ['a pause', {}, { paused: [{ work: 'fills', sinceMs: 0 }] }, 1, /paused: fills/],
  ['events in the spool', {}, { spooled: 2 }, 1, /2 hook events wait/],
  [
    'a job that failed',
    { jobs: [failed('unavailable')] },
    {},
    1,
    /failed: snapshot web \|.*jobs_failed=1/,
  ],
  ['a job that is old', { jobs: [open(2)] }, {}, 1, /open too long: snapshot web/],
  [
    'an import that was left',
    { jobs: [{ ...open(0), kind: 'import', step: 'left' }] },
    {},
    1,
    /import left half done: web/,
  ],
  ['a job that is very old', { jobs: [open(25)] }, {}, 2, /open too long/],
  [
    'many that failed',
    { jobs: Array.from({ length: 5 }, () => failed('busy')) },
    {},
    1,
    /web and 2 more/,
  ],
  [
    'a set that is overdue',
    { sets: [set('db', 27), set('web', 1)] },
    {},
    1,
    /no new set of db \|.*sets_overdue=1/,
  ],
] as const) {
  test(`told: ${what}`, () => {
    const health = said(given, status);
    assert.equal(health.exit, exit, health.line);
    assert.match(health.line, line);
    assert.doesNotMatch(health.line, /\n/);
  });
}

test('without an age no set is overdue', () => {
  const facts = { jobs: [], sets: [set('db', 999)], nowMs: NOW, status: STATUS };
  assert.equal(decideHealth(facts, { failedMs: 1, openMs: 1 }).exit, 0);
});

test('siphond that does not answer is critical; what this user may not ask is unknown', () => {
  const exitOf = (code: ErrorCode) =>
    unansweredHealth(new OperatingError({ code, op: 'reach siphond', subject: 'x' })).exit;
  assert.deepEqual([exitOf('unavailable'), exitOf('denied'), exitOf('usage')], [2, 3, 3]);
});
