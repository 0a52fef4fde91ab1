// Config and keys that change under an installed siphond: taken up without a restart, by reload, by watch and by failing.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { StatusAnswer } from '../../../src/wire/api.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup, freshPool, importSource, rawFile, scratchFolder } from '../support/images.ts';
import { answering, siphon, siphondPid, siphonJson } from '../support/siphon.ts';

const FURTHER = '/etc/siphon/conf.d/90-test.toml';
const KEYRING = '/etc/ceph/ceph.client.siphon-fill.keyring';
const context = fileCleanup();
let pool = '';
let scratch = '';
let pid = 0;

before(async () => {
  pool = await freshPool(context);
  scratch = await scratchFolder(context);
  await answering();
  pid = await siphondPid();
});

after(async () => {
  await run('rm', ['-f', FURTHER]);
  await give();
  await must('systemctl', 'reload', 'siphond');
});

const source = async (name: string) =>
  importSource(await rawFile(`${scratch}/${name}`, 4, [0]), `${pool}/${name}`);
const status = () => siphonJson<StatusAnswer>('status');
const further = (toml: string) =>
  sh(
    `mkdir -p $(dirname ${FURTHER}); cat >${FURTHER}.new <<'T'\n${toml}\nT\nmv ${FURTHER}.new ${FURTHER}`,
  );

async function warms(name: string): Promise<void> {
  const ran = await siphon('warm', await source(name));
  assert.equal(ran.code, 0, ran.stderr);
}

/** The processes of siphond's ceph workers. */
async function cephWorkers(): Promise<number[]> {
  const { stdout } = await run('pgrep', ['-P', String(pid), '-f', 'worker.mjs ceph']);
  return stdout.split('\n').filter(Boolean).map(Number);
}

const give = () =>
  sh(
    `ceph auth get-or-create client.siphon-fill mon 'allow r' osd 'profile rbd-read-only' -o ${KEYRING}`,
  );

test('systemctl reload takes up a limit, at once and without a restart', async () => {
  const { cache } = await status();
  await further('cache.limit = "7GiB"\nhook.fill_wait = "3s"');
  await must('systemctl', 'reload', 'siphond');
  await until(
    'the limit is in force',
    async () => (await status()).cache.limitBytes === 7 * 2 ** 30,
  );
  assert.equal(await must('ls', '/run/siphon/bound'), '3');
  await must('rm', FURTHER);
  await until('siphond sees by itself that it is gone', async () => {
    return (await status()).cache.limitBytes === cache.limitBytes;
  });
  assert.equal(await siphondPid(), pid);
});

test('a config with a mistake changes nothing, and is told by check, by the log and by status', async () => {
  const { cache } = await status();
  await further('cache.limit = "7GiB"\ncache.limits = "1GiB"');
  const checked = await siphon('config', 'check');
  assert.equal(checked.code, 2);
  assert.match(
    checked.stderr,
    /^\/etc\/siphon\/conf\.d\/90-test\.toml:2: cache\.limits: unknown key; allowed here: path/,
  );
  await must('systemctl', 'reload', 'siphond');
  await until('status tells it', async () => {
    return (await status()).problems.some(({ where }) => where === `${FURTHER}:2`);
  });
  assert.equal((await status()).cache.limitBytes, cache.limitBytes);
  assert.match(await sh('journalctl -u siphond -p err -n 5 -o cat'), /cache\.limits/);
  await must('rm', FURTHER);
  const reloaded = await siphon('reload');
  assert.deepEqual([reloaded.code, reloaded.stderr], [0, '']);
  assert.deepEqual((await status()).problems, []);
  assert.deepEqual(await siphon('config', 'check'), {
    code: 0,
    stdout: '/etc/siphon/siphon.toml: ok\n',
    stderr: '',
  });
});

test('the users of a cluster that are changed are used by the next call, by a worker anew', async () => {
  await sh(
    `ceph auth get-or-create client.siphon-other mon 'allow r' osd 'profile rbd-read-only' -o ${scratch}/other.keyring`,
  );
  context.after(() => run('ceph', ['auth', 'rm', 'client.siphon-other']));
  await warms('before');
  const workers = await cephWorkers();
  assert.equal(workers.length, 1);
  await further(
    `[clusters.ceph.users]\nfill = { name = "siphon-other", keyring = "${scratch}/other.keyring" }`,
  );
  assert.match((await siphon('reload')).stdout, /Applied: .*clusters\.ceph\.|Nothing to apply/);
  const other = await sh(`ceph auth get-key client.siphon-other`);
  await sh(`ceph auth caps client.siphon-fill mon 'allow r'`);
  try {
    await warms('other');
  } finally {
    await sh(`ceph auth caps client.siphon-fill mon 'allow r' osd 'profile rbd-read-only'`);
  }
  await until('the worker of before is gone', async () => {
    const now = await cephWorkers();
    return now.length === 1 && !workers.includes(now[0] ?? 0);
  });
  const environments = await sh(`cat /proc/${pid}/environ /proc/${pid}/cmdline | tr '\\0' ' '`);
  assert.ok(!environments.includes(other));
  await must('rm', FURTHER);
  await siphon('reload');
  assert.equal(await siphondPid(), pid);
});

test('clusters come and go', async () => {
  await further(
    '[clusters.more]\nconf = "/etc/ceph/ceph.conf"\nuser = "siphon-fill"\n[clusters.ceph]\ndefault = true',
  );
  await siphon('reload');
  assert.deepEqual(
    (await status()).clusters.map(({ name, state }) => [name, state]),
    [
      ['ceph', 'connected'],
      ['more', 'connected'],
    ],
  );
  assert.equal((await cephWorkers()).length, 2);
  await must('rm', FURTHER);
  await siphon('reload');
  assert.deepEqual(
    (await status()).clusters.map(({ name }) => name),
    ['ceph'],
  );
  await until('the worker of the other is gone', async () => (await cephWorkers()).length === 1);
});

/** Monitors that begin anew drop what they do not know: from here on only a session with a key that is right is answered. */
async function dropSessions(): Promise<void> {
  await must('systemctl', 'restart', 'ceph-mon-a');
  await sh('timeout 30 ceph health >/dev/null');
}

const standing = async () => (await status()).clusters[0]?.state;

test('a key that was replaced on disk is taken up by the next call', async () => {
  await warms('with-the-old-key');
  // As `ceph auth rotate`, which Ceph before 19 has not.
  await sh('ceph auth rm client.siphon-fill');
  await give();
  await warms('with-the-new-key');
  await dropSessions();
  assert.equal(await standing(), 'connected');
  await warms('with-the-new-key-alone');
  assert.equal(await siphondPid(), pid);
});

test('a key in a keyring that only ceph.conf names is taken up once the old one has failed', async () => {
  const [conf, keyring] = [`${scratch}/ceph.conf`, `${scratch}/named.keyring`];
  const giveNamed = () =>
    sh(
      `ceph auth get-or-create client.siphon-named mon 'allow r' osd 'profile rbd-read-only' -o ${keyring}`,
    );
  context.after(() => run('ceph', ['auth', 'rm', 'client.siphon-named']));
  await giveNamed();
  await sh(
    `{ cat /etc/ceph/ceph.conf; echo; echo '[client.siphon-named]'; echo 'keyring = ${keyring}'; } >${conf}`,
  );
  await further(`[clusters.ceph]\nconf = "${conf}"\n[clusters.ceph.users]\nfill = "siphon-named"`);
  await siphon('reload');
  await warms('named');
  await sh('ceph auth rm client.siphon-named');
  await giveNamed();
  await dropSessions();
  await until('the cluster answers again', async () => (await standing()) === 'connected');
  await warms('named-anew');
  await must('rm', FURTHER);
  await siphon('reload');
  assert.equal(await siphondPid(), pid);
});

test('a key that is given back after its session was dropped is taken up too', async () => {
  const name = await source('denied');
  await sh('ceph auth rm client.siphon-fill');
  await dropSessions();
  await until('siphon is denied', async () => (await siphon('warm', name)).code === 12, 60);
  await give();
  const ran = await siphon('warm', name);
  assert.equal(ran.code, 0, ran.stderr);
  assert.equal(await standing(), 'connected');
  assert.equal(await siphondPid(), pid);
});
