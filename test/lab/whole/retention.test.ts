// Which sets stay, with real domains and snapshots: protected, pruned, of other hosts, of a lost catalogue, and on Nova's disks.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import type { PoliciesAnswer, PruneAnswer, SnapshotsAnswer } from '../../../src/wire/api.ts';
import { defineDomain, markedSnapshots } from '../support/domains.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup } from '../support/images.ts';
import { answering, siphon, siphonJson } from '../support/siphon.ts';

type KeptSet = SnapshotsAnswer['sets'][number];
const cleanup = fileCleanup();
const FILE = '/etc/siphon/policies.d/retention-test.toml';
const NAME = 'retention-a';
const UUID = '5b1f0d6e-7c1d-4c55-9c3e-0a4f5d7e9b10';
const IMAGE = `vms/${UUID}_disk`;

const writePolicy = async (keepLast: number) => {
  const text = `[[policy]]\nname = "kept"\ndomains = ["${NAME}"]\non = ["manual"]\nkeep_last = ${keepLast}\n`;
  await writeFile(FILE, text);
  await until('the policy is in force', async () => {
    const { policies } = await siphonJson<PoliciesAnswer>('policy', 'list');
    return policies.some((each) => each.name === 'kept' && each.keepLast === keepLast);
  });
};

before(async () => {
  await answering();
  await must('rbd', 'create', '--size', '16M', IMAGE);
  cleanup.after(async () => {
    await run('rbd', ['snap', 'purge', '--no-progress', IMAGE]);
    await run('rbd', ['rm', '--no-progress', IMAGE]);
  });
  await defineDomain(cleanup, { name: NAME, uuid: UUID, disks: [{ kind: 'rbd', image: IMAGE }] });
  cleanup.after(() => run('rm', ['-f', FILE]));
  await writePolicy(9);
});

const create = async (): Promise<KeptSet> => {
  const [set] = await siphonJson<KeptSet[]>('snapshot', 'create', NAME);
  assert.ok(set);
  return set;
};
const list = () => siphonJson<KeptSet[]>('snapshot', 'list', NAME);
const goes = ({ decisions }: PruneAnswer) =>
  decisions.filter(({ decision }) => decision === 'prune').map(({ set }) => set);

test('prune goes by the policy in force, says it first, and leaves what is protected', async () => {
  const [first, second, third] = [await create(), await create(), await create()];
  assert.deepEqual([first.policy, first.disks[0]?.owner], ['kept', 'nova']);
  await must('siphon', 'snapshot', 'protect', first.id);
  const denied = await siphon('snapshot', 'delete', first.id);
  assert.equal(denied.code, 5);
  assert.match(denied.stderr, /protected\n.*siphon snapshot unprotect/);
  assert.match((await siphon('snapshot', 'get', first.id)).stdout, /^kept +protected$/m);
  await writePolicy(1);
  const dry = await siphonJson<PruneAnswer>('snapshot', 'prune', NAME, '--dry-run');
  assert.deepEqual(goes(dry), [second.id]);
  assert.equal((await markedSnapshots(IMAGE)).length, 3, 'a dry run');
  assert.deepEqual(goes(await siphonJson<PruneAnswer>('snapshot', 'prune', NAME)), [second.id]);
  await until('it is gone', async () => (await list()).length === 2);
  const left = [first, third].map(({ id }) => `siphon.${id}`);
  assert.deepEqual((await markedSnapshots(IMAGE)).toSorted(), left.toSorted());
});

test('sets of other hosts are shown, and not touched; a lost catalogue is filled again from Ceph', async () => {
  const [own] = await list();
  assert.ok(own);
  const { state: _, ...bare } = own;
  const theirs = JSON.stringify({ ...bare, id: 'of-another', host: 'h9' });
  await writeFile('/tmp/retention-set', theirs);
  cleanup.after(() => run('rados', ['-p', 'vms', 'rmomapkey', 'siphon.sets', 'of-another']));
  await sh('rados -p vms setomapval siphon.sets of-another < /tmp/retention-set');
  const all = await siphonJson<KeptSet[]>('snapshot', 'list', '--all-hosts', NAME);
  assert.deepEqual(
    all.filter(({ host }) => host === 'h9').map(({ id }) => id),
    ['of-another'],
  );
  assert.equal(all.length, 3);
  assert.equal((await siphon('snapshot', 'delete', 'of-another')).code, 4);
  const before = (await list()).map(({ id, isProtected }) => [id, isProtected]);
  await sh(
    'systemctl stop siphond; cd /var/lib/siphon; rm -f siphon.db siphon.db-wal siphon.db-shm',
  );
  await must('systemctl', 'start', 'siphond');
  await answering();
  await until('the sets are back', async () => (await list()).length === before.length);
  assert.deepEqual(
    (await list()).map(({ id, isProtected }) => [id, isProtected]),
    before,
  );
});

const TIMED = '/etc/siphon/policies.d/retention-timed.toml';
const writeTimed = (schedule: string) =>
  writeFile(
    TIMED,
    `[[policy]]\nname = "timed"\ndomains = ["${NAME}"]\nquiesce = "none"\ninstant = "suspend"\nschedule = "${schedule}"\nkeep_last = 2\nkeep_hourly = 1\n`,
  );
const scheduled = async () => (await list()).filter(({ event }) => event === 'scheduled');
const nextRun = async () => {
  const { nextRuns } = await siphonJson<PoliciesAnswer>('policy', 'list');
  return nextRuns.find(({ policy }) => policy === 'timed');
};

test('a schedule that is none is told by file, line and key, and changes nothing', async () => {
  cleanup.after(() => run('rm', ['-f', TIMED]));
  await writeTimed('*-*-* *:*:0/5x');
  const { code, stderr } = await siphon('config', 'check');
  assert.equal(code, 2);
  assert.match(stderr, /retention-timed\.toml:6: schedule: .*systemd-analyze calendar.*parse/);
  await until('siphond says so', async () => {
    const { policies, problems } = await siphonJson<PoliciesAnswer>('policy', 'list');
    const isTold = problems.some(({ where }) => where === `${TIMED}:6`);
    return isTold && !policies.some(({ name }) => name === 'timed');
  });
});

test('a schedule has sets taken of a running domain, and counts prune them', async () => {
  await writeTimed('*-*-* *:*:0/5');
  await until('it is in force', async () => (await nextRun()) !== undefined);
  const { atMs = null } = (await nextRun()) ?? {};
  assert.ok(atMs !== null && atMs % 5000 === 0 && atMs > Date.now() - 60_000);
  await must('virsh', '-q', 'start', NAME);
  cleanup.after(() => run('virsh', ['-q', 'destroy', NAME]));
  const seen = new Map<string, KeptSet>();
  await until(
    'older ones are pruned',
    async () => {
      const sets = await scheduled();
      for (const set of sets) seen.set(set.id, set);
      const ofRunning = [...seen.values()].filter(({ holdMs }) => holdMs !== undefined);
      return ofRunning.length >= 2 && seen.size >= 4 && sets.length <= 3;
    },
    120,
  );
  assert.ok([...seen.values()].every(({ policy }) => policy === 'timed'));
  const { decisions } = await siphonJson<PruneAnswer>('snapshot', 'prune', NAME, '--dry-run');
  assert.ok(decisions.some(({ reason }) => reason === "last 1 of 2 of policy 'timed'"));
  const test = await siphon('policy', 'test', NAME, 'scheduled');
  assert.match(test.stdout, /^next by schedule +20.*Z$/m);
});

test('what elapsed while siphond was down is caught up with once', async () => {
  await must('virsh', '-q', 'destroy', NAME);
  await must('systemctl', 'stop', 'siphond');
  const stoppedMs = Date.now();
  const atMs = stoppedMs + 2000;
  await writeTimed(`${new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')} UTC`);
  await until('it has elapsed', async () => Date.now() > atMs);
  await must('systemctl', 'start', 'siphond');
  await answering();
  const since = async () => (await scheduled()).filter((set) => set.createdAtMs > stoppedMs);
  await until('it is taken', async () => (await since()).length === 1);
  assert.equal((await nextRun())?.atMs, null, 'it never elapses again');
  await must('systemctl', 'restart', 'siphond');
  await answering();
  await create();
  assert.equal((await since()).length, 1);
  await must('rm', TIMED);
});

test("on Nova's disk nothing that is not protected outlives the domain", async () => {
  const kept = (await list()).find(({ isProtected }) => isProtected);
  await must('siphon', 'snapshot', 'unprotect', kept?.id ?? '');
  await must('virsh', '-q', 'undefine', NAME);
  await until(
    'its snapshots are gone',
    async () => (await markedSnapshots(IMAGE)).length === 0,
    60,
  );
  // Their records go after them.
  await until('no set is known', async () => (await list()).length === 0);
  await must('rbd', 'rm', '--no-progress', IMAGE);
});
