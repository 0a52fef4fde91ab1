// What somebody else does to a running domain while a set of it is being made, and what siphond's clock does: the guest is let go, what
// is claimed is there, what is there is claimed, and where there is no set it is said why.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import type { JobsAnswer, PruneAnswer, SnapshotsAnswer } from '../../../src/wire/api.ts';
import { buttonDisk, buttonWorks } from '../support/button.ts';
import { setClock, withClock, withoutClock } from '../support/clock.ts';
import { defineDomain, domainState, markedSnapshots } from '../support/domains.ts';
import { notesLeft, nothingIsLeft } from '../support/holding.ts';
import { becomes, must, type Ran, sh, until } from '../support/host.ts';
import { fileCleanup, removeImage, scratchFolder } from '../support/images.ts';
import { answering, siphon, siphonJson } from '../support/siphon.ts';

type KeptSet = SnapshotsAnswer['sets'][number];
const cleanup = fileCleanup();
const NAME = 'mid-set';
const [ROOT, DATA, STICK] = ['root', 'data', 'stick'].map((disk) => `vms/${NAME}-${disk}`) as [
  string,
  string,
  string,
];
const RENAMED = `${DATA}-renamed`;
/** An image of Nova's, by its name. */
const NOVA_UUID = '5b1f0d6e-7c1d-4c55-9c3e-0a4f5d7e9b11';
const NOVA = `vms/${NOVA_UUID}_disk`;
const ROUNDS = process.env['SIPHON_SOAK'] === '1' ? 10 : 1;

before(async () => {
  await answering();
  const scratch = await scratchFolder(cleanup);
  await must('rbd', 'import', '--no-progress', await buttonDisk(`${scratch}/button`), ROOT);
  for (const image of [DATA, STICK, NOVA]) await must('rbd', 'create', '--size', '4M', image);
  cleanup.after(() => Promise.all([ROOT, DATA, RENAMED, STICK, NOVA].map(removeImage)));
  const rbd = (image: string) => ({ kind: 'rbd' as const, image });
  const disks = [rbd(ROOT), rbd(DATA), { ...rbd(STICK), bus: 'usb' as const }];
  await defineDomain(cleanup, { name: NAME, disks, memoryMiB: 16, boots: 'vda' });
  await defineDomain(cleanup, { name: 'mid-set-nova', uuid: NOVA_UUID, disks: [rbd(NOVA)] });
});

/** What a test before has left does not count. */
async function runs(): Promise<void> {
  if ((await domainState(NAME)) !== 'running') await starts();
}

async function starts(): Promise<void> {
  await must('virsh', '-q', 'start', NAME);
  await buttonWorks(NAME);
  // Of this disk QEMU owns the lock, as of one that its guest writes; of the others siphon does, while a set is made.
  const write = 'qemu-io -d /machine/peripheral/virtio-disk1/virtio-backend "write 0 4k"';
  await must('virsh', 'qemu-monitor-command', NAME, '--hmp', write);
  await until('QEMU owns the lock', async () => /client/.test(await sh(`rbd lock ls ${DATA}`)));
}

/** When it is done: it is about to be held, it is being held, it has just been let go; and so many ms after that. */
interface Moment {
  readonly when: 'guarded' | 'held' | 'let go';
  readonly ms: number;
}

/** mulberry32 */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    const mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    const more = mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((more ^ (more >>> 14)) >>> 0) / 2 ** 32;
  };
}

const SPREAD_MS = { guarded: 700, held: 60, 'let go': 60 } as const;
const ALL = ['guarded', 'held', 'let go'] as const;
const UNTIL_HELD = ['guarded', 'held'] as const;

function momentsOf(seed: number, whens: readonly Moment['when'][]): readonly Moment[] {
  const random = randomOf(seed);
  return Array.from({ length: ROUNDS }, () =>
    whens.map((when) => ({ when, ms: Math.floor(random() * SPREAD_MS[when]) })),
  ).flat();
}

const noteOf = async () => {
  const [note] = await notesLeft();
  return note === undefined ? '' : readFile(`/run/siphon/held/${note}`, 'utf8').catch(() => '');
};

/** `ended` where the set was faster. */
async function comes({ when, ms }: Moment, ended: () => boolean): Promise<void> {
  let wasSeen = false;
  while (!ended()) {
    const note = await noteOf();
    wasSeen ||= note !== '';
    if (when === 'guarded' && wasSeen) break;
    if (when === 'held' && note.includes('suspendingMs')) break;
    if (when === 'let go' && wasSeen && note === '') break;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** What `siphon snapshot create` of the domain came to, with this in the middle of it. */
async function meanwhile(moment: Moment, action: () => Promise<unknown>): Promise<Ran> {
  let hasEnded = false;
  const asked = siphon('snapshot', 'create', NAME, '--json');
  const ended = asked.finally(() => (hasEnded = true));
  await comes(moment, () => hasEnded);
  const [done, came] = await Promise.allSettled([action(), ended]);
  if (done.status === 'rejected') throw done.reason;
  if (came.status === 'rejected') throw came.reason;
  return came.value;
}

const list = () => siphonJson<KeptSet[]>('snapshot', 'list', NAME);

/** Of all images, under whatever name. */
async function snapshotsThere(): Promise<string[]> {
  const images = (await sh('rbd ls vms')).split('\n').filter((name) => name.startsWith(NAME));
  const found = await Promise.all(images.map((name) => markedSnapshots(`vms/${name}`)));
  return found.flat().toSorted();
}

/** Nobody is held, and what `siphon` claims is what `rbd` shows. */
async function isWell(): Promise<void> {
  await nothingIsLeft();
  assert.match(await domainState(NAME), /^(running|shut off)$/);
  const claimed = async () =>
    (await list()).flatMap(({ id, disks }) => disks.map(() => `siphon.${id}`)).toSorted();
  // What a set that failed has left is on its way out.
  await until('what is there is claimed', async () => {
    return JSON.stringify(await snapshotsThere()) === JSON.stringify(await claimed());
  });
}

/** The set, or why there is none, said in a sentence. */
function setIn({ code, stdout, stderr }: Ran, why: RegExp): KeptSet | undefined {
  if (code === 0) return (JSON.parse(stdout) as KeptSet[])[0];
  assert.match(stderr, why);
  return undefined;
}

interface Meddling {
  readonly name: string;
  readonly action: () => Promise<unknown>;
  readonly whens: readonly Moment['when'][];
  /** What an operator is told where there is no set. */
  readonly why: RegExp;
  readonly undo: () => Promise<unknown>;
}

/** What libvirt does for somebody else may keep a hold waiting until it has to end. */
const IN_THE_WAY = /its deadline has come|job is under way|did not come while it was held/;

const MEDDLING: readonly Meddling[] = [
  {
    name: 'a disk is detached',
    action: () => must('virsh', '-q', 'detach-disk', NAME, 'sdc', '--live'),
    whens: UNTIL_HELD,
    why: IN_THE_WAY,
    undo: () => must('virsh', '-q', 'destroy', NAME),
  },
  {
    name: 'an image is renamed',
    action: () => must('rbd', 'rename', DATA, RENAMED),
    whens: ALL,
    why: IN_THE_WAY,
    undo: () => must('rbd', 'rename', RENAMED, DATA),
  },
  {
    name: 'the domain is undefined',
    action: () => must('virsh', '-q', 'undefine', NAME),
    whens: UNTIL_HELD,
    why: IN_THE_WAY,
    undo: () => sh(`virsh dumpxml ${NAME} >/tmp/${NAME}.xml; virsh -q define /tmp/${NAME}.xml`),
  },
  {
    name: 'the domain is destroyed',
    action: () => must('virsh', '-q', 'destroy', NAME),
    whens: ALL,
    why: /does not run|is not running|the domain stopped/,
    undo: async () => undefined,
  },
];

for (const [index, { name, action, whens, why, undo }] of MEDDLING.entries()) {
  test(`${name} in mid-set: nobody is held, nothing is claimed that is not there, and it is said`, async (t) => {
    for (const moment of momentsOf(index + 1, whens)) {
      await runs();
      const set = setIn(await meanwhile(moment, action), why);
      t.diagnostic(`${moment.when} + ${moment.ms} ms: ${set?.instant ?? 'no set'}`);
      await isWell();
      await undo();
      if (set !== undefined) await must('siphon', 'snapshot', 'delete', set.id);
      assert.deepEqual(await snapshotsThere(), []);
    }
  });
}

test('siphond’s clock leaps in mid-set: the guest is let go all the same, and the set is right', async (t) => {
  await runs();
  await sh(withClock);
  try {
    await answering();
    for (const [index, moment] of momentsOf(9, UNTIL_HELD).entries()) {
      const leap = index % 2 === 0 ? '+2d' : '-2d';
      const set = setIn(await meanwhile(moment, () => sh(setClock(leap))), /^$/);
      t.diagnostic(`${leap} ${moment.when} + ${moment.ms} ms`);
      assert.equal(set?.instant, 'barrier');
      assert.ok((set?.holdMs ?? 0) > 0 && (set?.holdMs ?? 0) < 6000, `${set?.holdMs} ms`);
      assert.equal(await domainState(NAME), 'running');
      await isWell();
      await must('siphon', 'snapshot', 'delete', set?.id ?? '');
      await sh(setClock('+0'));
    }
    // Nobody waits for a busy guest until a clock that fell back is there again.
    await must('virsh', '-q', 'suspend', NAME);
    const asked = siphon('snapshot', 'create', NAME);
    const isBegun = async () =>
      (await siphonJson<JobsAnswer['jobs']>('jobs')).some(({ state }) => state === 'open');
    await until('it is being made', isBegun);
    await sh(setClock('-2d'));
    assert.match((await asked).stderr, /paused already/);
    await must('virsh', '-q', 'resume', NAME);
  } finally {
    await sh(withoutClock);
    await answering();
  }
});

const create = async (): Promise<KeptSet> => {
  const [set] = await siphonJson<KeptSet[]>('snapshot', 'create', 'mid-set-nova');
  assert.ok(set);
  return set;
};
const pruned = async () =>
  (await siphonJson<PruneAnswer>('snapshot', 'prune', 'mid-set-nova')).decisions
    .filter(({ decision }) => decision === 'prune')
    .map(({ set }) => set);

test('a clock that leaps ahead and is corrected makes no set old; one that begins so does, but for what is protected', async () => {
  await sh(withClock);
  try {
    await answering();
    const [kept, young] = [await create(), await create()];
    await must('siphon', 'snapshot', 'protect', kept.id);
    await sh(setClock('+2d'));
    assert.deepEqual(await pruned(), []);
    const ahead = await create();
    await sh(setClock('+0'));
    assert.deepEqual(await pruned(), []);
    const all = [kept, young, ahead].map(({ id }) => `siphon.${id}`).toSorted();
    assert.deepEqual((await markedSnapshots(NOVA)).toSorted(), all);
    await sh(`${setClock('+2d')}; systemctl restart siphond`);
    await answering();
    assert.deepEqual(await pruned(), [young.id]);
    const left = [kept, ahead].map(({ id }) => `siphon.${id}`).toSorted();
    await becomes(async () => (await markedSnapshots(NOVA)).toSorted(), left);
    for (const verb of ['unprotect', 'delete']) await must('siphon', 'snapshot', verb, kept.id);
    await must('siphon', 'snapshot', 'delete', ahead.id);
  } finally {
    await sh(withoutClock);
    await answering();
  }
});
