// Policies on every event that a real domain has: before its start, started, stopped, suspended, resumed, shut down, asleep, panicked, defined.
// Each gives exactly its set, which says of what it is.

import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import type { JobsAnswer, PoliciesAnswer, SnapshotsAnswer } from '../../../src/wire/api.ts';
import { buttonDisk, buttonWorks } from '../support/button.ts';
import {
  defineDomain,
  domainState,
  installHook,
  isOff,
  markedSnapshots,
} from '../support/domains.ts';
import { nothingIsLeft } from '../support/holding.ts';
import { becomes, must, run, sh, timed, until } from '../support/host.ts';
import { fileCleanup, removeImage, scratchFolder } from '../support/images.ts';
import { answering, siphonJson } from '../support/siphon.ts';

type Sets = SnapshotsAnswer['sets'];
const cleanup = fileCleanup();
const NAME = 'event-a';
const IMAGES = [0, 1].map((index) => `vms/${NAME}-${index}`);
const FILE = '/etc/siphon/policies.d/events-test.toml';
const PID = `/run/libvirt/qemu/${NAME}.pid`;
/** The default `hook.fill_wait`, and what QEMU takes to start on a busy machine. */
const START_MS_MAX = 5000 + 4000;

before(async () => {
  await answering();
  await installHook();
  const scratch = await scratchFolder(cleanup);
  const [root = '', data = ''] = IMAGES;
  await must('rbd', 'import', '--no-progress', await buttonDisk(`${scratch}/button`), root);
  await must('rbd', 'create', '--size', '4M', data);
  cleanup.after(() => Promise.all(IMAGES.map(removeImage)));
  const disks = IMAGES.map((image) => ({ kind: 'rbd' as const, image }));
  await defineDomain(cleanup, {
    name: NAME,
    disks,
    memoryMiB: 16,
    boots: 'vda',
    standsStill: true,
  });
  cleanup.after(() => run('rm', ['-f', FILE]));
});

/** Of this domain: one policy for each list of words, named by the first. */
async function policies(...all: readonly (readonly string[])[]): Promise<void> {
  const text = all.map(
    (on) => `[[policy]]
name = "${on[0]?.replace(':', '-')}"
domains = ["${NAME}"]
on = ${JSON.stringify(on)}
quiesce = "none"
keep_last = 9
`,
  );
  await writeFile(FILE, text.join('\n'));
  await until('the policies are in force', async () => {
    const { policies: found } = await siphonJson<PoliciesAnswer>('policy', 'list');
    const mine = found.filter(({ domains }) => domains.includes(NAME)).map(({ on }) => on);
    return JSON.stringify(mine) === JSON.stringify(all);
  });
}

/** The oldest first: Ceph counts its snapshots up. */
async function sets(): Promise<Sets> {
  const found = await siphonJson<Sets>('snapshot', 'list', NAME);
  const rank = ({ disks }: Sets[number]) => Math.max(...disks.map(({ snapId }) => snapId));
  return found.toSorted((a, b) => rank(a) - rank(b));
}

const claimOf = ({ event, reason, lifecycle, instant, quiesced }: Sets[number]) =>
  [event, reason ?? lifecycle, instant, quiesced].filter(Boolean).join(' ');

async function jobs(): Promise<JobsAnswer['jobs']> {
  const all = await siphonJson<JobsAnswer['jobs']>('jobs', '--limit', '50');
  return all.filter(({ subject }) => subject.startsWith(`${NAME} `));
}

const taken: string[] = [];

/** These more sets and no others, when nothing is under way any more; each has a snapshot of both disks. Gives the newest. */
async function has(...more: readonly string[]): Promise<Sets[number] | undefined> {
  taken.push(...more);
  await becomes(async () => (await sets()).map(claimOf), taken);
  await until('all jobs ended', async () => (await jobs()).every(({ state }) => state !== 'open'));
  const found = await sets();
  assert.deepEqual(found.map(claimOf), taken);
  const names = found.map(({ id }) => `siphon.${id}`).toSorted();
  for (const image of IMAGES) assert.deepEqual((await markedSnapshots(image)).toSorted(), names);
  await nothingIsLeft();
  return found.at(-1);
}

const virsh = (...args: readonly string[]) => must('virsh', '-q', ...args);
const starts = async () => {
  await virsh('start', NAME);
  await buttonWorks(NAME);
};

test('prepare: the disks as they are before the start, which waits for them', async () => {
  await policies(['prepare']);
  const { ms } = await timed(() => virsh('start', NAME));
  assert.ok(ms < START_MS_MAX, `${ms} ms`);
  const set = await has('prepare barrier none');
  assert.deepEqual([set?.policy, set?.holdMs], ['prepare', undefined]);
  assert.ok((set?.createdAtMs ?? 0) <= (await stat(PID)).mtimeMs, 'QEMU was there before it');
  await virsh('destroy', NAME);
});

test('prepare: where Ceph’s worker does not answer, the domain starts all the same, and leaves no set', async () => {
  const signal = (name: string) => sh(`kill -${name} $(pgrep -u siphon -f 'worker.mjs ceph')`);
  await signal('STOP');
  try {
    const { ms } = await timed(() => virsh('start', NAME));
    assert.ok(ms < START_MS_MAX, `${ms} ms`);
  } finally {
    await signal('CONT');
  }
  assert.equal(await domainState(NAME), 'running');
  await has();
  const [job] = await jobs();
  const why = /^(discarded: the domain started|skipped: disk vda is open)/;
  assert.match(job?.error?.why ?? '', why);
  await virsh('destroy', NAME);
});

test('started and stopped: a set of the guest that runs, and one of what it left', async () => {
  await policies(['started', 'stopped']);
  await starts();
  const started = await has('started barrier none');
  assert.ok((started?.holdMs ?? 0) > 0, 'several disks of a guest that runs, and it was not held');
  assert.equal(started?.policy, 'started');
  await virsh('shutdown', NAME);
  await isOff(NAME);
  await has('stopped shutdown barrier shutdown');
});

test('of one stop there is one set, that of its reason', async () => {
  await policies(['stopped', 'started'], ['destroyed']);
  await starts();
  await has('started barrier none');
  await virsh('destroy', NAME);
  await has('release destroyed barrier none');
  // Events come in their order: what `stopped` would give has begun before.
  await starts();
  await has('started barrier none');
  await policies(['manual']);
  await virsh('destroy', NAME);
});

test('lifecycle: a guest that stands still is taken as it stands and left so; one that goes on is held; each once', async () => {
  await policies(['lifecycle:suspended'], ['lifecycle:shutdown', 'lifecycle:resumed']);
  await starts();
  // A start is resumed, too.
  await has('lifecycle resumed barrier none');
  await virsh('suspend', NAME);
  const suspended = await has('lifecycle suspended barrier none');
  assert.deepEqual([suspended?.policy, suspended?.holdMs], ['lifecycle-suspended', undefined]);
  assert.equal(await domainState(NAME), 'paused');
  await virsh('resume', NAME);
  const resumed = await has('lifecycle resumed barrier none');
  assert.ok((resumed?.holdMs ?? 0) > 0);
  assert.equal(await domainState(NAME), 'running');
  await virsh('shutdown', NAME);
  await isOff(NAME);
  await has('lifecycle shutdown barrier none');
});

for (const [end, event, state] of [
  ['sleep', 'pmsuspended', 'pmsuspended'],
  ['panic', 'crashed', 'crashed'],
] as const) {
  test(`lifecycle:${event}: a guest's own ${end} leaves it standing still`, async () => {
    await policies([`lifecycle:${event}`]);
    const folder = await scratchFolder(cleanup);
    const disk = await buttonDisk(`${folder}/${end}`, end);
    await must('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', disk, `rbd:${IMAGES[0]}`);
    await starts();
    await virsh('shutdown', NAME);
    const set = await has(`lifecycle ${event} barrier none`);
    assert.deepEqual([set?.policy, set?.holdMs], [`lifecycle-${event}`, undefined]);
    assert.equal(await domainState(NAME), state);
    await virsh('destroy', NAME);
  });
}

test('lifecycle:defined: the disks of a domain that is off', async () => {
  await policies(['lifecycle:defined']);
  await sh(`virsh dumpxml ${NAME} >/tmp/${NAME}.xml; virsh -q define /tmp/${NAME}.xml`);
  await has('lifecycle defined barrier none');
});
