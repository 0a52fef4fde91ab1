// Exports and imports as an operator makes them: to a file, through a pipe, interrupted by a kill of any of the three that take part.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat, truncate } from 'node:fs/promises';
import { before, test } from 'node:test';
import type { JobsAnswer, SnapshotsAnswer } from '../../../src/wire/api.ts';
import type { LeftoversAnswer } from '../../../src/wire/leftovers-api.ts';
import { defineDomain } from '../support/domains.ts';
import { becomes, must, run, sh, until } from '../support/host.ts';
import { fileCleanup, freshPool, removeImage } from '../support/images.ts';
import { answering, siphon, siphondPid, siphonJson } from '../support/siphon.ts';

type KeptSet = SnapshotsAnswer['sets'][number];
const cleanup = fileCleanup();
const NAME = 'transfer';
const DISKS = [`vms/${NAME}-a`, `vms/${NAME}-b`] as const;
/** The installed command runs with no PrivateTmp of siphond's: its files are its own. */
const FOLDER = '/root/transfer-test';
let pool: string;
let sets: readonly [KeptSet, KeptSet];

before(async () => {
  await answering();
  pool = await freshPool(cleanup);
  await must('rbd', 'namespace', 'create', `${pool}/ns`);
  await must('mkdir', '-m', '700', FOLDER);
  cleanup.after(() => run('rm', ['-rf', FOLDER]));
  await sh(`head -c 120M /dev/urandom | rbd import --no-progress - ${DISKS[0]}
    head -c 5000777 /dev/urandom | rbd import --no-progress - ${DISKS[1]}`);
  for (const image of DISKS) cleanup.after(() => removeImage(image));
  const disks = DISKS.map((image) => ({ kind: 'rbd', image }) as const);
  await defineDomain(cleanup, { name: NAME, disks });
  const first = await take();
  await sh(`head -c 1M /dev/urandom >${FOLDER}/change
    qemu-io -f raw -c 'write -q -s ${FOLDER}/change 40M 1M' rbd:${DISKS[0]}`);
  sets = [first, await take()];
});

async function take(): Promise<KeptSet> {
  const [set] = await siphonJson<KeptSet[]>('snapshot', 'create', NAME);
  assert.ok(set);
  cleanup.after(() => siphon('snapshot', 'delete', set.id));
  return set;
}

const sha256Of = (image: string) => sh(`rbd export --no-progress ${image} - | sha256sum`);

async function assertCopy(copy: KeptSet, set: KeptSet): Promise<void> {
  for (const [at, disk] of copy.disks.entries()) {
    const image = [disk.pool, disk.namespace, disk.image].filter(Boolean).join('/');
    const want = await sha256Of(`${DISKS[at]}@siphon.${set.id}`);
    assert.equal(await sha256Of(`${image}@siphon.${copy.id}`), want, image);
  }
}

const jobsOf = async (kind: string) =>
  (await siphonJson<JobsAnswer['jobs']>('jobs')).filter((job) => job.kind === kind);

test('a set and what changed after it go to files, and are the same elsewhere', async () => {
  const [full, changed] = [`${FOLDER}/full`, `${FOLDER}/changed`];
  await must('siphon', 'export', sets[0].id, '--to', full);
  await must('siphon', 'export', sets[1].id, '--since', sets[0].id, '--to', changed);
  assert.equal((await stat(full)).mode & 0o777, 0o600);
  assert.ok((await stat(changed)).size < 1.1 * 2 ** 20 + 32_768);
  assert.equal((await siphon('export', sets[0].id, '--to', full)).code, 5, 'it is there');
  const copy = await siphonJson<KeptSet>('import', full, '--to', pool);
  assert.notEqual(copy.id, sets[0].id, 'this cluster has that set already');
  await assertCopy(copy, sets[0]);
  const second = await siphonJson<KeptSet>('import', changed, '--to', pool);
  await assertCopy(second, sets[1]);
  const again = await siphon('import', changed, '--to', pool);
  assert.deepEqual([again.code, /imported there already/.test(again.stderr)], [5, true]);
  const ofAll = await siphonJson<KeptSet[]>('snapshot', 'list', '--all-hosts', NAME);
  assert.ok(ofAll.some(({ id, imported }) => id === second.id && imported?.setId === sets[1].id));
  await must('siphon', 'snapshot', 'delete', second.id, copy.id);
  assert.equal(
    await sha256Of(`${pool}/${NAME}-a`),
    await sha256Of(`${DISKS[0]}@siphon.${sets[1].id}`),
  );
  assert.equal(await sh(`rbd snap ls ${pool}/${NAME}-a`), '');
});

test('through a pipe, and of one disk', async () => {
  const [{ id }] = sets;
  await sh(
    `siphon export ${id} --devices vdb --to - | siphon import - --to ${pool}/ns --name piped --json >${FOLDER}/set`,
  );
  const copy = JSON.parse(await readFile(`${FOLDER}/set`, 'utf8')) as KeptSet;
  assert.deepEqual(
    copy.disks.map(({ image }) => image),
    ['piped'],
  );
  const want = await sha256Of(`${DISKS[1]}@siphon.${id}`);
  assert.equal(await sha256Of(`${pool}/ns/piped@siphon.${copy.id}`), want);
  await must('siphon', 'snapshot', 'delete', copy.id);
  await sh(`siphon export ${id} --to - 2>${FOLDER}/said | head -c 1M >/dev/null || true`);
  assert.match(await readFile(`${FOLDER}/said`, 'utf8'), /^siphon: write: standard output/);
  await becomes(async () => (await jobsOf('export'))[0]?.state, 'cancelled');
});

test('an export that was cut goes on, and a cut file is no export', async () => {
  const [full, file] = [`${FOLDER}/full`, `${FOLDER}/cut`];
  await sh(`head -c 30000000 ${full} >${file}.partial`);
  const { isResumed } = await siphonJson<{ isResumed: boolean }>(
    'export',
    sets[0].id,
    '--to',
    file,
  );
  assert.equal(isResumed, true);
  await must('cmp', file, full);
  await sh(`head -c 100000 ${full} >${FOLDER}/other.partial`);
  const other = await siphon('export', sets[1].id, '--to', `${FOLDER}/other`);
  assert.deepEqual(
    [other.code, /begun for another set|other disks/.test(other.stderr)],
    [10, true],
  );
  await truncate(file, 50 * 2 ** 20);
  const cut = await siphon('import', file, '--to', pool, '--name', 'cut');
  assert.deepEqual([cut.code, /the file was cut/.test(cut.stderr)], [9, true]);
});

async function ends(command: ReturnType<typeof spawn>): Promise<void> {
  command.stdin?.destroy();
  if (command.exitCode === null) await once(command, 'exit');
}

/** Not all of it, so that it cannot be done before it is interrupted. */
async function begin(name: string) {
  const part = (await readFile(`${FOLDER}/full`)).subarray(0, 30_000_000);
  const args = ['import', '-', '--to', pool, '--name', name];
  const command = spawn('siphon', args, { stdio: ['pipe', 'ignore', 'ignore'] });
  command.stdin.on('error', () => undefined); // whom it is for is gone
  command.stdin.write(part);
  await until('it writes', async () => {
    const [job] = await jobsOf('import');
    return job?.state === 'open' && job.step === 'write';
  });
  return command;
}

const openImports = async () => (await jobsOf('import')).filter(({ state }) => state === 'open');

test('an import goes on after siphond was killed, and is undone when it is cancelled', async () => {
  const first = await begin('killed');
  process.kill(await siphondPid(), 'SIGKILL');
  await ends(first);
  await answering();
  const file = `${FOLDER}/full`;
  const copy = await siphonJson<KeptSet>('import', file, '--to', pool, '--name', 'killed');
  await assertCopy(copy, sets[0]);
  await must('siphon', 'snapshot', 'delete', copy.id);
  const second = await begin('cancelled');
  const [job] = await jobsOf('import');
  await must('siphon', 'jobs', '--cancel', job?.id ?? '');
  await ends(second);
  await becomes(async () => sh(`rbd ls ${pool} | grep -c -e import -e cancelled || true`), '0', 90);
  await becomes(openImports, []);
});

test('what a host that is gone has imported in part goes when an operator says so', async () => {
  const command = await begin('left');
  command.kill('SIGKILL'); // one whose input ends says that there is no more to come
  await ends(command);
  const images = () => sh(`rbd ls ${pool} | grep siphon.import. || true`);
  assert.notEqual(await images(), '');
  const reconcile = async () => {
    const { leftovers } = await siphonJson<LeftoversAnswer>('reconcile', '--host', 'gone-host');
    return leftovers.map(({ kind, decision }) => `${kind} ${decision}`);
  };
  assert.deepEqual(await reconcile(), [], 'it is of this host');
  const note = (host: string, atMs: number) =>
    sh(`key=$(rados -p ${pool} listomapkeys siphon.imports)
      rados -p ${pool} getomapval siphon.imports $key ${FOLDER}/note >/dev/null
      rados -p ${pool} setomapval siphon.imports $key \
        "$(jq -c '.host = "${host}" | .atMs = ${atMs}' ${FOLDER}/note)"`);
  await note('gone-host', Date.now());
  assert.deepEqual(await reconcile(), ['import stays'], 'it may come back');
  await note('gone-host', 1);
  await becomes(reconcile, ['import removed']);
  assert.equal(await images(), '');
  assert.equal(await sh(`rados -p ${pool} listomapkeys siphon.imports`), '');
  await becomes(openImports, [], 90);
});
