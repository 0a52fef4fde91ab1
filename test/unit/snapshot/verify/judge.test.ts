import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Boot, type Checks, judge } from '../../../../src/snapshot/verify/judge.ts';
import { readChecks } from '../../../../src/snapshot/verify/script.ts';
import type { CheckedFilesystem, ProofLevel } from '../../../../src/wire/verify-api.ts';

const ROOT = { mountpoint: '/', device: 'vda1', type: 'ext4', disks: ['vda'] };
type Up = Extract<Boot, { kind: 'up' }>;
const up = (more: Partial<Up['answer']> = {}): Up => ({
  kind: 'up',
  afterMs: 4321.5,
  answer: { kind: 'answers', agent: '10.0', os: 'Debian', filesystems: [ROOT], ...more },
});
const found = (...results: Partial<CheckedFilesystem>[]): Checks => ({
  kind: 'looked',
  found: results.map((each) => ({ target: 'vda', type: 'ext4', result: 'clean', ...each })),
});

const CASES: readonly {
  readonly name: string;
  readonly boot?: Boot;
  readonly checks?: Checks;
  readonly wanted?: ProofLevel;
  readonly level?: ProofLevel;
  readonly isProven?: false;
  readonly says?: RegExp;
}[] = [
  { name: 'all is clean', checks: found({}, { type: 'vfat', result: 'mounts' }), level: 'checked' },
  { name: 'all is clean, and it has to be', wanted: 'checked', level: 'checked' },
  {
    name: 'an agent that may run nothing',
    checks: { kind: 'not', why: 'its agent is not allowed guest-exec' },
    level: 'agent',
    says: /not allowed/,
  },
  {
    name: 'the same, and more is wanted',
    checks: { kind: 'not', why: 'its agent is not allowed guest-exec' },
    wanted: 'checked',
    level: 'agent',
    isProven: false,
    says: /'checked' is wanted \(verify\.level\): its agent is not allowed/,
  },
  {
    name: 'something that was not looked into',
    checks: found({}, { partition: 2, type: 'btrfs', result: 'unchecked', why: 'several' }),
    level: 'agent',
    says: /^vda2 \(btrfs\): several$/,
  },
  { name: 'nothing that has a check', checks: found(), level: 'agent', says: /no filesystem/ },
  {
    name: 'damage, whatever is wanted',
    checks: found({}, { partition: 3, result: 'damaged', why: 'e2fsck: bad' }),
    isProven: false,
    says: /^vda3 \(ext4\): e2fsck: bad; not in the set: vdz$/,
  },
  {
    name: 'an agent without a filesystem',
    boot: up({ filesystems: [] }),
    isProven: false,
    says: /no filesystem of its disks is mounted/,
  },
  {
    name: 'an agent that tells none',
    boot: up({ filesystems: [], whyNoFilesystems: 'disabled' }),
    isProven: false,
    says: /does not tell its filesystems: disabled/,
  },
  {
    name: 'a guest that is silent',
    boot: { kind: 'silent', afterMs: 300_000, why: 'not connected' },
    isProven: false,
    says: /within 300 s \(not connected\); .*qemu-guest-agent.*verify\.boot_timeout; not in the set: vdz$/,
  },
  {
    name: 'a guest that turns itself off',
    boot: { kind: 'ended', afterMs: 7000 },
    isProven: false,
    says: /turned itself off 7 s after/,
  },
  {
    name: 'a domain that does not start',
    boot: { kind: 'not-begun', why: 'no\nfirmware\u001b[2J' },
    isProven: false,
    says: /does not start: no firmware \[2J; not in the set: vdz$/,
  },
];

for (const { name, boot = up(), checks = found({}), wanted = 'agent', ...want } of CASES) {
  test(`${name}: ${want.isProven === false ? 'not proven' : want.level}`, () => {
    const proof = judge({ boot, checks }, wanted, [{ target: 'vdz', why: 'local' }], 5);
    assert.equal(proof.isProven, want.isProven ?? true);
    assert.equal(proof.level, want.level);
    assert.deepEqual([proof.atMs, proof.wanted], [5, wanted]);
    const told = proof.why ?? proof.whyNotChecked;
    if (want.says === undefined) return assert.equal(told, undefined);
    assert.match(told ?? '', want.says);
  });
}

test('what is seen is kept, bounded, and free of control characters', () => {
  const many = Array.from({ length: 100 }, () => ({ ...ROOT, mountpoint: '/\u001b[31mx' }));
  const boot = up({ filesystems: many, os: 'a\tb', agent: 'v'.repeat(1000) });
  const proof = judge({ boot, checks: found({}) }, 'agent', [], 0);
  assert.equal(proof.filesystems.length, 64);
  assert.equal(proof.filesystems[0]?.mountpoint, '/ [31mx');
  assert.deepEqual([proof.os, proof.agent?.length, proof.bootMs], ['a b', 300, 4322]);
});

test('the lines of a guest are read with care', () => {
  const lines = [
    'vda\t1\text4\tclean\t',
    'vda\t2\text4\tno-mount\tmount: Structure needs cleaning',
    'vda\t3\txfs\tno-mount\tmount: unknown filesystem type xfs',
    'vda\t4\text4\tno-mount\tmount: permission denied',
    'vdb\t\tunknown\tunchecked\tno filesystem is known on it',
    'vdz\t1\text4\tclean\tof a disk that nobody asked for',
    'vda\t1\text4\tproven\tno such word',
    'vda\tx\text4\tclean\t',
    'noise',
  ];
  assert.deepEqual(readChecks(lines.join('\n'), ['vda', 'vdb']), [
    { target: 'vda', partition: 1, type: 'ext4', result: 'clean' },
    {
      target: 'vda',
      partition: 2,
      type: 'ext4',
      result: 'damaged',
      why: 'it does not mount: mount: Structure needs cleaning',
    },
    {
      target: 'vda',
      partition: 3,
      type: 'xfs',
      result: 'unchecked',
      why: 'it does not mount: mount: unknown filesystem type xfs',
    },
    {
      target: 'vda',
      partition: 4,
      type: 'ext4',
      result: 'unchecked',
      why: 'it does not mount: mount: permission denied',
    },
    { target: 'vdb', type: 'unknown', result: 'unchecked', why: 'no filesystem is known on it' },
    { target: 'vda', type: 'ext4', result: 'clean' },
  ]);
  assert.ok(readChecks('vda\t1\text4\tclean\t\n'.repeat(1000), ['vda']).length <= 200);
});
