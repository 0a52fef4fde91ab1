// A running guest is held for a moment and let go: what virsh, the agent and the guest's own clock see of it. What is somebody
// else's stays as it is; whoever dies meanwhile, it is free in time, and nothing of it stays behind.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { LibvirtMethods } from '../../../src/wire/worker-protocol.ts';
import type { Worker } from '../../../src/worker/supervisor/index.ts';
import { defineDomain, domainState, guestAnswers, isOff } from '../support/domains.ts';
import {
  FREE,
  guardsLeft,
  holderOf,
  holdingWorker,
  notesLeft,
  nothingIsLeft,
  qemuPid,
  replaceAgent,
  restoreAgent,
  startAgent,
  stateOf,
  workerWithPid,
} from '../support/holding.ts';
import { must, sh, timed, until } from '../support/host.ts';
import { fileCleanup, scratchFolder } from '../support/images.ts';
import { consolePath, type GuestShell, guestShell } from '../support/shell.ts';
import { answering, siphondPid } from '../support/siphon.ts';

const NAME = 'hold';
const KILLS = process.env['SIPHON_SOAK'] === undefined ? 4 : 50;
const DEADLINE_MS = 5000;
const cleanup = fileCleanup();
let worker: Worker<LibvirtMethods>;
let it: ReturnType<typeof holderOf>;
let uuid = '';
let shell: GuestShell;
let scratch = '';

before(async () => {
  await answering();
  scratch = await scratchFolder(cleanup);
  await sh(
    `for disk in ${scratch}/a ${scratch}/b; do truncate -s 48M $disk; mkfs.ext4 -q $disk; done`,
  );
  const disks = ['a', 'b'].map((name) => {
    return { kind: 'file', path: `${scratch}/${name}`, format: 'raw' } as const;
  });
  await defineDomain(cleanup, { name: NAME, disks, console: consolePath(NAME) });
  await must('virsh', '-q', 'start', NAME);
  await guestAnswers(NAME);
  shell = await guestShell(cleanup, consolePath(NAME));
  worker = await holdingWorker();
  cleanup.after(async () => worker[Symbol.asyncDispose]());
  uuid = (await must('virsh', 'domuuid', NAME)).trim();
  it = holderOf(worker, uuid);
});

const NOT_HELD = { holdMs: 0, suspendedMs: 0, frozenMs: 0, wasHeldThroughout: false };

/** Of the guest's clock, which stands while it is suspended. */
const guestMs = async () => Number((await shell.run('cut -d" " -f1 /proc/uptime')).trim()) * 1000;

test('a guest is frozen and suspended, and is itself again: virsh and its own clock agree', async () => {
  assert.deepEqual(await it.holdable(), { kind: 'running' });
  await it.guard(20_000);
  assert.match(await guardsLeft(), new RegExp(`siphon-guard@${uuid}.timer\\s+loaded\\s+active`));
  assert.deepEqual(await notesLeft(), [`${uuid}.json`]);
  assert.deepEqual(await worker.call('listHeld', {}, { deadlineMs: 5000 }), [{ domain: uuid }]);
  const guestFrom = await guestMs();
  const whole = await timed(async () => {
    const got = await timed(() => it.hold('require'));
    assert.deepEqual({ ...got.result, tookMs: 0 }, { frozen: 2, isSuspended: true, tookMs: 0 });
    assert.ok(got.result.tookMs <= got.ms + 1, `${got.result.tookMs} of ${got.ms}`);
    const held = await timed(async () => {
      assert.equal((await stateOf(NAME)).state, 'paused');
      assert.match(await sh(`virsh domstate --reason ${NAME}`), /user/);
    });
    return { heldMs: held.ms, released: await it.release() };
  });
  const { heldMs, released } = whole.result;
  const guestPassedMs = (await guestMs()) - guestFrom;
  assert.deepEqual(await stateOf(NAME), FREE);
  const { holdMs, suspendedMs, frozenMs, wasHeldThroughout } = released;
  assert.equal(wasHeldThroughout, true);
  assert.ok(heldMs <= suspendedMs + 1 && suspendedMs < frozenMs && frozenMs === holdMs);
  assert.ok(holdMs <= whole.ms + 1, `${holdMs} of ${whole.ms}`);
  assert.ok(guestPassedMs > 0);
  await nothingIsLeft(0);
  assert.deepEqual(await it.release(), NOT_HELD);
});

const code = (name: string) => ({ code: name });

test('who is held is held by one', async () => {
  await assert.rejects(it.hold('none'), code('refused'), 'no guard');
  await assert.rejects(it.guard(3_600_000), code('usage'));
  await it.guard(20_000);
  await assert.rejects(it.guard(20_000), code('busy'));
  await it.hold('none');
  await assert.rejects(it.hold('none'), code('busy'));
  assert.equal((await it.release()).frozenMs, 0);
  assert.deepEqual(await stateOf(NAME), FREE);
});

/** Nothing of a held guest changes by this. */
async function isBusy(why: RegExp): Promise<void> {
  const judged = await it.holdable();
  assert.equal(judged.kind, 'busy');
  assert.match(judged.kind === 'busy' ? judged.why : '', why);
  await it.guard(20_000);
  await assert.rejects(it.hold('require'), code('busy'));
  assert.deepEqual(await it.release(), NOT_HELD);
  await nothingIsLeft();
}

test('what the operator has frozen or paused is busy, and stays so', async () => {
  await must('virsh', 'domfsfreeze', NAME);
  await isBusy(/frozen/);
  assert.deepEqual(await stateOf(NAME), { state: 'running', filesystems: 'frozen' });
  await must('virsh', 'domfsthaw', NAME);
  await must('virsh', 'suspend', NAME);
  await isBusy(/paused already: user/);
  assert.equal((await stateOf(NAME)).state, 'paused');
  await must('virsh', 'resume', NAME);
});

test('a block job is busy, and goes on', async () => {
  const copy = `${scratch}/copy`;
  await must('virsh', 'blockcopy', NAME, 'vdb', copy, '--transient-job', '--bandwidth', '1');
  const judged = await it.holdable();
  assert.deepEqual(judged, { kind: 'busy', why: 'a block job is under way on vdb: copy' });
  assert.match(await must('virsh', 'dumpxml', NAME), /<mirror/);
  await must('virsh', 'blockjob', NAME, 'vdb', '--abort');
  assert.deepEqual(await it.holdable(), { kind: 'running' });
});

test('an operator who resumes and thaws in the middle is right, and nothing is claimed then', async () => {
  await it.guard(20_000);
  await it.hold('require');
  await must('virsh', 'resume', NAME);
  await must('virsh', 'domfsthaw', NAME);
  assert.equal((await it.release()).wasHeldThroughout, false);
  assert.deepEqual(await stateOf(NAME), FREE);
});

test('what an operator pauses while it is frozen stays paused, and is thawed when it runs', async () => {
  await it.guard(3000);
  await it.hold('require', false);
  await must('virsh', 'suspend', NAME);
  await assert.rejects(it.release(), { code: 'unavailable', why: /somebody else has paused it/ });
  assert.equal((await stateOf(NAME)).state, 'paused');
  await must('virsh', 'resume', NAME);
  await nothingIsLeft(30);
  assert.deepEqual(await stateOf(NAME), FREE);
});

/** What comes of a hold with this agent: `try` suspends all the same, `require` touches nothing. */
async function withoutFreeze(why: RegExp): Promise<void> {
  await it.guard(20_000);
  await assert.rejects(it.hold('require', true, 1000), code('refused'));
  assert.equal(await domainState(NAME), 'running');
  await it.release();
  await it.guard(20_000);
  const held = await it.hold('try', true, 1000);
  assert.match(held.whyNotFrozen ?? '', why);
  assert.equal(held.isSuspended, true);
  assert.equal(await domainState(NAME), 'paused');
  assert.equal((await it.release()).wasHeldThroughout, true);
  assert.equal(await domainState(NAME), 'running');
}

test('a guest whose agent hangs, is not there or lies is suspended alone, or not at all', async () => {
  await shell.run('kill -STOP $(cat /run/qemu-ga.pid)');
  await withoutFreeze(/not responding|agent/);
  await shell.run('kill -CONT $(cat /run/qemu-ga.pid)');
  await guestAnswers(NAME);
  await shell.run('kill $(cat /run/qemu-ga.pid)');
  await withoutFreeze(/not connected/);
  await startAgent(shell);
  await guestAnswers(NAME);
  await replaceAgent(shell, { frozen: 'thawed', freezeSeconds: 0 });
  await guestAnswers(NAME);
  await withoutFreeze(/its agent froze 2 filesystems, and is thawed/);
  await restoreAgent(shell);
  await guestAnswers(NAME);
  assert.deepEqual(await stateOf(NAME), FREE);
});

test('a freeze that comes after its time is thawed', async () => {
  await replaceAgent(shell, { frozen: 'frozen', freezeSeconds: 5 });
  await guestAnswers(NAME);
  await it.guard(15_000);
  await assert.rejects(it.hold('require', true, 1000), /could not be frozen|let domain go/);
  await it.release();
  assert.deepEqual(await stateOf(NAME), FREE);
  await nothingIsLeft();
  await restoreAgent(shell);
  await guestAnswers(NAME);
});

test('without polkit nobody guards, and nothing is held', async () => {
  await sh('systemctl mask --runtime --quiet polkit && systemctl stop polkit');
  try {
    await assert.rejects(it.guard(5000), { code: 'unavailable', hint: /polkitd/ });
    assert.deepEqual(await notesLeft(), []);
    await assert.rejects(it.hold('none'), code('refused'));
  } finally {
    await sh('systemctl unmask --runtime --quiet polkit');
  }
  await it.guard(5000);
  await it.release();
});

const isFree = async () => {
  const { state, filesystems } = await stateOf(NAME);
  return state === FREE.state && filesystems === FREE.filesystems;
};

/** A kill comes before, in, between and after freeze and suspend, which take some 100 ms here: at this share of what they took last. */
const moments = Array.from({ length: KILLS }, (_, seed) => ((seed + 0.5) / KILLS) * 1.5);
let tookMs = 300;

for (const [seed, share] of moments.entries()) {
  const who = seed % 4 === 1 ? 'the worker and siphond' : 'the worker';
  test(`kill ${seed}: ${who} dies at ${share.toFixed(2)} of a hold; the guest is free in time`, async () => {
    const { worker: dying, pid } = await workerWithPid();
    const held = holderOf(dying, uuid);
    await held.guard(DEADLINE_MS);
    const from = performance.now();
    const killed = held.hold('require').then(
      (got) => (tookMs = got.tookMs),
      () => undefined,
    );
    await new Promise((resolve) => setTimeout(resolve, share * tookMs));
    process.kill(pid, 'SIGKILL');
    if (who !== 'the worker') process.kill(await siphondPid(), 'SIGKILL');
    await killed;
    await dying[Symbol.asyncDispose]();
    const seconds = (from + DEADLINE_MS + 1000 - performance.now()) / 1000;
    await until('its note is gone', async () => (await notesLeft()).length === 0, seconds);
    assert.deepEqual(await stateOf(NAME), FREE);
    await nothingIsLeft();
    await answering();
    // systemd ends the workers of a siphond that it starts again.
    await until('this worker answers', () => it.holdable().catch(() => undefined));
  });
}

test('the guard is killed, too: PID 1 starts it again, and the guest is free', async () => {
  const unit = `siphon-guard@${uuid}.service`;
  const siphond = await siphondPid();
  process.kill(siphond, 'SIGSTOP'); // it would let the guest go itself
  try {
    const { worker: dying, pid } = await workerWithPid();
    await holderOf(dying, uuid).guard(DEADLINE_MS);
    await holderOf(dying, uuid).hold('require');
    process.kill(pid, 'SIGKILL');
    await dying[Symbol.asyncDispose]();
    const mainPid = async () => Number(await must('systemctl', 'show', '-P', 'MainPID', unit));
    const first = await until('the guard waits', async () => (await mainPid()) || undefined);
    process.kill(first, 'SIGKILL');
    await until('its note is gone', async () => (await notesLeft()).length === 0, 20);
    assert.deepEqual(await stateOf(NAME), FREE);
    await nothingIsLeft();
  } finally {
    process.kill(siphond, 'SIGCONT');
  }
  await answering();
});

test('a hold of a QEMU that is stopped fails in time, and the guest writes on when it goes on', async () => {
  const pid = await qemuPid(NAME);
  await it.guard(4000);
  process.kill(pid, 'SIGSTOP');
  try {
    const { ms } = await timed(() => assert.rejects(it.hold('try'), { code: 'unavailable' }));
    assert.ok(ms < 20_000, `${ms} ms`);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await until('it is free again', isFree, 60);
  await nothingIsLeft(60);
  assert.deepEqual(await it.holdable(), { kind: 'running' });
  assert.equal(
    await shell.run('sync && echo more >/mnt/vda/more && sync && cat /mnt/vda/more'),
    'more',
  );
});

test('libvirtd is restarted in a hold: the release finds it again', async () => {
  await it.guard(60_000);
  await it.hold('require');
  await must('systemctl', 'restart', 'libvirtd');
  assert.equal((await it.release()).wasHeldThroughout, true);
  assert.deepEqual(await stateOf(NAME), FREE);
  await nothingIsLeft();
});

test('what a worker has left held is told to the next one, which lets it go', async () => {
  const { worker: dying, pid } = await workerWithPid();
  await holderOf(dying, uuid).guard(60_000);
  await holderOf(dying, uuid).hold('require');
  process.kill(pid, 'SIGKILL');
  await dying[Symbol.asyncDispose]();
  await using next = await holdingWorker();
  assert.deepEqual(await next.call('listHeld', {}, { deadlineMs: 5000 }), [{ domain: uuid }]);
  const { wasHeldThroughout, suspendedMs } = await holderOf(next, uuid).release();
  assert.ok(wasHeldThroughout && suspendedMs > 0);
  assert.deepEqual(await stateOf(NAME), FREE);
  await nothingIsLeft();
});

test('a worker whose siphond is gone lets go what it holds before it ends', async () => {
  const { worker: left } = await workerWithPid();
  await holderOf(left, uuid).guard(60_000);
  await holderOf(left, uuid).hold('require');
  await left[Symbol.asyncDispose]();
  assert.deepEqual([await notesLeft(), await stateOf(NAME)], [[], FREE]);
  await nothingIsLeft();
});

test('a guest that is gone while it is held leaves nothing', async () => {
  await it.guard(60_000);
  await it.hold('require');
  await must('virsh', '-q', 'destroy', NAME);
  await isOff(NAME);
  assert.equal((await it.release()).wasHeldThroughout, false);
  await nothingIsLeft();
  assert.deepEqual(await it.holdable(), { kind: 'off' });
  await assert.rejects(it.guard(5000), { code: 'refused' });
});
