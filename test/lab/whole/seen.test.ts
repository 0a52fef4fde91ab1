// What an operator sees of the installed siphond, and who may: sockets, metrics, one id a job, the audit, and pauses.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { before, describe, test } from 'node:test';
import type { JobsAnswer, StatusAnswer } from '../../../src/wire/api.ts';
import type { Base } from '../../../src/wire/vocabulary.ts';
import { breachesOf, parseExposition, valueOf } from '../../support/exposition.ts';
import {
  defineDomain,
  domainState,
  installHook,
  markedSnapshots,
  overlayOn,
} from '../support/domains.ts';
import { must, run, sh, until } from '../support/host.ts';
import {
  bigSource,
  fileCleanup,
  freshPool,
  importSource,
  rawFile,
  scratchFolder,
} from '../support/images.ts';
import { answering, fillWorkers, siphon, siphondPid, siphonJson } from '../support/siphon.ts';

type Jobs = JobsAnswer['jobs'];
const cleanup = fileCleanup();
const POLICY = '/etc/siphon/policies.d/seen-test.toml';
const READER = 'siphon-reader';
let pool = '';
let scratch = '';

before(async () => {
  await answering();
  await installHook();
  pool = await freshPool(cleanup);
  scratch = await scratchFolder(cleanup);
  await must('useradd', '--no-create-home', '--groups', 'siphon-read', READER);
  cleanup.after(() => run('userdel', [READER]));
  cleanup.after(() => siphon('resume'));
});

const as = (user: string, ...argv: readonly string[]) =>
  run('runuser', ['-u', user, '--', ...argv]);

const source = async (name: string) =>
  importSource(await rawFile(`${scratch}/${name}`, 16, [0, 3]), `${pool}/${name}`);

/** What a member of the group reads. */
async function metricsText(): Promise<string> {
  const curl = ['curl', '-fsS', '--unix-socket', '/run/siphon/read.sock', 'http://siphon/metrics'];
  const { code, stdout, stderr } = await as(READER, ...curl);
  assert.equal(code, 0, stderr);
  return stdout;
}
const metrics = async () => parseExposition(await metricsText());

/** siphond's lines in the journal since a time, as the objects that they are. */
async function logSince(since: string): Promise<Record<string, unknown>[]> {
  const text = await sh(`journalctl --sync; journalctl -u siphond -o cat --since '${since}'`);
  return text.split('\n').flatMap((line) => {
    const json = line.replace(/^<\d>/, '');
    return json.startsWith('{') ? [JSON.parse(json) as Record<string, unknown>] : [];
  });
}

const now = () => must('date', '+%F %T.%6N');

describe('the sockets', () => {
  test('have the modes and groups that say who may do what', async () => {
    const { stdout } = await run('stat', [
      '-c',
      '%n %a %U:%G',
      ...['read', 'siphon', 'hook'].map((name) => `/run/siphon/${name}.sock`),
    ]);
    assert.deepEqual(stdout.trim().split('\n'), [
      '/run/siphon/read.sock 660 root:siphon-read',
      '/run/siphon/siphon.sock 660 root:siphon-admin',
      '/run/siphon/hook.sock 600 root:root',
    ]);
  });

  test('let a member of the group read, and no more', async () => {
    const read = await as(READER, 'siphon', 'status', '--json');
    assert.equal(read.code, 0, read.stderr);
    assert.equal((JSON.parse(read.stdout) as StatusAnswer).pid, await siphondPid());
    assert.equal((await as(READER, 'siphon', 'jobs')).code, 0);
    const changed = await as(READER, 'siphon', 'evict');
    assert.deepEqual([changed.code, /needs root/.test(changed.stderr)], [12, true], changed.stderr);
    const post = ['-sS', '-X', 'POST', '--unix-socket', '/run/siphon/read.sock'];
    const told = await as(READER, 'curl', ...post, 'http://siphon/v1/pause');
    assert.match(told.stdout, /"code":"denied"/);
    const other = await as('nobody', 'siphon', 'status');
    assert.deepEqual([other.code, /group siphon-/.test(other.stderr)], [12, true], other.stderr);
  });

  test('come up again, all three, from systemd', async () => {
    await must('systemctl', 'stop', 'siphond.service', 'siphon-read.socket');
    const since = await now();
    await must('systemctl', 'restart', 'siphond.service');
    await answering();
    const given = (await logSince(since)).filter((line) => line['msg'] === 'listening');
    assert.deepEqual(
      given.map((line) => line['isGiven']),
      [true, true, true],
    );
    assert.equal((await as(READER, 'siphon', 'status')).code, 0);
  });
});

test('the metrics keep the conventions, and count a fill, a hit, a refusal of bytes and an eviction', async () => {
  const before = await metrics();
  assert.deepEqual(breachesOf(before), []);
  const of = await source('counted');
  await siphonJson('warm', of);
  await siphonJson('warm', of);
  await siphonJson('pin', of);
  const wrong = await siphon('warm', '--sha512', 'ab'.repeat(64), await source('wrong'));
  assert.equal(wrong.code, 9, wrong.stderr);
  const after = await metrics();
  assert.deepEqual(breachesOf(after), []);
  const grew = (name: string, labels: Record<string, string>) =>
    valueOf(after, name, labels) - valueOf(before, name, labels);
  const fill = { way: 'fill', asked_by: 'operator' };
  assert.equal(grew('siphon_fills_total', { ...fill, result: 'done' }), 1);
  assert.equal(grew('siphon_fills_total', { ...fill, result: 'failed' }), 1);
  assert.equal(grew('siphon_verify_failures_total', { kind: 'digest' }), 1);
  assert.ok(grew('siphon_base_bytes_total', { origin: 'ceph' }) >= 2 * 2 ** 21);
  assert.ok(grew('siphon_base_bytes_total', { origin: 'cache' }) >= 2 ** 21);
  const [pinned] = (await siphonJson<Base[]>('list')).filter((base) => base.isPinned);
  assert.equal(valueOf(after, 'siphon_pinned_bytes'), pinned?.allocatedBytes);
  assert.equal(valueOf(after, 'siphon_cluster_connected', { cluster: 'ceph' }), 1);
  await siphonJson('unpin', of);
  await siphonJson('evict', of);
  // With a series of everything that was counted above.
  const looked = await run('promtool', ['check', 'metrics'], { input: await metricsText() });
  assert.deepEqual(looked, { code: 0, stdout: '', stderr: '' });
  const evicted = { reason: 'asked' };
  const last = await metrics();
  assert.equal(
    valueOf(last, 'siphon_evictions_total', evicted) -
      valueOf(after, 'siphon_evictions_total', evicted),
    1,
  );
});

test('a worker that is killed is counted when it is back', async () => {
  const restarts = async () =>
    valueOf(await metrics(), 'siphon_worker_restarts_total', { role: 'libvirt' });
  const before = await restarts();
  await sh(`kill -KILL "$(pgrep -u siphon-libvirt -f 'worker.mjs libvirt')"`);
  await until('it was started again', async () => (await restarts()) === before + 1);
});

test("a job's id is in each of its lines, its worker's too", async () => {
  const since = await now();
  const of = await bigSource(`${pool}/traced`, 64);
  const warming = siphon('warm', of);
  const [pid] = await until('a fill runs', async () => {
    const pids = await fillWorkers();
    return pids.length > 0 ? pids : undefined;
  });
  await must('kill', '-KILL', String(pid));
  assert.notEqual((await warming).code, 0);
  const [job] = (await siphonJson<Jobs>('jobs')).filter((each) => each.subject === of);
  const lines = (await logSince(since)).filter((line) => line['job'] === job?.id);
  const said = lines.map((line) => line['msg']);
  for (const msg of ['begun', 'worker exited', 'failed', 'change'])
    assert.ok(said.includes(msg), `${msg} is not among ${said.join(', ')}`);
  const exited = lines.find((line) => line['msg'] === 'worker exited');
  assert.deepEqual([exited?.['role'], exited?.['pid']], ['fill', pid]);
});

test('every change is a line of the audit, with who claims to have made it', async () => {
  const since = await now();
  const of = await source('audited');
  const sudo = { env: { SUDO_USER: 'alice' } };
  await run('siphon', ['warm', of], sudo);
  await run('siphon', ['pin', of], sudo);
  await run('siphon', ['list'], sudo);
  await run('siphon', ['unpin', of], { env: { SUDO_USER: 'a "b"' } });
  await run('siphon', ['snapshot', 'delete', 'none'], sudo);
  await run('siphon', ['evict', '--dry-run'], sudo);
  const lines = (await logSince(since)).filter((line) => line['audit'] === true);
  assert.deepEqual(
    lines.map(({ who, what, subject, result }) => ({ who, what, subject, result })),
    [
      {
        who: { socket: 'write', claimedUser: 'alice' },
        what: 'warm',
        subject: of,
        result: 'begun',
      },
      { who: { socket: 'write', claimedUser: 'alice' }, what: 'pin', subject: of, result: 'done' },
      { who: { socket: 'write' }, what: 'unpin', subject: of, result: 'done' },
      {
        who: { socket: 'write', claimedUser: 'alice' },
        what: 'snapshot delete',
        subject: 'none',
        result: 'not-found',
      },
    ],
  );
});

test('paused fills refuse warms and the starts that need them, across a kill; the rest goes on', async () => {
  const here = await source('here');
  const missing = await source('missing');
  await siphonJson('warm', here);
  const start = async (name: string, of: string) => {
    const path = await overlayOn(of, `${scratch}/${name}.qcow2`, '16M');
    await defineDomain(cleanup, { name, disks: [{ kind: 'file', path }] });
    return run('virsh', ['-q', 'start', name]);
  };
  assert.equal((await siphon('pause', 'fills')).code, 0);
  await must('kill', '-KILL', String(await siphondPid()));
  await answering();
  const status = await siphon('status');
  assert.match(status.stdout, /^paused +fills since .*claimed by root/m);
  assert.equal(valueOf(await metrics(), 'siphon_paused', { work: 'fills' }), 1);
  const warmed = await siphon('warm', missing);
  assert.deepEqual([warmed.code, /paused: fills/.test(warmed.stderr)], [5, true], warmed.stderr);
  assert.match(warmed.stderr, /siphon resume fills/);
  assert.equal((await siphon('warm', here)).code, 0);
  const refused = await start('seen-missing', missing);
  assert.match(refused.stderr, /paused: fills have been paused.*siphon resume fills/s);
  const allowed = await start('seen-here', here);
  assert.equal(allowed.code, 0, allowed.stderr);
  await must('virsh', '-q', 'destroy', 'seen-here');
  assert.equal((await siphon('resume', 'fills')).code, 0);
  await until('what was missing is filled by itself or by the start', async () => {
    await run('virsh', ['-q', 'start', 'seen-missing']);
    return (await domainState('seen-missing')) === 'running';
  });
  assert.match((await siphon('status')).stdout, /^paused +nothing/m);
});

test('paused snapshots: a stop is recorded as skipped, and a set can not be asked for', async () => {
  await writeFile(
    POLICY,
    '[[policy]]\nname = "seen"\ndomains = ["seen-stop"]\non = ["destroyed"]\nkeep_last = 2\n',
  );
  cleanup.after(() => run('rm', ['-f', POLICY]));
  const image = 'vms/seen-stop';
  await must('rbd', 'create', '--size', '16M', image);
  cleanup.after(async () => {
    await run('rbd', ['snap', 'purge', '--no-progress', image]);
    await run('rbd', ['rm', '--no-progress', image]);
  });
  await defineDomain(cleanup, { name: 'seen-stop', disks: [{ kind: 'rbd', image }] });
  await must('systemctl', 'restart', 'siphond');
  await answering();
  const since = await now();
  assert.equal((await siphon('pause', 'snapshots')).code, 0);
  const asked = await siphon('snapshot', 'create', 'seen-stop');
  assert.deepEqual([asked.code, /paused: snapshots/.test(asked.stderr)], [5, true], asked.stderr);
  const stop = async () => {
    await must('virsh', '-q', 'start', 'seen-stop');
    await must('virsh', '-q', 'destroy', 'seen-stop');
  };
  await stop();
  const skipped = await until('the stop is in the journal', async () =>
    (await siphonJson<Jobs>('jobs')).find(
      (job) => job.subject.startsWith('seen-stop') && job.state !== 'open',
    ),
  );
  assert.match(skipped.error?.why ?? '', /^skipped: paused: snapshots/);
  assert.deepEqual(await markedSnapshots(image), []);
  const labels = { result: 'skipped', reason: 'destroyed' };
  assert.equal(valueOf(await metrics(), 'siphon_snapshot_sets_total', labels), 1);
  assert.equal((await siphon('resume')).code, 0);
  await stop();
  const taken = await until('a set is taken', async () =>
    (await siphonJson<Jobs>('jobs')).find(
      (job) => job.subject.startsWith('seen-stop') && job.state === 'done',
    ),
  );
  assert.equal((await markedSnapshots(image)).length, 1);
  const said = (await logSince(since)).filter((line) => line['job'] === taken.id);
  assert.deepEqual([said[0]?.['msg'], said.at(-1)?.['msg']], ['begun', 'done']);
});
