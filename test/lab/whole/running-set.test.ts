// Sets of running guests: all disks at one instant, quiesced, held for a short time, as `rbd`, `virsh` and the guest's own numbers show.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { SnapshotsAnswer } from '../../../src/wire/api.ts';
import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { domainState, markedSnapshots } from '../support/domains.ts';
import { must, sh } from '../support/host.ts';
import { fileCleanup } from '../support/images.ts';
import { areOfOneInstant, numbersAt, type Ordered, startOrdered } from '../support/ordered.ts';
import { answering, siphon, siphonJson } from '../support/siphon.ts';

const cleanup = fileCleanup();
const isSoak = process.env['SIPHON_SOAK'] === '1';
/** As many sets at once. */
const NAMES = isSoak ? ['held-a', 'held-b', 'held-c'] : ['held-a', 'held-b'];
const ROUNDS = isSoak ? 100 : 3;
/** busy, unavailable: nothing was taken of a domain. */
const BUSY: readonly number[] = [6, 7];
const BUSY_MAX = 3;
let guests: Ordered[];
let guest: Ordered;

before(async () => {
  await answering();
  guests = await Promise.all(NAMES.map((name) => startOrdered(cleanup, name)));
  [guest] = guests as [Ordered];
});

const create = (...args: string[]) => siphonJson<SnapshotSet[]>('snapshot', 'create', ...args);

/** A host that is very busy may say so: then it is asked again, a few times. Gives how often. */
async function createBusy(...names: string[]): Promise<{ sets: SnapshotSet[]; busy: number }> {
  for (let busy = 0; ; busy += 1) {
    const { code, stdout, stderr } = await siphon('snapshot', 'create', ...names, '--json');
    if (code === 0) return { sets: JSON.parse(stdout) as SnapshotSet[], busy };
    assert.ok(BUSY.includes(code) && busy < BUSY_MAX, stderr);
    await assertLetGo(...names);
    // Of several domains some may have theirs.
    for (const name of names) {
      const taken = await siphonJson<SnapshotsAnswer['sets']>('snapshot', 'list', name);
      const ids = taken.filter(({ state }) => state === 'complete').map(({ id }) => id);
      if (ids.length > 0) await must('siphon', 'snapshot', 'delete', ...ids);
    }
  }
}

/** Nobody is held, and no guard waits. */
async function assertLetGo(...names: string[]): Promise<void> {
  for (const name of names) {
    assert.equal(await domainState(name), 'running');
    const asked = ['qemu-agent-command', name, '{"execute":"guest-fsfreeze-status"}'];
    assert.match(await must('virsh', ...asked), /"thawed"/);
  }
  assert.equal(await sh("systemctl list-units --no-legend 'siphon-guard@*' | wc -l"), '0');
  assert.equal(await sh('ls /run/siphon/held | wc -l'), '0');
}

/** How often the guest was frozen, as its own agent's hook wrote down. */
async function freezesOf(name: string): Promise<number> {
  const ask = (execute: string, more: object) =>
    must('virsh', 'qemu-agent-command', name, JSON.stringify({ execute, arguments: more }));
  const { return: handle } = JSON.parse(
    await ask('guest-file-open', { path: '/run/fsfreeze.log', mode: 'r' }),
  ) as { return: number };
  const { return: read } = JSON.parse(await ask('guest-file-read', { handle, count: 65_536 })) as {
    return: { 'buf-b64': string };
  };
  await ask('guest-file-close', { handle });
  const text = Buffer.from(read['buf-b64'], 'base64').toString();
  return text.split('\n').filter((line) => line === 'freeze').length;
}

/** A set that was just taken of a guest that writes all the time. */
async function assertOfOneInstant(set: SnapshotSet, { name, images }: Ordered): Promise<void> {
  assert.equal(set.domainName, name);
  assert.equal(set.instant, 'barrier');
  assert.equal(set.quiesced, 'filesystem', set.whyNotQuiesced ?? '');
  const numbers = await numbersAt(images, `siphon.${set.id}`);
  assert.ok(areOfOneInstant(numbers), `not of one instant: ${numbers.join(', ')}`);
  assert.ok((set.holdMs ?? 0) > 0 && (set.holdMs ?? 0) < 5000, `held ${set.holdMs} ms`);
  for (const disk of set.disks) assert.ok((disk.stallMs ?? -1) >= 0);
}

test('sets of writing guests: every disk at one instant, frozen, and the guests go on', async (t) => {
  const holds: number[] = [];
  let busyTimes = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const { sets, busy } = await createBusy(...NAMES);
    busyTimes += busy;
    assert.equal(sets.length, NAMES.length);
    await Promise.all(sets.map((set, index) => assertOfOneInstant(set, guests[index] as Ordered)));
    holds.push(...sets.map(({ holdMs }) => Math.round(holdMs ?? 0)));
    await must('siphon', 'snapshot', 'delete', ...sets.map(({ id }) => id));
  }
  t.diagnostic(`held for ${holds.join(', ')} ms; busy ${busyTimes} times`);
  await assertLetGo(...NAMES);
  const [before_ = 0] = await numbersAt(guest.images);
  const goesOn = async () => ((await numbersAt(guest.images))[0] ?? 0) > before_;
  assert.ok((await goesOn()) || (await goesOn()), 'the guest does not write any more');
});

test('the frozen filesystem needs no recovery; without a freeze it does, and the set says so', async () => {
  const features = async (id: string) =>
    sh(`f=$(mktemp); rbd export --no-progress vms/${guest.name}-root@siphon.${id} - >$f
      dumpe2fs -h $f 2>/dev/null | grep -i '^Filesystem features'; rm $f`);
  const [frozen] = await create(guest.name, '--quiesce', 'require');
  assert.doesNotMatch(await features(frozen?.id ?? ''), /needs_recovery/);
  const [plain] = await create(guest.name, '--quiesce', 'none');
  assert.deepEqual([plain?.quiesced, plain?.instant], ['none', 'barrier']);
  assert.match(await features(plain?.id ?? ''), /needs_recovery/);
});

test('a domain that somebody has paused is busy, and stays paused', async () => {
  await must('virsh', '-q', 'suspend', guest.name);
  try {
    const asked = await siphon('snapshot', 'create', guest.name);
    assert.equal(asked.code, 6, asked.stderr);
    assert.match(asked.stderr, /paused/);
    assert.equal(await domainState(guest.name), 'paused');
  } finally {
    await must('virsh', '-q', 'resume', guest.name);
  }
  await assertLetGo(guest.name);
});

test('while the monitor does not answer, no guest is touched', async () => {
  const image = guest.images[0] as string;
  const marked = await markedSnapshots(image);
  const frozen = await freezesOf(guest.name);
  assert.ok(frozen > 0, 'the guest keeps no count of its freezes');
  await sh('systemctl kill --kill-whom=main -s STOP ceph-mon-a');
  try {
    const asked = await siphon('snapshot', 'create', guest.name);
    assert.equal(asked.code, 7, asked.stderr);
    await assertLetGo(guest.name);
  } finally {
    await sh('systemctl kill --kill-whom=main -s CONT ceph-mon-a');
  }
  assert.deepEqual(await markedSnapshots(image), marked);
  assert.equal(await freezesOf(guest.name), frozen, 'a freeze was asked for');
});
