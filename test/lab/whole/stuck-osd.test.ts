// The OSD stops answering while a guest is held: the guest is let go in time, writes on when the OSD is back, and nothing stays behind.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Connection, type Domain, lookUpDomainByName } from 'node-libvirt';
import type { SnapshotsAnswer } from '../../../src/wire/api.ts';
import { defineDomain, domainState, markedSnapshots } from '../support/domains.ts';
import { notesLeft, nothingIsLeft } from '../support/holding.ts';
import { must, type Ran, sh, until } from '../support/host.ts';
import { fileCleanup, removeImage } from '../support/images.ts';
import { consolePath, type GuestShell, guestShell } from '../support/shell.ts';
import { answering, siphon, siphonJson } from '../support/siphon.ts';

type Sets = SnapshotsAnswer['sets'];
const cleanup = fileCleanup();
const NAME = 'stuck-osd';
const IMAGES = [0, 1].map((index) => `vms/${NAME}-${index}`);
/** Of the guard, and what it may take to be done. */
const LET_GO_S = 5 + 1;
/** A hold is over in a moment. */
const TRIES_MAX = 8;
let shell: GuestShell;
let domain: Domain;

before(async () => {
  await answering();
  for (const image of IMAGES) await must('rbd', 'create', '--size', '4M', image);
  cleanup.after(() => Promise.all(IMAGES.map(removeImage)));
  const disks = IMAGES.map((image) => ({ kind: 'rbd' as const, image }));
  await defineDomain(cleanup, { name: NAME, disks, console: consolePath(NAME) });
  await must('virsh', '-q', 'start', NAME);
  shell = await guestShell(cleanup, consolePath(NAME));
  const connection = await Connection.open('qemu:///system');
  cleanup.after(async () => connection[Symbol.asyncDispose]());
  domain = await lookUpDomainByName(connection, NAME);
  cleanup.after(async () => domain[Symbol.asyncDispose]());
});

/** Each disk, past every cache: then nothing of it is under way. */
async function guestWrites(): Promise<void> {
  for (const disk of ['vda', 'vdb']) {
    const line = `dd if=/dev/urandom of=/dev/${disk} bs=4096 count=1 oflag=direct 2>&1 && echo written`;
    assert.match(await shell.run(line, 90), /written/);
  }
}

const osdPid = async () =>
  Number(await must('systemctl', 'show', '-P', 'MainPID', 'ceph-osd-0.service'));

/** Stops the OSD as soon as libvirt says that the guest is suspended; whether it was. */
async function stopWhenHeld(pid: number, hasEnded: () => boolean): Promise<boolean> {
  for (;;) {
    if ((await domain.status()).state === 'paused') break;
    if (hasEnded()) return false;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  process.kill(pid, 'SIGSTOP');
  return true;
}

/** How often a guest was let go without its snapshots. */
async function missed(): Promise<number> {
  const metrics = await sh('curl -sf --unix-socket /run/siphon/read.sock http://siphon/metrics');
  return Number(/^siphon_missed_commits_total (\d+)/m.exec(metrics)?.[1] ?? 0);
}

const isFree = async () => (await notesLeft()).length === 0;

/** A set with the OSD stopped in its hold: what came of it; undefined: the hold was over before. */
async function stuckSet(): Promise<Ran | undefined> {
  let hasEnded = false;
  const missedBefore = await missed();
  const pid = await osdPid();
  const asked = siphon('snapshot', 'create', NAME, '--json');
  const ended = asked.finally(() => (hasEnded = true));
  try {
    const wasStopped = await stopWhenHeld(pid, () => hasEnded);
    if (wasStopped) {
      await until('the guest is let go', isFree, LET_GO_S);
      assert.equal(await domainState(NAME), 'running');
      assert.equal(await shell.run('echo here'), 'here');
    }
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  // One without peers stays laggy until it peers anew.
  await sh('ceph osd down 0');
  const came = await ended;
  return came.code !== 0 || (await missed()) > missedBefore ? came : undefined;
}

test('the OSD stops while a guest is held: it is let go in time, and writes on when the OSD is back', async (t) => {
  await guestWrites();
  let came: Ran | undefined;
  for (let tries = 1; came === undefined; tries += 1) {
    assert.ok(tries <= TRIES_MAX, 'the OSD was never stopped in a hold');
    came = await stuckSet();
    t.diagnostic(`try ${tries}: ${came === undefined ? 'too late' : `exit code ${came.code}`}`);
  }
  await guestWrites();
  await nothingIsLeft();
  // It was tried again when the OSD was back, or it is said that it did not answer.
  if (came.code !== 0) assert.match(came.stderr, /answer|time|busy/);
  const claimed = async () =>
    (await siphonJson<Sets>('snapshot', 'list', NAME)).map(({ id }) => `siphon.${id}`).toSorted();
  for (const image of IMAGES) {
    await until(
      'what is there is claimed',
      async () => {
        const there = (await markedSnapshots(image)).toSorted();
        return JSON.stringify(there) === JSON.stringify(await claimed());
      },
      120,
    );
  }
});
