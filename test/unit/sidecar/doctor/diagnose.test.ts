// Each finding by the one fact that is wrong; a healthy host has none.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { diagnose } from '../../../../src/sidecar/doctor/diagnose.ts';
import type { Facts, HookFacts, SiteFacts, Trial } from '../../../../src/sidecar/doctor/facts.ts';
import { FINDINGS, type FindingCode, isWrong } from '../../../../src/sidecar/doctor/findings.ts';
import type { Examined } from '../../../../src/wire/worker-protocol.ts';
import {
  ceph,
  healthy,
  host,
  hostFacts,
  site,
  siteFacts,
  socket,
  status,
  told,
  user,
} from './healthy.ts';

const unit = (spoilt: object) => host({ units: [{ ...hostFacts.units[0]!, ...spoilt }] });
const hook = (spoilt: Partial<HookFacts>) => host({ hook: { ...hostFacts.hook, ...spoilt } });
const disk = (spoilt: Partial<SiteFacts['disk']>) =>
  site({ disk: { ...siteFacts.disk, ...spoilt } });
const trial = (one: Trial) =>
  ceph({ users: [user({ trials: [{ job: 'snapshot', trial: one }] })] });
const failed = (code: Extract<Trial, { kind: 'failed' }>['code']) =>
  trial({ kind: 'failed', code, why: 'so it is' });
const seen = (spoilt: Partial<Examined>) => trial(told(spoilt));
const health = (state: string, code: string) =>
  seen({ health: { status: state, checks: [{ code, summary: 'one' }] } });
const answers = (spoilt: object) =>
  site({ siphond: { kind: 'answers', status: { ...status, ...spoilt }, suspects: [] } });
const at = { pool: 'vms', namespace: '', image: 'd' };
const key = { file: '/k', kind: 'there', type: 'aes256k' } as const;
const silent = { kind: 'silent', why: 'no answer within 5 s' } as const;

const answered = {
  kind: 'answers',
  versions: { libvirt: '9', hypervisor: '7' },
  domains: [],
} as const;

const { site: _, ...withoutSite } = healthy;

const CASES: Readonly<Record<FindingCode, Facts>> = {
  'config-mistake': {
    ...withoutSite,
    configProblems: ['siphon.toml:2: cache.limitt: unknown key'],
  },
  'policies-mistake': site({ policyProblems: [{ where: '/p.toml:1', what: 'unknown key' }] }),
  'siphond-down': { ...unit({ isActive: false }), site: { ...siteFacts, siphond: silent } },
  'siphond-silent': site({ siphond: silent }),
  'siphond-other-version': answers({ version: '0.9.0' }),
  'siphond-problem': answers({ problems: [{ where: 'there', what: 'that' }] }),
  'unit-missing': unit({ isLoaded: false }),
  'unit-disabled': unit({ isEnabled: false }),
  'unit-order': unit({ before: [] }),
  'socket-missing': site({ sockets: [socket({})] }),
  'socket-mode': site({ sockets: [socket({ mode: 0o666, group: 'siphon-admin' })] }),
  'account-missing': host({ missingAccounts: ['siphon-read'] }),
  'spool-backlog': site({ spool: { events: 2, oldestMs: 900_000, bad: 0 } }),
  'spool-bad': site({ spool: { events: 0, bad: 1 } }),
  'hook-missing': hook({ state: 'missing' }),
  'hook-not-executable': hook({ state: 'not-executable' }),
  'hook-other-version': hook({ state: 'other-version' }),
  'hook-unseen': hook({ state: 'unseen' }),
  'hook-copy': hook({ copies: ['/etc/libvirt/hooks/qemu.d/50-siphon~'] }),
  'hook-bypassed': hook({ isBypassed: true }),
  'hook-unknown': hook({ state: 'unknown' }),
  'mount-missing': disk({ mount: 'missing' }),
  'mount-writable': disk({ mount: 'writable' }),
  'mount-other': disk({ mount: 'other' }),
  'bases-missing': disk({ bases: 'missing' }),
  'bases-closed': disk({ bases: 'closed' }),
  'snapshots-folder': site({
    disk: { ...siteFacts.disk, isSnapshotsClosed: true },
    config: { ...siteFacts.config, publish: { folder: '/s', format: 'qcow2' } },
  }),
  'disk-reserve': disk({ freeBytes: 2 ** 20 }),
  'disk-limit': disk({ totalBytes: 2 ** 31 }),
  'state-disk-full': disk({ stateFreeBytes: 2 ** 20 }),
  'base-suspect': site({ siphond: { kind: 'answers', status, suspects: ['/b.qcow2'] } }),
  'selinux-label': disk({ selinuxType: 'var_lib_t' }),
  'libvirt-down': site({ libvirt: silent }),
  'guard-rule-missing': host({ guard: { why: 'Access denied', isRuleThere: false } }),
  'guard-refused': host({ guard: { why: 'Access denied', isRuleThere: true } }),
  'libvirt-closed': site({ libvirt: { ...answered, whyClosed: 'authentication failed' } }),
  'conf-missing': ceph({ conf: 'missing', users: [] }),
  'conf-malformed': failed('usage'),
  'keyring-unreadable': ceph({
    users: [user({ key: { kind: 'unreadable', file: '/k', why: 'EACCES' }, trials: [] })],
  }),
  'ceph-file-closed': ceph({ closed: ['/etc/ceph/ceph.conf'] }),
  'key-missing': ceph({ users: [user({ key: { kind: 'no-key', files: ['/k'] }, trials: [] })] }),
  'key-type': ceph({
    users: [
      user({
        key,
        trials: [{ job: 'fill', trial: { kind: 'failed', code: 'denied', why: 'no key' } }],
      }),
    ],
  }),
  'key-wrong': failed('denied'),
  'fsid-wrong': failed('mismatch'),
  'monitors-silent': failed('unavailable'),
  'ceph-untold': failed('busy'),
  'pool-missing': seen({ pools: [{ pool: 'vms', trial: { kind: 'absent' } }] }),
  'caps-missing': seen({ pools: [{ pool: 'vms', trial: { kind: 'may-not', op: 'list' } }] }),
  'tick-pool-missing': seen({ ticks: { kind: 'absent' } }),
  'tick-pool-closed': seen({ ticks: { kind: 'may-not', op: 'write siphon.tick' } }),
  'may-blocklist': seen({ mayBlocklist: true }),
  'vm-key-cannot-break-locks': ceph({ vmKeys: [{ user: 'libvirt', monCaps: 'allow r' }] }),
  'cluster-unhealthy': health('HEALTH_WARN', 'OSD_DOWN'),
  'clock-skew': health('HEALTH_WARN', 'MON_CLOCK_SKEW'),
  'disk-missing': seen({ disks: [{ at, trial: { kind: 'absent' } }] }),
  'disk-without-lock': seen({ disks: [{ at, trial: { kind: 'there', hasLock: false } }] }),
  apparmor: host({ isAppArmorActive: true }),
  'agent-channel': site({
    libvirt: {
      kind: 'answers',
      versions: { libvirt: '1', hypervisor: '1' },
      domains: [{ name: 'd', hasAgentChannel: false, disks: [] }],
    },
  }),
  'clock-unsynchronised': host({ isClockSynchronised: false }),
  'fill-limits': answers({ fillGroup: { limits: [], absent: ['io'] } }),
  'cluster-warning': health('HEALTH_WARN', 'POOL_APP_NOT_ENABLED'),
  'pools-unknown': ceph({ pools: { images: [], vms: [] } }),
  'vm-key-unchecked': ceph({ vmKeys: [{ user: 'libvirt' }] }),
  reflink: disk({ canReflink: true }),
  abilities: ceph({
    abilities: [{ of: 'librbd', name: 'x', isPresent: false, without: 'y' }],
  }),
  versions: healthy,
};

test('a healthy host has no finding', () => {
  assert.deepEqual(diagnose(healthy).filter(isWrong), []);
});

for (const [code, facts] of Object.entries(CASES)) {
  test(`${code} is found, alone, and says what to type`, () => {
    const findings = diagnose(facts);
    const kind = FINDINGS[code as FindingCode];
    const expected = kind.severity === 'note' ? [] : [code];
    assert.deepEqual(
      findings.filter(isWrong).map((each) => each.code),
      expected,
    );
    const found = findings.find((each) => each.code === code);
    assert.ok(found);
    assert.equal(found.type.length > 0, isWrong(found));
    assert.doesNotMatch(found.type.join('\n'), /undefined/);
  });
}

test('a pool for ticks that is not there is missed only where the config names it', () => {
  const { ticks, ...rest } = { ticks: { kind: 'absent' } as const, isTickPoolStated: false };
  const users = [user({ trials: [{ job: 'snapshot', trial: told({ ticks }) }] })];
  assert.deepEqual(diagnose(ceph({ users, ...rest })).filter(isWrong), []);
});

test('each finding is in the documentation', () => {
  const text = readFileSync('docs/doctor.md', 'utf8');
  for (const code of Object.keys(FINDINGS)) assert.ok(text.includes(`| \`${code}\` |`), code);
});

test('what siphond reports of a thing that was found is not told twice', () => {
  const { mount } = siteFacts.config.cache;
  const problems = [{ where: mount, what: 'no mount' }];
  const facts = site({
    disk: { ...siteFacts.disk, mount: 'missing' },
    siphond: { kind: 'answers', status: { ...status, problems }, suspects: [] },
  });
  assert.deepEqual(
    diagnose(facts)
      .filter(isWrong)
      .map((each) => each.code),
    ['mount-missing'],
  );
});

const SNAPSHOT =
  'profile rbd-read-only pool=vms, allow rwx pool=vms object_prefix rbd_header., allow wx pool=vms object_prefix rbd_object_map., ' +
  'allow w pool=vms object_prefix siphon.sets, allow class-read object_prefix rbd_children, profile rbd-read-only pool=images';

test('what is missing is told with the caps that this user needs', () => {
  const [found] = diagnose(CASES['caps-missing']).filter(isWrong);
  assert.deepEqual(found?.type, [`ceph auth caps client.s mon 'allow r' osd '${SNAPSHOT}'`]);
});
