// A running guest's set made into images by the installed siphon: usable, filled from at once, parted from the set; and kill -9 of
// siphond at each step of the journal. What siphon claims is what `rbd` shows, in all pools.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import type { JobsAnswer } from '../../../src/wire/api.ts';
import type { PublishResult } from '../../../src/wire/publish-api.ts';
import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { errors, type Fault } from '../support/errors.ts';
import { must, run, sh, until } from '../support/host.ts';
import { fileCleanup, freshPool, removeImage } from '../support/images.ts';
import { type Ordered, startOrdered } from '../support/ordered.ts';
import { assertAnswered, createSet } from '../support/settled.ts';
import { answering, siphon, siphondPid, siphonJson } from '../support/siphon.ts';

const IS_SOAK = process.env['SIPHON_SOAK'] === '1';
const SEED = Number(process.env['SIPHON_SEED'] ?? Date.now() % 1_000_000);

const cleanup = fileCleanup();
let guest: Ordered;
let pool = '';
let names = 0;

before(async () => {
  await answering();
  // A dead client's watch is waited for: not for half a minute each time.
  await must('ceph', 'config', 'set', 'osd', 'osd_client_watch_timeout', '10');
  cleanup.after(() => run('ceph', ['config', 'rm', 'osd', 'osd_client_watch_timeout']));
  pool = await freshPool(cleanup);
  guest = await startOrdered(cleanup, 'publish');
  cleanup.after(async () => {
    for (const { id } of await siphonJson<SnapshotSet[]>('snapshot', 'list', guest.name)) {
      await siphon('snapshot', 'delete', id);
    }
  });
});

async function takeSet(): Promise<string> {
  const created = await createSet(guest);
  assert.equal(created.code, 0, created.stderr);
  const [set] = JSON.parse(created.stdout) as [{ id: string }];
  return set.id;
}

const publish = (set: string, ...words: readonly string[]) =>
  siphonJson<PublishResult>('publish', set, '--to', pool, ...words);

const imagesIn = async (): Promise<string[]> =>
  JSON.parse(await must('rbd', 'ls', pool, '--format', 'json')) as string[];
const snapsOf = async (image: string): Promise<string[]> => {
  const text = await must('rbd', 'snap', 'ls', '--all', image, '--format', 'json');
  return (JSON.parse(text) as { name: string }[]).map(({ name }) => name);
};
const entriesIn = async (): Promise<string> => {
  const { stdout } = await run('rados', ['-p', pool, 'listomapkeys', 'siphon.publishing']);
  return stdout;
};
const parentOf = async (image: string): Promise<string | undefined> => {
  const text = await must('rbd', 'info', image, '--format', 'json');
  return (JSON.parse(text) as { parent?: { image: string } }).parent?.image;
};
const openJobs = async () => {
  const jobs = await siphonJson<JobsAnswer['jobs']>('jobs', '--limit', '100');
  return jobs.filter(({ state, kind }) => state === 'open' && /publish/.test(kind));
};
const jobsEnd = () =>
  until('all is published, or undone', async () => (await openJobs()).length === 0, 120);

const sameBytes = (one: string, other: string) =>
  sh(`cmp <(rbd export --no-progress '${one}' -) <(rbd export --no-progress '${other}' -)`);

/** In all pools: the set's own snapshots, the images with theirs, no clone, no trash, no entry. */
async function assertPublished(set: string, images: readonly string[]): Promise<void> {
  assert.deepEqual((await imagesIn()).toSorted(), images.toSorted());
  assert.equal(await entriesIn(), '');
  assert.equal(await must('rbd', 'trash', 'ls', '--all', pool), '');
  for (const image of images) {
    assert.deepEqual(await snapsOf(`${pool}/${image}`), ['snap']);
    assert.equal(await parentOf(`${pool}/${image}@snap`), undefined);
  }
  for (const disk of guest.images) {
    assert.deepEqual(await snapsOf(disk), [`siphon.${set}`]);
    assert.equal(await must('rbd', 'children', '--all', `${disk}@siphon.${set}`), '');
  }
}

test('a running guest’s disks become images, which are filled from at once and need the set no longer', async () => {
  const set = await takeSet();
  const { images } = await publish(set, '--name', 'gold');
  assert.deepEqual(
    images.map(({ target, image, snap }) => [target, image, snap]),
    [
      ['vdb', 'gold-vdb', 'snap'],
      ['vdc', 'gold-vdc', 'snap'],
    ],
  );
  const warmed = await siphon('warm', `rbd:${pool}/gold-vdb@snap`);
  assert.equal(warmed.code, 0, warmed.stderr);
  cleanup.after(() => siphon('evict', `rbd:${pool}/gold-vdb@snap`));
  await jobsEnd();
  await assertPublished(set, ['gold-vdb', 'gold-vdc']);
  for (const [index, disk] of guest.images.entries()) {
    await sameBytes(`${disk}@siphon.${set}`, `${pool}/${images[index]?.image}@snap`);
  }
  const taken = await siphon('publish', set, '--to', pool, '--name', 'gold');
  assert.equal(taken.code, 5, taken.stderr);
  assert.match(taken.stderr, /is there already/);
  await must('siphon', 'snapshot', 'delete', set);
  for (const disk of guest.images) assert.deepEqual(await snapsOf(disk), []);
  for (const image of await imagesIn()) await removeImage(`${pool}/${image}`);
});

test('without a flatten it is instant; the set may go first, and siphon flatten parts the image', async () => {
  const set = await takeSet();
  const { images } = await publish(set, '--devices', 'vdb', '--name', 'thin', '--no-flatten');
  assert.deepEqual(
    images.map(({ isIndependent, depth }) => [isIndependent, depth]),
    [[false, 1]],
  );
  const [first = ''] = guest.images;
  assert.equal(await parentOf(`${pool}/thin`), first.split('/')[1]);
  await must('siphon', 'snapshot', 'delete', set);
  assert.equal((await snapsOf(first)).length, 1, 'it waits in the trash for the clone');
  await must('siphon', 'flatten', `${pool}/thin`);
  assert.equal(await parentOf(`${pool}/thin@snap`), undefined);
  assert.deepEqual(await snapsOf(first), []);
  assert.equal(await entriesIn(), '');
  await removeImage(`${pool}/thin`);
});

test('clones of format 1: the set is not deleted before its image is flattened, and then it is', async () => {
  await must('ceph', 'config', 'set', 'global', 'rbd_default_clone_format', '1');
  try {
    const set = await takeSet();
    await must('systemctl', 'restart', 'siphond');
    await answering();
    await publish(set, '--devices', 'vdb', '--name', 'old', '--no-flatten');
    const refused = await siphon('snapshot', 'delete', set);
    assert.equal(refused.code, 5, refused.stderr);
    assert.match(refused.stderr, /cloned from it/);
    for (const disk of guest.images) assert.deepEqual(await snapsOf(disk), [`siphon.${set}`]);
    await must('siphon', 'flatten', `${pool}/old`);
    await must('siphon', 'snapshot', 'delete', set);
    for (const disk of guest.images) assert.deepEqual(await snapsOf(disk), []);
    const far = await takeSet();
    await must('rbd', 'namespace', 'create', `${pool}/tenant`);
    const to = ['--to', `${pool}/tenant`, '--devices', 'vdb', '--name', 'far'];
    assert.equal((await siphon('publish', far, ...to, '--no-fallback')).code, 5);
    const { images } = await siphonJson<PublishResult>('publish', far, ...to);
    assert.deepEqual(
      images.map(({ way, isIndependent }) => [way, isIndependent]),
      [['copied', true]],
    );
    assert.match(images[0]?.whyCopied ?? '', /another namespace/);
    await sameBytes(`${guest.images[0]}@siphon.${far}`, `${pool}/tenant/far@snap`);
    await must('siphon', 'snapshot', 'delete', far);
    await sh(`rbd snap unprotect ${pool}/tenant/far@snap
      rbd snap unprotect ${pool}/old@snap`);
    await removeImage(`${pool}/tenant/far`);
    await removeImage(`${pool}/old`);
  } finally {
    await must('ceph', 'config', 'rm', 'global', 'rbd_default_clone_format');
  }
});

const STEPS = ['begun', 'cloning', 'naming', 'flattening'] as const;

/** Here one of them; all, and often, in a soak. */
function steps(): readonly (typeof STEPS)[number][] {
  if (IS_SOAK) return Array.from({ length: 6 }, () => STEPS).flat();
  const [some = []] = fc.sample(fc.shuffledSubarray([...STEPS], { minLength: 1, maxLength: 1 }), {
    seed: SEED,
    numRuns: 1,
  });
  return some;
}

/** Returns at that step of the journal, or when there will be none. */
async function comes(step: string, fromMs: number, over: AbortSignal): Promise<void> {
  const journal = new Database('/var/lib/siphon/siphon.db', { readonly: true });
  try {
    const now = journal.prepare<[number, string]>(
      "SELECT 1 FROM jobs WHERE kind IN ('publish', 'publish-flatten') AND created_at_ms >= ? AND step = ?",
    );
    while (now.get(fromMs, step) === undefined && !over.aborted) await delay(1);
  } finally {
    journal.close();
  }
}

/** Kills siphond there, or after it; gives the set, when all has come to its end. */
async function killAt(step: string, image: string, how: string): Promise<string> {
  const set = await takeSet();
  const pid = await siphondPid();
  const over = new AbortController();
  const fromMs = Date.now();
  const words = ['--to', pool, '--name', image, how, '--json'];
  const asked = siphon('publish', set, ...words).finally(() => over.abort());
  await comes(step, fromMs, over.signal);
  process.kill(pid, 'SIGKILL');
  await answering();
  assertAnswered(await asked);
  await jobsEnd();
  return set;
}

for (const [index, step] of steps().entries()) {
  test(`kill ${index} of seed ${SEED}: siphond dies at "${step}"`, async () => {
    const image = `killed${++names}`;
    const set = await killAt(step, image, '--wait');
    const count = await assertAllOrNone(set, image);
    if (step === 'naming' || step === 'flattening') assert.equal(count, guest.images.length);
    await publishesAnew(set, image);
  });
}

for (let index = 0; index < (IS_SOAK ? 12 : 1); index += 1) {
  const step = (['cloning', 'naming'] as const)[(SEED + index) % 2] ?? 'naming';
  test(`kill ${index} of seed ${SEED}: siphond dies at "${step}" of images that stay clones`, async () => {
    const image = `linked${++names}`;
    const set = await killAt(step, image, '--no-flatten');
    const found = await imagesIn();
    if (step === 'naming' || found.length > 0) assert.equal(found.length, TARGETS.length);
    assert.equal((await entriesIn()).split('\n').filter(Boolean).length, found.length);
    for (const [at, disk] of guest.images.entries()) {
      const children = found.length === 0 ? '' : `${pool}/${image}-${TARGETS[at]}`;
      assert.equal(await must('rbd', 'children', '--all', `${disk}@siphon.${set}`), children);
    }
    await must('siphon', 'snapshot', 'delete', set);
    for (const each of found) await must('siphon', 'flatten', `${pool}/${each}`);
    for (const disk of guest.images) assert.deepEqual(await snapsOf(disk), []);
    for (const each of found) await removeImage(`${pool}/${each}`);
    assert.equal(await entriesIn(), '');
  });
}

const TARGETS = ['vdb', 'vdc'];

/** Gives how many images there were; they are removed. */
async function assertAllOrNone(set: string, image: string): Promise<number> {
  const found = await imagesIn();
  const whole = TARGETS.map((target) => `${image}-${target}`);
  await assertPublished(set, found.length === 0 ? [] : whole);
  for (const each of found) await removeImage(`${pool}/${each}`);
  return found.length;
}

async function publishesAnew(set: string, image: string): Promise<void> {
  const { images } = await publish(set, '--name', image, '--wait');
  assert.ok(images.every(({ isIndependent }) => isIndependent));
  assert.equal(await assertAllOrNone(set, image), TARGETS.length);
  await must('siphon', 'snapshot', 'delete', set);
}

/** ENOSPC; and in a soak EIO, after which it is looked for again for a while. */
const CODES = IS_SOAK ? [5, 28] : [28];
/** What they do may be done although they say that it is not. */
const CHANGES = new Set([
  'rados_write_op_operate2',
  'rbd_clone3',
  'rbd_flatten_with_progress',
  'rbd_rename',
  'rbd_snap_create',
]);

/** Of those calls that change something, and of all; in a soak each of them, in both ways. */
function faultsOf(asked: readonly Pick<Fault, 'symbol' | 'number'>[]): readonly Fault[] {
  const seeded = fc.sample(fc.nat(), { seed: SEED, numRuns: asked.length });
  const all = asked.flatMap((each, index): Fault[] => {
    const ways = CHANGES.has(each.symbol) ? [false, true] : [false];
    const code = CODES[(seeded[index] ?? 0) % CODES.length] ?? 5;
    return ways.map((isLost) => ({ ...each, code, isLost }));
  });
  if (IS_SOAK) return all;
  const changes = all.filter(({ symbol }) => CHANGES.has(symbol));
  return [changes, all].flatMap((some) =>
    fc.sample(fc.constantFrom(...some), { seed: SEED, numRuns: 1 }),
  );
}

test('whichever call fails', { timeout: IS_SOAK ? 7_200_000 : 400_000 }, async (t) => {
  // It writes all the time, and nothing here asks it anything.
  await must('virsh', 'destroy', guest.name);
  const faults = await errors(cleanup);
  const set = await takeSet();
  await faults.plan();
  await publish(set, '--name', 'calls', '--wait');
  const asked = await faults.withdraw();
  assert.equal(await assertAllOrNone(set, 'calls'), TARGETS.length);
  await must('siphon', 'snapshot', 'delete', set);
  t.diagnostic(`seed ${SEED}; ${asked.length} calls`);
  for (const fault of faultsOf(asked)) {
    const { symbol, number, code, isLost } = fault;
    const how = isLost ? 'its answer is lost' : 'it fails';
    await t.test(`${symbol} ${number}: ${how} (${code})`, async () => {
      const image = `failed${++names}`;
      const of = await takeSet();
      await faults.plan(fault);
      const words = ['--to', pool, '--name', image, '--wait', '--json'];
      assertAnswered(await siphon('publish', of, ...words));
      await jobsEnd();
      await faults.withdraw();
      await assertAllOrNone(of, image);
      await publishesAnew(of, image);
    });
  }
});
