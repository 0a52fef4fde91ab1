// Publishing as a whole, over a cluster in memory: whatever fails, and wherever siphond ends, either all images of a set stand under
// their names and are flattened, or nothing of them is left.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { readPublishData } from '../../../src/snapshot/publish/data.ts';
import type { PublishAsk, PublishResult } from '../../../src/wire/publish-api.ts';
import type { PublishEntry } from '../../../src/wire/publish-protocol.ts';
import { setOf } from './publish-sets.ts';
import { failure, PublishLife, PublishWorld } from './publish-world.ts';

const SET = setOf(['vda', 'vdb']);
const ASK: PublishAsk = {
  to: { pool: 'images', namespace: '' },
  name: 'gold',
  flatten: 'here',
  fallback: 'none',
};
const NAMES = ['gold-vda', 'gold-vdb'];

const ENTRY: PublishEntry = {
  schema: 1,
  host: 'h2',
  set: 's',
  source: { poolId: 2, namespace: '', imageId: 'x', snapId: 1, snap: 'siphon.s' },
  format: 2,
  image: 'theirs',
};
const namesIn = (world: PublishWorld) => [...world.images.keys()].toSorted();
const parentsIn = (world: PublishWorld) => [...world.images.values()].map(({ parent }) => parent);

/** All, and independent; or nothing. */
function assertWhole(world: PublishWorld, isLinked = false): void {
  assert.deepEqual(
    world.openJobs().map(({ subject }) => subject),
    [],
  );
  const signed = world.images.get('gold-vda');
  const carried = signed === undefined ? [] : [`${signed.id}@1`];
  assert.deepEqual([...world.manifests.keys()], ['id-vda@10', ...carried]);
  if (world.images.size === 0) {
    assert.deepEqual([...world.entries.keys(), ...world.protectedSnaps], []);
    return;
  }
  assert.deepEqual(namesIn(world), NAMES);
  assert.deepEqual(parentsIn(world), isLinked ? [10, 11] : [undefined, undefined]);
  if (!isLinked) assert.deepEqual([...world.entries.keys(), ...world.protectedSnaps], []);
  else assert.deepEqual([...world.entries.values()].map(({ image }) => image).toSorted(), NAMES);
}

for (const format of [1, 2] as const) {
  for (const flatten of ['here', 'cluster', 'never'] as const) {
    test(`wherever siphond ends (format ${format}, flatten ${flatten})`, async () => {
      let wasMade = 0;
      let wasUndone = 0;
      for (let endsAt = 1; ; endsAt += 1) {
        const world = new PublishWorld();
        world.format = format;
        const life = new PublishLife(world, SET, endsAt);
        const result = await life.lives(async () => {
          const begun = life.room.begin(SET.id, { ...ASK, flatten });
          return await begun.independent;
        });
        if (result !== undefined) {
          assertWhole(world, flatten === 'never');
          assert.ok(wasMade >= 5 && wasUndone >= 5, `${wasMade} ${wasUndone}`);
          return;
        }
        world.client = 'client.2';
        await new PublishLife(world, SET).recover();
        assertWhole(world, flatten === 'never');
        if (world.images.size > 0) wasMade += 1;
        else wasUndone += 1;
      }
    });
  }
}

test('where clones fail, wherever siphond ends: copies of all, or nothing', async () => {
  let wasMade = 0;
  for (let endsAt = 1; ; endsAt += 1) {
    const world = new PublishWorld();
    world.format = 1;
    world.before = (method) => {
      if (method === 'makeClone') throw failure('usage');
    };
    const life = new PublishLife(world, SET, endsAt);
    const result = await life.lives(async () => {
      return await life.room.begin(SET.id, { ...ASK, fallback: 'copy' }).independent;
    });
    world.client = 'client.2';
    await new PublishLife(world, SET).recover();
    assertWhole(world);
    if (world.images.size > 0) wasMade += 1;
    if (result === undefined) continue;
    const told = result.images.map(({ way, whyCopied, isIndependent }) => [
      way,
      whyCopied,
      isIndependent,
    ]);
    const why = failure('usage').why;
    assert.deepEqual(told, [
      ['copied', why, true],
      ['copied', why, true],
    ]);
    assert.ok(wasMade >= 5, String(wasMade));
    return;
  }
});

test('where the pool is full, wherever siphond ends: files of all disks, or nothing', async (t) => {
  const root = await mkdtemp(path.join(tmpdir(), 'siphon-files-'));
  t.after(() => rm(root, { recursive: true }));
  let wasMade = 0;
  let wasUndone = 0;
  for (let endsAt = 1; ; endsAt += 1) {
    const world = new PublishWorld();
    world.isFull = true;
    world.folder = path.join(root, String(endsAt));
    await mkdir(world.folder);
    const life = new PublishLife(world, SET, endsAt);
    const result = await life.lives(async () => {
      return await life.room.begin(SET.id, { ...ASK, fallback: 'copy' }).independent;
    });
    // A dead life has no worker any more that would write.
    for (let turn = 0; turn < 5; turn += 1) await new Promise((done) => setImmediate(done));
    await new PublishLife(world, SET).recover();
    assertWhole(world);
    assert.equal(world.images.size, 0);
    const files = (await readdir(world.folder)).toSorted();
    if (files.length > 0) assert.deepEqual(files, ['gold-vda.raw', 'gold-vdb.raw']);
    if (files.length > 0) wasMade += 1;
    else wasUndone += 1;
    if (result === undefined) continue;
    assert.deepEqual(result.images, []);
    assert.match(result.files?.[0]?.whyCopied ?? '', /pool images is full/);
    assert.ok(wasMade >= 2 && wasUndone >= 5, `${wasMade} ${wasUndone}`);
    return;
  }
});

test('a file that is there stays as it is, whenever it was made', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'siphon-files-'));
  t.after(() => rm(folder, { recursive: true }));
  const world = new PublishWorld();
  world.folder = folder;
  const file = path.join(folder, 'gold-vdb.raw');
  const publish = (world: PublishWorld) =>
    new PublishLife(world, SET).room.begin(SET.id, { ...ASK, to: 'file' }).usable;
  await writeFile(file, 'theirs');
  await assert.rejects(publish(world), { code: 'refused', why: /there already/ });
  await rm(file);
  world.before = (method, params) => {
    const { partialPath = '' } = params as { partialPath?: string };
    if (method === 'saveDisk' && partialPath.includes('vdb')) writeFileSync(file, 'theirs');
  };
  await assert.rejects(publish(world), { code: 'refused', why: /there already/ });
  assert.deepEqual(await readdir(folder), ['gold-vdb.raw']);
  assert.equal(await readFile(file, 'utf8'), 'theirs');
  assertWhole(world);
  world.folder = path.join(folder, 'none');
  await assert.rejects(publish(world), { code: 'refused', hint: /install -d/ });
});

test('a copy that fails, too: both reasons are told, and nothing is left', async () => {
  const world = new PublishWorld();
  world.before = (method) => {
    if (method === 'makeClone') throw failure('busy');
    if (method === 'makeCopy') throw failure('denied');
  };
  const life = new PublishLife(world, SET);
  const asked = life.room.begin(SET.id, { ...ASK, fallback: 'copy' }).usable;
  await assert.rejects(asked, { code: 'denied', why: /a copy was tried, since: / });
  assertWhole(world);
});

test('the cluster flattens where it is asked to; where it does not, this host does', async () => {
  for (const hasManager of [true, false]) {
    const world = new PublishWorld();
    world.hasManager = hasManager;
    const asked: string[] = [];
    world.before = (method) => void (method.startsWith('flatten') && asked.push(method));
    const life = new PublishLife(world, SET);
    const { images } = await life.room.begin(SET.id, { ...ASK, flatten: 'cluster' }).independent;
    assert.ok(images.every(({ isIndependent }) => isIndependent));
    assertWhole(world);
    assert.equal(asked.includes('flattenClone'), !hasManager);
    assert.ok(asked.includes('flattenByTask'));
  }
});

test('a clone that was left can be parted later, and no job is begun twice', async () => {
  const world = new PublishWorld();
  const life = new PublishLife(world, SET);
  const { images } = await life.room.begin(SET.id, { ...ASK, flatten: 'never' }).independent;
  assert.deepEqual(
    images.map(({ isIndependent, depth }) => [isIndependent, depth]),
    [
      [false, 1],
      [false, 1],
    ],
  );
  const at = (image: string) => ({ pool: 'images', namespace: '', image });
  const [one, again] = [
    await life.room.flatten(at('gold-vda')),
    await life.room.flatten(at('gold-vda')),
  ];
  assert.equal(one.jobId, again.jobId);
  await one.work;
  assert.deepEqual(new Set(parentsIn(world)), new Set([undefined, 11]));
  await assert.rejects(life.room.flatten(at('gold-vda')), { code: 'not-found' });
});

test('whichever call fails, nothing is left, and the error is the one that it failed with', async () => {
  for (const method of ['lookAtPlace', 'lookAtSource', 'protectSource', 'makeClone', 'nameClone']) {
    for (const code of ['denied', 'refused', 'exhausted', 'unavailable'] as const) {
      const world = new PublishWorld();
      world.format = 1;
      let calls = 0;
      world.before = (called) => {
        if (called === method && ++calls === 2) throw failure(code);
      };
      const life = new PublishLife(world, SET);
      await assert.rejects(life.room.begin(SET.id, ASK).usable, { code });
      await life.recover();
      assertWhole(world);
      assert.equal(world.images.size, 0, `${method} ${code}`);
      assert.equal([...world.jobs.values()].at(0)?.error?.code, code);
    }
  }
});

test('what got no answer may come later: it is looked for again', async () => {
  const world = new PublishWorld();
  let late: (() => void) | undefined;
  world.before = (method, params) => {
    if (method !== 'makeClone' || late !== undefined) return;
    late = () => void world.fakes.makeClone(params as never);
    throw failure('unavailable');
  };
  const life = new PublishLife(world, SET);
  await assert.rejects(life.room.begin(SET.id, ASK).usable, { code: 'unavailable' });
  assert.equal(world.images.size, 0);
  late?.();
  assert.equal(world.images.size, 1);
  await life.recover();
  assertWhole(world);
  assert.equal(world.images.size, 0);
});

test('what cannot be removed yet is removed later', async () => {
  const world = new PublishWorld();
  world.before = (method) => {
    if (method === 'nameClone') throw failure('refused');
    if (method === 'removeClone') throw failure('busy');
  };
  const life = new PublishLife(world, SET);
  await assert.rejects(life.room.begin(SET.id, ASK).usable, { code: 'refused' });
  assert.equal(world.images.size, 2);
  assert.equal(world.openJobs().length, 1);
  world.before = () => undefined;
  await life.recover();
  assertWhole(world);
  assert.equal(world.images.size, 0);
});

test('a flatten that a full pool stops goes on when there is room; one whose image is gone ends', async () => {
  const world = new PublishWorld();
  world.before = (method) => {
    if (method === 'flattenClone') throw failure('exhausted');
  };
  const life = new PublishLife(world, SET);
  const told: PublishResult = await life.room.begin(SET.id, ASK).independent;
  assert.deepEqual(
    told.images.map(({ isIndependent }) => isIndependent),
    [false, false],
  );
  assert.equal(world.openJobs().length, 2);
  world.images.delete('gold-vdb');
  world.before = () => undefined;
  await life.recover();
  assert.deepEqual([namesIn(world), parentsIn(world)], [['gold-vda'], [undefined]]);
  assert.deepEqual([...world.entries.keys(), ...world.openJobs()], []);
});

test('a set is published once at a time, and one that is not there is not', async () => {
  const world = new PublishWorld();
  const life = new PublishLife(world, SET);
  const first = life.room.begin(SET.id, ASK);
  assert.throws(() => life.room.begin(SET.id, { ...ASK, name: 'two' }), { code: 'busy' });
  assert.throws(() => life.room.begin('none', ASK), { code: 'not-found' });
  await first.independent;
  await assert.rejects(life.room.begin(SET.id, ASK).usable, { code: 'refused' });
  assertWhole(world);
});

test('a lost catalogue leaves no clone without a name, and touches no image that has one', async () => {
  for (let endsAt = 1; ; endsAt += 1) {
    const world = new PublishWorld();
    world.format = 1;
    const life = new PublishLife(world, SET, endsAt);
    const begun = await life.lives(async () => {
      return await life.room.begin(SET.id, { ...ASK, flatten: 'never' }).usable;
    });
    // What was asked for as it ended is done.
    for (let turn = 0; turn < 5; turn += 1) await new Promise((done) => setImmediate(done));
    const named = namesIn(world).filter((name) => NAMES.includes(name));
    world.entries.set('siphon.x', ENTRY);
    const other = new PublishLife(world, SET);
    await other.room.reconcile();
    if (world.jobs.size > 0) assert.ok(world.images.size >= named.length, 'known jobs are left');
    world.jobs.clear();
    await new PublishLife(world, SET).room.reconcile();
    assert.deepEqual(namesIn(world), named);
    assert.deepEqual(world.entries.get('siphon.x'), ENTRY);
    if (begun !== undefined) return assert.deepEqual(named, NAMES);
  }
});

test('data of another version is told, and is not guessed at', () => {
  assert.equal(readPublishData({ plan: { set: 1 } }), null);
});
