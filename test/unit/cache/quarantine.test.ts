// What failed its check: kept aside for a while and within a bound, and never in a base's place.

import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { planQuarantine } from '../../../src/cache/quarantine.ts';
import {
  code,
  corrupt,
  freshWorld,
  MIB,
  makeFolder,
  openWorld,
  type World,
  warm,
} from './support.ts';

const DAY_MS = 86_400_000;
const byId = (x: { id: string }, y: { id: string }) => (x.id < y.id ? -1 : 1);

test('what is too old goes, and of the rest the oldest, until what is left is within its bound', () => {
  const files = fc.array(fc.record({ age: fc.nat(100), size: fc.nat(50) }), { maxLength: 12 });
  const limits = fc.record({ ageMs: fc.nat(100), limitBytes: fc.nat(200) });
  fc.assert(
    fc.property(files, limits, (some, limit) => {
      const all = some.map(({ age, size }, index) => {
        const [id, nowMs] = [`f${index}`, 1000];
        const what = { path: id, source: id, why: 'x' };
        return { id, ...what, atMs: nowMs - age, allocatedBytes: size };
      });
      const ids = new Set(planQuarantine(all, limit, 1000).map(({ id }) => id));
      const young = all.filter(({ atMs }) => 1000 - atMs <= limit.ageMs);
      const kept = all.filter(({ id }) => !ids.has(id));
      const newest = young.toSorted((x, y) => y.atMs - x.atMs);
      assert.deepEqual(newest.slice(0, kept.length).toSorted(byId), kept.toSorted(byId));
      const bytesOf = (files: typeof all) =>
        files.reduce((sum, { allocatedBytes }) => sum + allocatedBytes, 0);
      assert.ok(bytesOf(kept) <= limit.limitBytes);
      const next = newest.slice(0, kept.length + 1);
      assert.ok(next.length === kept.length || bytesOf(next) > limit.limitBytes);
    }),
  );
});

async function fails(world: World, image: string): Promise<void> {
  world.failing.set(image, corrupt(image, 'flipped'));
  await assert.rejects((await warm(world, image)).done, code('corrupt'));
  world.failing.clear();
}

const folderOf = (world: World) => join(world.root, 'bases', '.quarantine');

test('a fill that failed its check is listed with the reason, and goes when it is old', async () => {
  await using world = await freshWorld({ a: MIB, b: MIB });
  await fails(world, 'a');
  const [found, ...others] = await world.cache.quarantined();
  assert.ok(found !== undefined && others.length === 0);
  assert.match(found.source, /a@/);
  assert.match(found.why, /flipped/);
  assert.equal((await readFile(found.path)).length, MIB / 2, 'what was read of it');
  assert.deepEqual(world.cache.list(), []);
  assert.deepEqual((await world.cache.evict({ dryRun: false })).quarantine, []);
  world.clockMs += 8 * DAY_MS;
  const dry = await world.cache.evict({ dryRun: true });
  assert.deepEqual([dry.quarantine.length, dry.freedBytes > 0], [1, true]);
  assert.equal((await world.cache.quarantined()).length, 1);
  await world.cache.evict({ dryRun: false });
  assert.deepEqual(await readdir(folderOf(world)), []);
});

test('it goes at once when that is asked for, and when a fill needs its space; by names never', async () => {
  await using world = await freshWorld({ a: MIB, b: MIB });
  await fails(world, 'a');
  await (await warm(world, 'b')).done;
  const [base] = world.cache.list();
  assert.deepEqual(
    (await world.cache.evict({ dryRun: false, bases: [base?.id ?? ''] })).quarantine,
    [],
  );
  const { quarantine } = await world.cache.evict({ dryRun: false, isQuarantine: true });
  assert.deepEqual(
    quarantine.map(({ reason }) => reason),
    ['it was asked for'],
  );
  await fails(world, 'a');
  world.freeBytes = 0;
  await assert.rejects(warm(world, 'b'), code('exhausted'));
  assert.deepEqual(await world.cache.quarantined(), []);
});

test('one beyond the bound is not kept, nor is one that failed otherwise', async () => {
  const quarantine = { ageMs: DAY_MS, limitBytes: MIB / 4 };
  await using world = await freshWorld({ a: MIB }, { quarantine });
  await fails(world, 'a');
  world.vanishing.add('a');
  await assert.rejects((await warm(world, 'a')).done, code('not-found'));
  assert.deepEqual(await readdir(folderOf(world)), []);
});

test('it outlives siphond; a file without its note, or a note without its file, does not', async () => {
  const root = await makeFolder();
  try {
    {
      await using world = await openWorld(root);
      await world.cache.recover();
      world.sources.set('a', MIB);
      await fails(world, 'a');
    }
    await using world = await openWorld(root);
    await writeFile(join(folderOf(world), 'lost.json'), '{');
    await writeFile(join(folderOf(world), 'untold'), 'bytes');
    const recovery = await world.cache.recover();
    assert.deepEqual(recovery.strange, []);
    const [kept] = await world.cache.quarantined();
    const names = [`${kept?.id}`, `${kept?.id}.json`];
    assert.deepEqual((await readdir(folderOf(world))).toSorted(), names);
  } finally {
    await rm(root, { recursive: true });
  }
});

test('that it could not be kept is told with the failure, which stays the same', async () => {
  await using world = await freshWorld({ a: MIB });
  await rm(folderOf(world), { recursive: true });
  world.failing.set('a', corrupt('a', 'flipped'));
  const fill = await warm(world, 'a');
  await assert.rejects(fill.done, code('corrupt'));
  const { error } = world.journal.get(fill.jobId ?? '') ?? {};
  assert.equal(error?.code, 'corrupt');
  assert.match(error?.hint ?? '', /could not be kept.*ENOENT/);
  assert.deepEqual(await readdir(join(world.root, 'bases', '.partial')), []);
});
