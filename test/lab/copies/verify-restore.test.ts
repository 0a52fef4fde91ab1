// Proofs that sets can be restored, by the installed command, of real guests: one that is whole, one whose filesystem is damaged, one without
// an agent; and kill -9 in the middle. Afterwards nothing of them is there.

import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import type { ProofsAnswer } from '../../../src/wire/verify-api.ts';
import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { buttonDisk } from '../support/button.ts';
import { installHook } from '../support/domains.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup } from '../support/images.ts';
import {
  ext4Image,
  importImage,
  nothingLeft,
  provingDomains,
  setOf,
  setsOfProofs,
} from '../support/proofs.ts';
import { answering, siphon, siphondPid } from '../support/siphon.ts';

const IS_SOAK = process.env['SIPHON_SOAK'] === '1';
const SEED = Number(process.env['SIPHON_SEED'] ?? Date.now() % 1_000_000);
const cleanup = fileCleanup();
const CONFIG = '/etc/siphon/conf.d/verify.toml';
const POLICY = '/etc/siphon/policies.d/verify.toml';
/** What would take sets of a proof's own domain, if anything could. */
const GREEDY = `[[policy]]
name = "greedy"
domains = ["siphon.*"]
on = ["prepare", "started", "stopped", "shutdown", "destroyed", "crashed", "unknown", "lifecycle:resumed", "lifecycle:suspended"]
schedule = "*-*-* *:*:00"
keep_last = 9
`;
let whole: SnapshotSet;
let damaged: SnapshotSet;

async function configure(bootTimeout: string): Promise<void> {
  await writeFile(CONFIG, `[verify]\nboot_timeout = "${bootTimeout}"\nlevel = "checked"\n`);
  await must('siphon', 'reload');
}

/** A guest that is emulated on a busy machine boots for minutes. */
const verify = (...args: readonly string[]) =>
  run('/usr/bin/siphon', ['verify-restore', ...args], { seconds: 420 });

/** Whatever its exit code. */
async function proofsOf(...args: string[]) {
  const { code, stdout, stderr } = await verify(...args, '--json');
  assert.notEqual(stdout, '', stderr);
  return { code, answer: JSON.parse(stdout) as ProofsAnswer };
}

before(async () => {
  await answering();
  await installHook();
  // A dead client's watch is waited for: not for half a minute each time.
  await must('ceph', 'config', 'set', 'osd', 'osd_client_watch_timeout', '10');
  cleanup.after(() => run('ceph', ['config', 'rm', 'osd', 'osd_client_watch_timeout']));
  cleanup.after(async () => {
    for (const file of [CONFIG, POLICY]) await rm(file, { force: true });
    await siphon('reload');
  });
  await writeFile(POLICY, GREEDY);
  await configure('5min');
  const images = ['vms/verify-root', 'vms/verify-data'];
  for (const image of images) await ext4Image(cleanup, image);
  whole = await setOf(cleanup, { name: 'verify-1' }, images);
  const bad = await ext4Image(cleanup, 'vms/verify-bad', 'clri /mark');
  damaged = await setOf(cleanup, { name: 'verify-2' }, [bad]);
});

test('a set is proven: it boots alone, its agent answers, its filesystems are clean', async () => {
  const proving = proofsOf(whole.id);
  const [name = ''] = await until(
    'it runs',
    async () => {
      const found = await provingDomains();
      return found.length > 0 && found;
    },
    180,
  );
  const xml = await must('virsh', 'dumpxml', name);
  assert.doesNotMatch(xml, /<(interface|graphics|hostdev|filesystem)|verify-|serial\.log/);
  assert.match(await must('virsh', 'dominfo', name), /Persistent: +no/);
  const { code, answer } = await proving;
  const [{ proof } = assert.fail(JSON.stringify(answer))] = answer.proofs;
  assert.equal(code, 0, JSON.stringify(answer));
  assert.deepEqual([proof.isProven, proof.level, proof.why], [true, 'checked', undefined]);
  assert.deepEqual(
    proof.filesystems.map(({ mountpoint, type }) => `${type} ${mountpoint}`).toSorted(),
    ['ext4 /mnt/vda', 'ext4 /mnt/vdb'],
  );
  assert.deepEqual(
    proof.checks.map(({ target, type, result }) => `${target} ${type} ${result}`),
    ['vda ext4 clean', 'vdb ext4 clean'],
  );
  await nothingLeft(whole);
  assert.deepEqual(await setsOfProofs(), []);
  assert.match(
    await must('siphon', 'snapshot', 'get', whole.id),
    /restorable +proven at .*checked/,
  );
  assert.match(await must('siphon', 'snapshot', 'list', 'verify-1'), /proven 20/);
  const record = `getomapval siphon.sets ${whole.id} /tmp/verify-record`;
  assert.match(await sh(`rados -p vms ${record} >&2; cat /tmp/verify-record`), /"isProven":true/);
  const metrics = await sh('curl -sf --unix-socket /run/siphon/read.sock http://siphon/metrics');
  assert.match(metrics, /siphon_proven_time_seconds\{domain="verify-1",uuid="[^"]+"\} \d+/);
  assert.match(metrics, /siphon_proofs_total\{result="proven"\} 1\n/);
});

test('a damaged filesystem is not proven, though it boots; it was the one whose turn it was', async () => {
  const asked = ['--newest', 'verify-1', 'verify-2', '--max', '1'];
  const { code, answer } = await proofsOf(...asked);
  const [{ set, proof } = assert.fail()] = answer.proofs;
  assert.deepEqual([code, set, proof.isProven], [10, damaged.id, false]);
  assert.deepEqual(
    answer.later.map((each) => each.set),
    [whole.id],
  );
  assert.match(proof.why ?? '', /vda \(ext4\): /);
  assert.equal(proof.filesystems.length, 1);
  await nothingLeft(damaged);
  const told = await run('siphon', ['check']);
  assert.match(told.stdout, /WARNING - .*not proven restorable: verify-2/);
});

test('a guest without an agent is not proven, and it is said what to do: by the timer’s unit, whose turn it is', async () => {
  const file = await buttonDisk('/tmp/verify-mute');
  const image = await importImage(cleanup, file, 'vms/verify-mute');
  const mute = await setOf(cleanup, { name: 'verify-3', boots: 'vda', memoryMiB: 32 }, [image]);
  await configure('2s');
  assert.notEqual((await run('systemctl', ['start', 'siphon-verify.service'])).code, 0);
  const show = ['show', '-P', 'ExecMainStatus', 'siphon-verify.service'];
  assert.equal(await must('systemctl', ...show), '10');
  await must('systemctl', 'reset-failed', 'siphon-verify.service');
  const told = await must('siphon', 'snapshot', 'get', mute.id);
  assert.match(told, /not proven .*its agent did not answer within \d+ s .*install it/);
  await nothingLeft(mute);
  await configure('5min');
});

const VICTIMS = ['siphond', 'the libvirt worker'] as const;
const STEPS = ['cloning', 'booting', 'checking', 'removing'] as const;

/** Each victim at one of the steps; in a soak at all. */
const kills = VICTIMS.flatMap((who, index) =>
  STEPS.filter((_, at) => IS_SOAK || at === (SEED + index * 2) % STEPS.length).map((step) => ({
    who,
    step,
  })),
);

async function comes(step: string, over: AbortSignal): Promise<void> {
  const journal = new Database('/var/lib/siphon/siphon.db', { readonly: true });
  const query = journal.prepare<[number], { readonly step: string }>(
    "SELECT step FROM jobs WHERE kind = 'verify-restore' AND created_at_ms >= ? ORDER BY created_at_ms DESC LIMIT 1",
  );
  const fromMs = Date.now() - 50;
  while (query.get(fromMs)?.step !== step && !over.aborted) await delay(2);
  journal.close();
}

async function pidOf(who: (typeof VICTIMS)[number]): Promise<number> {
  if (who === 'siphond') return siphondPid();
  const { stdout } = await run('pgrep', ['-u', 'siphon-libvirt', '-f', 'worker.mjs libvirt']);
  return Number(stdout.split('\n')[0]);
}

for (const { who, step } of kills) {
  test(`seed ${SEED}: kill -9 of ${who} at "${step}" leaves nothing`, async () => {
    const over = new AbortController();
    const pid = await pidOf(who);
    const asked = verify(whole.id).finally(() => over.abort());
    await comes(step, over.signal);
    process.kill(pid, 'SIGKILL');
    await asked;
    await answering();
    await nothingLeft(whole);
    assert.deepEqual(await setsOfProofs(), []);
    assert.match(await must('siphon', 'snapshot', 'get', whole.id), /restorable +proven at/);
  });
}

test('whoever is dead, libvirt ends the domain by itself', async () => {
  const asked = verify(whole.id);
  await until('it runs', async () => (await provingDomains()).length > 0, 180);
  // The hook's call would start siphond again.
  await must('touch', '/run/siphon/bypass');
  process.kill(await siphondPid(), 'SIGKILL');
  await must('systemctl', 'stop', 'siphond.service');
  await asked;
  await until('the domain is gone', async () => (await provingDomains()).length === 0);
  await rm('/run/siphon/bypass');
  await must('systemctl', 'start', 'siphond.service');
  await answering();
  await nothingLeft(whole);
});
