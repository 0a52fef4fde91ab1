// Sets to files, and what is gone round: a user that may not write the pool, a pool that is full; kill -9 while files are written.

import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import type { JobsAnswer, SnapshotsAnswer } from '../../../src/wire/api.ts';
import type { LeftoversAnswer } from '../../../src/wire/leftovers-api.ts';
import type { PublishedFile, PublishResult } from '../../../src/wire/publish-api.ts';
import { defineDomain } from '../support/domains.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup, freshPool, removeImage } from '../support/images.ts';
import { assertAnswered } from '../support/settled.ts';
import { answering, siphon, siphondPid, siphonJson } from '../support/siphon.ts';

const cleanup = fileCleanup();
const NAME = 'files';
const DISKS = { vda: `vms/${NAME}-a`, vdb: `vms/${NAME}-b` } as const;
const FOLDER = '/var/lib/siphon-snapshots';
const CONFIG = '/etc/siphon/conf.d/93-publish.toml';
let pool: string;
let set: string;

const configure = (toml: string) =>
  sh(`mkdir -p /etc/siphon/conf.d; echo '${toml}' >${CONFIG}; siphon reload`);
const folderConfig = (folder: string) => `publish.snapshots_directory = "${folder}"`;

before(async () => {
  await answering();
  pool = await freshPool(cleanup);
  await must('install', '-d', '-o', 'siphon', '-g', 'siphon', '-m', '750', FOLDER);
  cleanup.after(() => run('rm', ['-rf', FOLDER]));
  cleanup.after(() => sh(`rm -f ${CONFIG}; siphon reload`));
  // One with holes, and one whose size is of no whole cluster; the first looks like a qcow2 file.
  await sh(`file=$(mktemp -p /var/lib/siphon)
    qemu-img create -q -f qcow2 $file 1M
    truncate -s 96M $file
    dd if=/dev/urandom of=$file bs=1M count=20 seek=40 conv=notrunc status=none
    rbd import --no-progress --object-size 1M $file ${DISKS.vda}
    head -c 5000192 /dev/urandom | rbd import --no-progress - ${DISKS.vdb}
    rm $file`);
  for (const image of Object.values(DISKS)) cleanup.after(() => removeImage(image));
  const disks = Object.values(DISKS).map((image) => ({ kind: 'rbd', image }) as const);
  await defineDomain(cleanup, { name: NAME, disks });
  const [made] = await siphonJson<SnapshotsAnswer['sets']>('snapshot', 'create', NAME);
  set = made?.id ?? assert.fail('no set');
  cleanup.after(() => siphon('snapshot', 'delete', set));
});

const publish = (...words: readonly string[]) =>
  siphonJson<PublishResult>('publish', set, ...words);
const imagesIn = async (): Promise<string[]> =>
  JSON.parse(await must('rbd', 'ls', pool, '--format', 'json')) as string[];
const entriesIn = async () =>
  (await run('rados', ['-p', pool, 'listomapkeys', 'siphon.publishing'])).stdout;

/** By QEMU's eyes what `rbd export` gives of the snapshot. */
async function assertSame({ path, target, format, sizeBytes }: PublishedFile): Promise<void> {
  const image = DISKS[target as keyof typeof DISKS];
  await sh(`raw=$(mktemp -p /var/lib/siphon -u)
    rbd export --no-progress '${image}@siphon.${set}' $raw
    qemu-img compare -f raw -F ${format} $raw ${path}
    [ $(stat -c %s $raw) = ${sizeBytes} ]
    [ $(qemu-img info --output json -f ${format} ${path} | jq '."virtual-size"') = ${sizeBytes} ]
    rm $raw`);
  if (format === 'qcow2') await must('qemu-img', 'check', '-q', path);
  const { mode, blocks, uid } = await stat(path);
  assert.equal(mode & 0o777, 0o640);
  assert.equal(uid, Number(await must('id', '-u', 'siphon')));
  assert.ok(blocks * 512 < sizeBytes || target === 'vdb', 'holes stay holes');
}

async function assertFiles(files: readonly PublishedFile[] = []): Promise<void> {
  const names = files.map(({ path }) => path.slice(FOLDER.length + 1));
  assert.deepEqual((await readdir(FOLDER)).toSorted(), names.toSorted());
  for (const file of files) await assertSame(file);
  for (const { path } of files) await must('rm', path);
}

test('to files that were asked for: the same bytes, sparse, by name, and never over another', async () => {
  const refused = await siphon('publish', set, '--to', 'file');
  assert.deepEqual([refused.code, /snapshots_directory/.test(refused.stderr)], [5, true]);
  await configure(folderConfig('/var/lib/siphon-nowhere'));
  const nowhere = await siphon('publish', set, '--to', 'file');
  assert.deepEqual([nowhere.code, /install -d/.test(nowhere.stderr)], [5, true], nowhere.stderr);
  await configure(folderConfig(FOLDER));
  const { images, files = [] } = await publish('--to', 'file');
  assert.deepEqual(images, []);
  const named = Object.keys(DISKS).map((target) => `${FOLDER}/${NAME}-${set}-${target}.qcow2`);
  assert.deepEqual(
    files.map(({ path }) => path),
    named,
  );
  const again = await siphon('publish', set, '--to', 'file');
  assert.deepEqual([again.code, /there already/.test(again.stderr)], [5, true]);
  await assertFiles(files);
  const raw = await publish('--to', 'file', '--format', 'raw', '--name', 'r', '--devices', 'vda');
  assert.equal(raw.files?.[0]?.path, `${FOLDER}/r.raw`);
  await assertFiles(raw.files);
});

test('where there is no room for them, nothing is written', async () => {
  await configure(`${folderConfig(FOLDER)}
cache.reserve = "900TiB"`);
  try {
    const refused = await siphon('publish', set, '--to', 'file');
    assert.equal(refused.code, 8, refused.stderr);
    assert.match(refused.stderr, /may be needed, .* are free, of which 900.0 TiB stay so/);
    assert.deepEqual(await readdir(FOLDER), []);
  } finally {
    await configure(folderConfig(FOLDER));
  }
});

const USER = 'client.siphon-publish';
const CAPS = ['mon', 'allow r, allow command "osd pool op unmanaged-snap"'];

/** Of siphon's publish user: those of this host (prepare-host.sh), and the manager's. */
async function grant(osd: string): Promise<void> {
  await must('ceph', 'auth', 'caps', USER, ...CAPS, 'osd', osd, 'mgr', 'profile rbd');
  await must('systemctl', 'restart', 'siphond');
  await answering();
}

test('who may not write in the pool gets a file, and is told why; without one it is an error', async () => {
  cleanup.after(() => must('ceph', 'auth', 'caps', USER, ...CAPS, 'osd', 'profile rbd'));
  await grant('profile rbd-read-only');
  try {
    const to = ['--to', pool, '--devices', 'vdb', '--name', 'denied'];
    const none = await siphon('publish', set, ...to, '--no-fallback');
    assert.deepEqual([none.code, /may not/.test(none.stderr)], [12, true], none.stderr);
    const { images, files = [] } = await publish(...to);
    assert.deepEqual(images, []);
    assert.match(files[0]?.whyCopied ?? '', /may not.*; a copy was tried, since: .*may not/);
    await assertFiles(files);
    const doctor = await siphon('doctor', '--images', pool, '--json');
    const { findings } = JSON.parse(doctor.stdout) as {
      findings: { code: string; what: string }[];
    };
    const missing = findings.filter(({ code }) => code === 'caps-missing');
    assert.match(JSON.stringify(missing), new RegExp(`siphon-publish.*${pool}`));
  } finally {
    await grant('profile rbd');
  }
  assert.deepEqual([await imagesIn(), await entriesIn()], [[], '']);
});

test('a full pool is gone round by a file, and not by a copy', async () => {
  const quota = (bytes: number) =>
    must('ceph', 'osd', 'pool', 'set-quota', pool, 'max_bytes', String(bytes));
  const isFull = async () =>
    /"flags_names":"[^"]*full/.test(
      await sh(`ceph osd pool ls detail -f json | jq -c '.[] | select(.pool_name == "${pool}")'`),
    );
  await sh(`head -c 64K /dev/urandom | rados -p ${pool} put filler -`);
  await quota(1024);
  await until('the pool is full', isFull);
  const to = ['--to', pool, '--devices', 'vdb', '--name', 'full'];
  const none = await siphon('publish', set, ...to, '--no-fallback');
  assert.deepEqual([none.code, /is full/.test(none.stderr)], [8, true], none.stderr);
  const { files = [] } = await publish(...to);
  assert.match(files[0]?.whyCopied ?? '', /is full/);
  await assertFiles(files);
  await quota(0);
  await must('rados', '-p', pool, 'rm', 'filler');
  await until('there is room', async () => !(await isFull()));
  assert.deepEqual([await imagesIn(), await entriesIn()], [[], '']);
});

test('a flatten keeps to the rate of the config', async () => {
  await configure(`${folderConfig(FOLDER)}
publish.flatten_rate = "4MiB"`);
  try {
    const words = ['--to', pool, '--devices', 'vda', '--name', 'slow', '--wait'];
    assert.equal((await publish(...words)).images[0]?.isIndependent, true);
    const jobs = await siphonJson<JobsAnswer['jobs']>('jobs');
    const job = jobs.find(({ kind }) => kind === 'publish-flatten');
    const tookMs = (job?.updatedAtMs ?? 0) - (job?.createdAtMs ?? 0);
    // Of 20 MiB: a second's worth may come ahead, and ten objects that are in flight.
    assert.ok(tookMs > 1500, `it was held back: ${tookMs} ms`);
    await sh(`cmp <(rbd export --no-progress ${DISKS.vda}@siphon.${set} -) \
      <(rbd export --no-progress ${pool}/slow@snap -)`);
    await removeImage(`${pool}/slow`);
  } finally {
    await configure(folderConfig(FOLDER));
  }
});

test('the cluster itself flattens, where its manager may be asked, and lives through it', async () => {
  const words = ['--to', pool, '--devices', 'vdb', '--name', 'queued', '--wait'];
  const { images } = await publish(...words, '--flatten', 'cluster');
  assert.equal(images[0]?.isIndependent, true);
  const jobs = await siphonJson<JobsAnswer['jobs']>('jobs');
  const job = jobs.find(({ kind }) => kind === 'publish-flatten');
  const [manager] = JSON.parse(await must('ceph', 'mgr', 'metadata', '--format', 'json'));
  // Debian 13's would die of it: this host flattens instead.
  const isUnfit = /version 18/.test(manager.ceph_version) && manager.distro_version === '13';
  const step = isUnfit ? 'flattening' : 'flattening by the cluster';
  assert.deepEqual([job?.state, job?.step], ['done', step]);
  await sh(`cmp <(rbd export --no-progress ${DISKS.vdb}@siphon.${set} -) \
    <(rbd export --no-progress ${pool}/queued@snap -)`);
  await removeImage(`${pool}/queued`);
});

test('what a host that is gone has left goes where that is sure, and nothing else does', async () => {
  const [disk] = (await siphonJson<SnapshotsAnswer['sets'][number]>('snapshot', 'get', set)).disks;
  const { poolId, namespace, imageId, snapId } = disk ?? assert.fail('no disk');
  const source = { poolId, namespace, imageId, snapId, snap: `siphon.${set}` };
  const leave = async (name: string, host: string, atMs: number) => {
    await must('rbd', 'clone', '--rbd-default-clone-format', '2', ...cloned(`siphon.${name}`));
    const { id } = JSON.parse(
      await must('rbd', 'info', `${pool}/siphon.${name}`, '--format', 'json'),
    );
    const what = { schema: 1, host, set, source, format: 2, image: name, imageId: id, atMs };
    const entry = JSON.stringify({ ...what, client: 'client.1' });
    await must('rados', '-p', pool, 'setomapval', 'siphon.publishing', `siphon.${name}`, entry);
  };
  const cloned = (image: string) => [`${DISKS.vda}@siphon.${set}`, `${pool}/${image}`];
  await leave('old', 'gone-host', 1);
  await leave('fresh', 'gone-host', Date.now());
  await leave('theirs', 'other-host', 1);
  const reconcile = async (...words: readonly string[]) => {
    const command = ['reconcile', '--host', 'gone-host', ...words];
    const { leftovers } = await siphonJson<LeftoversAnswer>(...command);
    return leftovers.map(({ subject, decision }) => `${subject} ${decision}`).toSorted();
  };
  const stays = `${pool}/fresh stays`;
  assert.deepEqual(await reconcile('--dry-run'), [stays, `${pool}/old would-remove`]);
  assert.equal((await imagesIn()).length, 3);
  assert.deepEqual(await reconcile(), [stays, `${pool}/old removed`]);
  assert.deepEqual(await reconcile(), [stays]);
  assert.deepEqual((await imagesIn()).toSorted(), ['siphon.fresh', 'siphon.theirs']);
  assert.equal((await entriesIn()).trim(), 'siphon.fresh\nsiphon.theirs');
  for (const image of await imagesIn()) await removeImage(`${pool}/${image}`);
  await must('rados', '-p', pool, 'rm', 'siphon.publishing');
});

const openJobs = async () => {
  const jobs = await siphonJson<JobsAnswer['jobs']>('jobs');
  return jobs.filter(({ state, kind }) => state === 'open' && kind === 'publish');
};

/** Returns at that step of the journal, or when there will be none. */
async function comes(step: string, fromMs: number, over: AbortSignal): Promise<void> {
  const journal = new Database('/var/lib/siphon/siphon.db', { readonly: true });
  try {
    const now = journal.prepare<[number, string]>(
      "SELECT 1 FROM jobs WHERE kind = 'publish' AND created_at_ms >= ? AND step = ?",
    );
    while (now.get(fromMs, step) === undefined && !over.aborted) await delay(1);
  } finally {
    journal.close();
  }
}

/** Kills siphond there, or after it; all has come to its end then. */
async function killAt(step: string, ...words: readonly string[]): Promise<void> {
  const over = new AbortController();
  const fromMs = Date.now();
  const pid = await siphondPid();
  const command = ['publish', set, ...words, '--json'];
  const asked = siphon(...command).finally(() => over.abort());
  await comes(step, fromMs, over.signal);
  process.kill(pid, 'SIGKILL');
  await answering();
  assertAnswered(await asked);
  await until('it is brought to an end', async () => (await openJobs()).length === 0, 90);
}

for (const step of ['writing', 'naming']) {
  test(`siphond dies at "${step}": all files, or none`, async () => {
    await killAt(step, '--to', 'file', '--name', 'killed');
    const found = await readdir(FOLDER);
    if (found.length > 0) {
      assert.deepEqual(found.toSorted(), ['killed-vda.qcow2', 'killed-vdb.qcow2']);
      for (const name of found) await must('rm', `${FOLDER}/${name}`);
    }
    await assertFiles((await publish('--to', 'file', '--name', 'killed')).files);
  });
}

test('siphond dies while it copies, since it may not clone: all images, or none', async () => {
  await grant(`allow r class-read pool=vms, profile rbd pool=${pool}`);
  try {
    const words = ['--to', pool, '--name', 'copied'];
    await killAt('copying', ...words);
    const found = await imagesIn();
    if (found.length > 0) assert.equal(found.length, 2);
    for (const image of found) await removeImage(`${pool}/${image}`);
    assert.equal(await entriesIn(), '');
    const { images } = await publish(...words);
    assert.deepEqual([...new Set(images.map(({ way }) => way))], ['copied']);
    for (const { target, image } of images) {
      const disk = DISKS[target as keyof typeof DISKS];
      await sh(`cmp <(rbd export --no-progress ${disk}@siphon.${set} -) \
        <(rbd export --no-progress ${pool}/${image}@snap -)`);
      await removeImage(`${pool}/${image}`);
    }
  } finally {
    await grant('profile rbd');
  }
});
