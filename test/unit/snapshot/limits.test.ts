// What keeps a set from being taken: the cluster's health, its space, and snapshots that pile up.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { decideLimits, jitterOf, type Limits } from '../../../src/snapshot/limits.ts';
import type { ClusterHealth } from '../../../src/wire/worker-protocol.ts';
import { domainXml, UUIDS } from '../hook/domains.ts';
import { assertTidy } from './tidy.ts';
import { Life, policyOf, releaseOf, World } from './world.ts';

const LIMITS: Limits = {
  worstHealth: 'warn',
  fullPercent: 85,
  softSnapshots: 250,
  hardSnapshots: 450,
};
const WELL: ClusterHealth = { status: 'HEALTH_OK', checks: [], totalBytes: 1000, usedBytes: 849 };

function decided(health: Partial<ClusterHealth>, limits: Partial<Limits> = {}, snapshots = 0) {
  const images = [
    { target: 'vda', snapshots: 1 },
    { target: 'vdb', snapshots },
  ];
  const facts = { health: { ...WELL, ...health }, images };
  return decideLimits(facts, { ...LIMITS, ...limits });
}

test('health: taken up to the configured level, and what is wrong is named', () => {
  const goes = (status: string, worstHealth: Limits['worstHealth']) =>
    decided({ status, checks: ['MON_DOWN'] }, { worstHealth }).kind;
  const statuses = ['HEALTH_OK', 'HEALTH_WARN', 'HEALTH_ERR'];
  const table = (['ok', 'warn', 'any'] as const).map((level) =>
    statuses.map((each) => goes(each, level)),
  );
  assert.deepEqual(table, [
    ['go', 'stop', 'stop'],
    ['go', 'go', 'stop'],
    ['go', 'go', 'go'],
  ]);
  const told = decided({ status: 'HEALTH_ERR', checks: ['PG_DAMAGED'] });
  assert.match(told.kind === 'stop' ? told.why : '', /HEALTH_ERR \(PG_DAMAGED\)/);
});

test('space: by the cluster as a whole, and by what Ceph says of its parts, whatever the level', () => {
  assert.equal(decided({ usedBytes: 849 }).kind, 'go');
  const full = decided({ usedBytes: 850 });
  assert.match(full.kind === 'stop' ? full.why : '', /85 % full/);
  for (const check of ['OSD_NEARFULL', 'POOL_NEAR_FULL', 'OSD_FULL'])
    assert.equal(
      decided({ status: 'HEALTH_WARN', checks: [check] }, { worstHealth: 'any' }).kind,
      'stop',
    );
  assert.equal(decided({ totalBytes: 0, usedBytes: 0 }).kind, 'go', 'a cluster without OSDs');
});

test('snapshots of an image: told from the soft limit on, none from the hard one on', () => {
  const at = (snapshots: number) => {
    const decision = decided({}, {}, snapshots);
    return decision.kind === 'go' ? decision.warnings.length : decision.why;
  };
  assert.deepEqual([at(249), at(250), at(449)], [0, 1, 1]);
  assert.match(String(at(450)), /disk vdb has 450 snapshots/);
});

test('a jitter is within its bound', () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
  fc.assert(
    fc.property(fc.nat(60_000), share, (maxMs, random) => {
      const ms = jitterOf(maxMs, random);
      assert.ok(ms >= 0 && ms <= maxMs && Number.isInteger(ms));
    }),
  );
});

const XML = domainXml(UUIDS[0], ['root']);

test('a cluster that is unwell has no set taken of it, and the job says why', async () => {
  const made = new World(['root']);
  made.domainXml = XML;
  made.health = { ...WELL, status: 'HEALTH_ERR' };
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  assertTidy(made);
  assert.equal(made.snapshots().length, 0);
  assert.match(made.lastJob()?.error?.why ?? '', /^skipped: the cluster is unwell: HEALTH_ERR/);
});

test('snapshots that pile up are told, and end before the hard limit', async () => {
  const made = new World(['root']);
  made.domainXml = XML;
  made.policies = [policyOf({ name: 'all', keepLast: 100 })];
  const life = new Life(made);
  for (let each = 0; each < 9; each += 1) {
    made.nowMs += 1000;
    life.room.onRelease(releaseOf(XML));
    await life.settle();
  }
  assertTidy(made);
  assert.equal(made.snapshots().length, 8);
  assert.equal(life.warnings.filter((each) => each === 'snapshots pile up').length, 2);
});
