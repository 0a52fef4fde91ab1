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
