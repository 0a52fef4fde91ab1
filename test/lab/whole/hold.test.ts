// A running guest is held for a moment and let go: what virsh, the agent and the guest's own clock see of it. What is somebody
// else's stays as it is.

import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import type { LibvirtMethods } from '../../../src/wire/worker-protocol.ts';
import type { Worker } from '../../../src/worker/supervisor/index.ts';
import { defineDomain, guestAnswers } from '../support/domains.ts';
import {
  FREE,
  guardsLeft,
  holderOf,
  holdingWorker,
  notesLeft,
  nothingIsLeft,
  stateOf,
} from '../support/holding.ts';
import { must, sh, timed } from '../support/host.ts';
import { fileCleanup, scratchFolder } from '../support/images.ts';
import { consolePath, type GuestShell, guestShell } from '../support/shell.ts';
import { answering } from '../support/siphon.ts';

const NAME = 'hold';
const cleanup = fileCleanup();
let worker: Worker<LibvirtMethods>;
let it: ReturnType<typeof holderOf>;
let uuid = '';
let shell: GuestShell;
let scratch = '';

before(async () => {
  await answering();
  scratch = await scratchFolder(cleanup);
  await sh(`truncate -s 48M ${scratch}/a ${scratch}/b`);
  const disks = ['a', 'b'].map((name) => {
    return { kind: 'file', path: `${scratch}/${name}`, format: 'raw' } as const;
  });
  const cmdline = 'tiny.mkfs=1 tiny.writer=1';
  await defineDomain(cleanup, { name: NAME, disks, cmdline, console: consolePath(NAME) });
  await must('virsh', '-q', 'start', NAME);
  await guestAnswers(NAME);
  shell = await guestShell(consolePath(NAME));
  worker = await holdingWorker();
  uuid = (await must('virsh', 'domuuid', NAME)).trim();
  it = holderOf(worker, uuid);
});

after(async () => {
  shell[Symbol.dispose]();
  await worker[Symbol.asyncDispose]();
  await rm(consolePath(NAME), { force: true });
});

/** Seconds of the guest's clock, which stands while it is suspended. */
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
  const again = { holdMs: 0, suspendedMs: 0, frozenMs: 0, wasHeldThroughout: false };
  assert.deepEqual(await it.release(), again);
});
