// The pure parts: which disks, whether a set, and what it may claim.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseDomain } from '../../../src/domain/domain.ts';
import {
  type DiskUse,
  decideAsked,
  decidePrepare,
  decideRelease,
} from '../../../src/snapshot/decide.ts';
import { chooseDisks } from '../../../src/snapshot/disks.ts';
import { ownerOf } from '../../../src/snapshot/neighbours.ts';
import { newSetId, snapshotName } from '../../../src/snapshot/set-id.ts';
import { type Devices, RELEASE_REASONS } from '../../../src/wire/vocabulary.ts';
import { domainXml, rbdDisk, UUIDS } from '../hook/domains.ts';

const FREE: DiskUse = { target: 'vda', lockOwners: [], watchers: [] };
const OWNED: DiskUse = { target: 'vdb', lockOwners: ['client.1'], watchers: ['client.1'] };
const DEAD: DiskUse = { target: 'vdc', lockOwners: ['client.1'], watchers: ['client.2'] };
const LIVE = { isActiveNow: undefined, isLate: false } as const;

test('by reason, with free disks: who is taken, and what it claims', () => {
  const claims = Object.fromEntries(
    RELEASE_REASONS.map((reason) => {
      const decision = decideRelease({ reason, disks: [FREE, FREE], ...LIVE });
      return [reason, decision.kind === 'take' ? decision.quiesced : 'skip'];
    }),
  );
  assert.deepEqual(claims, {
    unknown: 'none',
    shutdown: 'shutdown',
    destroyed: 'none',
    crashed: 'none',
    migrated: 'skip',
    saved: 'skip',
    failed: 'skip',
    'from snapshot': 'skip',
    daemon: 'none',
  });
});

test('by reason, with a disk that somebody has locked', () => {
  const taken = RELEASE_REASONS.filter(
    (reason) => decideRelease({ reason, disks: [FREE, OWNED], ...LIVE }).kind === 'take',
  );
  assert.deepEqual(taken, ['shutdown', 'destroyed']);
  assert.deepEqual(decideRelease({ reason: 'shutdown', disks: [FREE, OWNED], ...LIVE }), {
    kind: 'take',
    quiesced: 'none',
    instant: 'none',
  });
});

const use = fc.record({
  target: fc.constantFrom('vda', 'vdb'),
  lockOwners: fc.subarray(['client.1', 'client.2']),
  watchers: fc.subarray(['client.1', 'client.2', 'client.3']),
});
const facts = fc.record({
  reason: fc.constantFrom(...RELEASE_REASONS),
  disks: fc.array(use, { maxLength: 3 }),
  isActiveNow: fc.constantFrom(true, false, undefined),
  isLate: fc.boolean(),
});

test('whatever the facts: never of nothing, of what runs, of a dead lock; a claim only of free disks', () => {
  fc.assert(
    fc.property(facts, (each) => {
      const decision = decideRelease(each);
      if (decision.kind === 'skip') return assert.ok(decision.why.length > 0);
      const owners = each.disks.flatMap((disk) => disk.lockOwners);
      assert.ok(each.disks.length > 0 && each.isActiveNow !== true);
      assert.ok(
        each.disks.every((disk) => disk.lockOwners.every((one) => disk.watchers.includes(one))),
      );
      if (each.isLate) assert.deepEqual(owners, []);
      assert.equal(decision.kind, 'take', 'who is off needs no hold');
      if (decision.quiesced !== 'none') assert.equal(each.reason, 'shutdown');
      if (decision.quiesced !== 'none' || decision.instant === 'barrier')
        assert.deepEqual(owners, []);
      assert.equal(decision.instant === 'single', each.disks.length === 1);
    }),
  );
});

test('an operator’s set: whoever runs is held; a barrier without that only where nobody has the disks', () => {
  const wanted = { quiesce: 'none', instant: 'auto' } as const;
  const instant = (isActive: boolean | undefined, disks: readonly DiskUse[], more = {}) => {
    const decision = decideAsked({ ...wanted, isActive, disks, ...more });
    return decision.kind === 'take' ? decision.instant : decision.kind;
  };
  assert.equal(instant(false, [FREE, FREE]), 'barrier');
  assert.equal(instant(true, [FREE, FREE]), 'hold');
  assert.equal(instant(true, [OWNED, OWNED], { instant: 'none' }), 'none');
  assert.equal(instant(false, [FREE, OWNED]), 'none');
  assert.equal(instant(undefined, [FREE, FREE]), 'none');
  assert.equal(instant(true, [OWNED]), 'single');
  assert.equal(instant(true, [OWNED], { quiesce: 'try' }), 'hold');
  assert.equal(instant(true, [DEAD]), 'skip');
  assert.equal(instant(undefined, [OWNED], { quiesce: 'require' }), 'skip');
  assert.equal(instant(false, []), 'skip');
});

test('a guest that nobody could be asked to freeze says why, where a freeze was wanted', () => {
  const why = (isActive: boolean | undefined, quiesce: 'none' | 'try') => {
    const decision = decideAsked({ disks: [OWNED], isActive, quiesce, instant: 'auto' });
    return decision.kind === 'take' ? decision.whyNotQuiesced : decision.kind;
  };
  assert.match(why(undefined, 'try') ?? '', /libvirt did not say/);
  assert.match(why(false, 'try') ?? '', /open elsewhere/);
  assert.equal(why(undefined, 'none'), undefined);
});

test('before a start, only disks that nobody has open', () => {
  const kind = (...disks: DiskUse[]) => decidePrepare({ disks }).kind;
  assert.equal(kind(FREE, FREE), 'take');
  assert.equal(kind(FREE, OWNED), 'skip');
  assert.equal(kind({ ...FREE, watchers: ['client.9'] }), 'skip');
  assert.equal(kind(), 'skip');
});

test('disks are chosen once each, and whatever is left out has its reason', () => {
  const source = (name: string, inner = '') =>
    `<source protocol='rbd' name='${name}'>${inner}</source>`;
  const disks = [
    rbdDisk('vda', source('vms/root')),
    rbdDisk('vdb', source('vms/ns/data')),
    rbdDisk('vdc', source('vms/root')),
    rbdDisk('vdd', source('vms/old', "<snapshot name='s'/>")),
    rbdDisk('vde', `<readonly/>${source('vms/ro')}`),
    rbdDisk('sda', source('vms/iso'), 'cdrom'),
    `<disk type='file' device='disk'><source file='/x.qcow2'/><target dev='vdf'/></disk>`,
    `<disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vdg'/></disk>`,
    `<disk type='file' device='cdrom'><target dev='sdb'/></disk>`,
  ];
  const xml = domainXml(UUIDS[0], []).replace('<devices>', `<devices>${disks.join('')}`);
  const { chosen, leftOut } = chooseDisks(parseDomain(xml));
  assert.deepEqual(
    chosen.map((disk) => disk.target),
    ['vda', 'vdb'],
  );
  assert.deepEqual(Object.fromEntries(leftOut.map(({ target, why }) => [target, why])), {
    vdc: 'the same image as vda',
    vdd: 'opened at a snapshot',
    vde: 'read-only',
    sda: 'a cdrom',
    vdf: 'not in RBD (file)',
    vdg: 'not in RBD (volume)',
    sdb: 'an empty drive',
  });
});

test('devices: all, the first, or by target; what is not asked for, or not there, is said', () => {
  const domain = parseDomain(domainXml(UUIDS[0], ['root', 'data', 'logs']));
  const of = (devices: Devices) => {
    const { chosen, leftOut } = chooseDisks(domain, devices);
    return [
      chosen.map(({ target }) => target),
      leftOut.map(({ target, why }) => `${target}: ${why}`),
    ];
  };
  assert.deepEqual(of('all'), [['vda', 'vdb', 'vdc'], []]);
  assert.deepEqual(of('root'), [['vda'], ['vdb: not asked for', 'vdc: not asked for']]);
  assert.deepEqual(of(['vdc', 'vdz']), [
    ['vdc'],
    ['vda: not asked for', 'vdb: not asked for', 'vdz: the domain has no such disk'],
  ]);
});

test('whose software made an image is told by its name', () => {
  const owners = [
    `${UUIDS[0]}_disk`,
    `${UUIDS[0]}_disk.config`,
    `volume-${UUIDS[0]}`,
    `volume-${UUIDS[0]}.deleted`,
    UUIDS[0],
    'volume-1',
    `my-${UUIDS[0]}_disk`,
    `${UUIDS[0]}_disks`,
  ].map((image) => ownerOf({ image }));
  const rest = [undefined, undefined, undefined, undefined];
  assert.deepEqual(owners, ['nova', 'nova', 'cinder', 'cinder', ...rest]);
});

test('ids of sets sort by time, are unique, and name their snapshots', () => {
  const [early, late] = [newSetId(Date.UTC(2026, 0, 9)), newSetId(Date.UTC(2026, 0, 10))];
  assert.ok(early < late);
  assert.match(early, /^20260109t000000z-[0-9a-f]{8}$/);
  assert.equal(snapshotName(early), `siphon.${early}`);
  assert.equal(new Set(Array.from({ length: 100 }, () => newSetId(0))).size, 100);
});
