// The cache as its callers see it: selectors, pins, leases, evictions, what a restart makes of the disk.

import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { DiskChain } from '../../../src/cache/index.ts';
import { baseId, basePath } from '../../../src/domain/base-path.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import {
  contentOf,
  FSID,
  freshWorld,
  idsOf,
  MIB,
  makeFolder,
  openWorld,
  sha256,
  sourceOf,
  type World,
} from './support.ts';

const G1 = { uuid: '6e1c0a52-24a7-4a5c-8a3c-8d3c6b1f0a01', name: 'g1' };
const warmed = async (world: World, ...images: string[]) => {
  for (const image of images)
    await (await world.cache.warm({ source: sourceOf(image), priority: 'operator' })).done;
};
const pathOf = (world: World, image: string) =>
  basePath(world.parts.settings.path, idsOf(image), 'raw');
const on = (...images: string[]): DiskChain => ({
  kind: 'known',
  target: 'vda',
  bases: images.map((image) => ({ ids: idsOf(image), format: 'raw' })),
});
const unknownOn = (...images: string[]): DiskChain => ({
  ...on(...images),
  kind: 'unknown',
  reason: 'x',
});
const evict = async (world: World, ...bases: string[]) =>
  (await world.cache.evict({ dryRun: false, bases })).decisions.map(({ decision }) => decision);

test('a base is found by its id, by both its paths and by its source', async () => {
  await using world = await freshWorld({ a: MIB });
  await warmed(world, 'a');
  const id = baseId(idsOf('a'));
  const selectors = [id, `/srv/bases/${id}.raw`, pathOf(world, 'a'), 'rbd:images/a@s'];
  for (const selector of selectors)
    assert.equal((await world.cache.get(selector)).id, id, selector);
  const absent = [`/srv/bases/${id.replace('@1', '@2')}.raw`, '/etc/passwd', '../x', id.slice(1)];
  for (const selector of absent)
    await assert.rejects(world.cache.get(selector), (error: unknown) => {
      return error instanceof OperatingError && error.code === 'not-found';
    });
});

test('a base whose source is gone is found by its name, and Ceph is not asked', async () => {
  await using world = await freshWorld({ a: MIB, b: MIB });
  await warmed(world, 'a', 'b');
  world.sources.delete('a');
  const name = 'rbd:images/a@s';
  assert.equal((await world.cache.get(name)).id, baseId(idsOf('a')));
  assert.equal((await world.cache.get(`rbd://${FSID}/images/a/s`)).id, baseId(idsOf('a')));
  assert.equal((await world.cache.pin(name)).isPinned, true);
  assert.equal((await world.cache.unpin(name)).isPinned, false);
  assert.deepEqual(await evict(world, name), ['evict']);
  await assert.rejects(world.cache.get(name), { code: 'not-found' });
  await assert.rejects(world.cache.get('rbd:images/c@s'), { code: 'not-found' });
});

test('of two bases by one name the one that Ceph says it is; else both are named', async () => {
  await using world = await freshWorld({ a: MIB, b: MIB });
  await warmed(world, 'a', 'b');
  const ids = ['a', 'b'].map((image) => baseId(idsOf(image)));
  // b was once called a: an image that was deleted and made anew.
  world.catalogue.bases.amend(baseId(idsOf('b')), { name: { ...sourceOf('a'), fsid: FSID } });
  const name = 'rbd:images/a@s';
  assert.equal((await world.cache.get(name)).id, ids[0]);
  world.sources.delete('a');
  await assert.rejects(world.cache.evict({ dryRun: false, bases: [name] }), (error: unknown) => {
    assert.ok(error instanceof OperatingError && error.code === 'refused');
    return ids.every((id) => error.why.includes(id));
  });
  assert.equal(world.cache.list().length, 2);
});

test('a base that is found by what Ceph says bears the name from then on', async () => {
  await using world = await freshWorld({ a: MIB });
  await warmed(world, 'a');
  const id = baseId(idsOf('a'));
  world.catalogue.bases.amend(id, { name: { ...sourceOf('611'), pool: '3' } });
  assert.equal((await world.cache.get('rbd:images/a@s')).name.image, 'a');
});

test("a source's path is told before and after its fill", async () => {
  await using world = await freshWorld({ a: MIB }, { rawBecomes: 'qcow2' });
  const path = basePath('/srv/bases', idsOf('a'), 'qcow2');
  assert.deepEqual(await world.cache.path('rbd:images/a@s'), {
    path,
    isPresent: false,
    ids: idsOf('a'),
  });
  await warmed(world, 'a');
  assert.deepEqual(await world.cache.path('rbd:images/a@s'), {
    path,
    isPresent: true,
    ids: idsOf('a'),
  });
});

test('pinned, leased and open bases stay; each can go once it is free', async () => {
  await using world = await freshWorld({ a: MIB });
  await warmed(world, 'a');
  const id = baseId(idsOf('a'));
  await world.cache.pin(id);
  assert.deepEqual(await evict(world, id), ['keep']);
  await world.cache.unpin(id);
  world.cache.leases.running(G1, [on('a')]);
  assert.deepEqual(await evict(world, id), ['keep']);
  world.cache.leases.defined({ ...G1, chains: [on('a')] });
  world.cache.leases.endRunning(G1.uuid);
  assert.deepEqual(await evict(world, id), ['keep']);
  world.cache.leases.setDefined([]);
  const { ino } = statSync(pathOf(world, 'a'));
  world.locks = `1: OFDLCK ADVISORY  READ -1 00:2a:${ino} 100 100\n`;
  assert.deepEqual(await evict(world, id), ['keep']);
  world.locks = null;
  assert.deepEqual(await evict(world, id), ['keep']);
  world.locks = '';
  const dry = await world.cache.evict({ dryRun: true, bases: [id] });
  assert.deepEqual(
    [dry.freedBytes, existsSync(pathOf(world, 'a'))],
    [dry.decisions[0]?.allocatedBytes, true],
  );
  assert.deepEqual(await evict(world, id), ['evict']);
  assert.equal(existsSync(pathOf(world, 'a')), false);
});

test('a lease that is taken between plan and removal keeps the base', async () => {
  await using world = await freshWorld({ a: MIB, b: MIB });
  await warmed(world, 'a', 'b');
  const evicting = world.cache.evict({
    dryRun: false,
    bases: [baseId(idsOf('a')), baseId(idsOf('b'))],
  });
  // a is on its way already when b is leased.
  for (
    let turns = 0;
    world.catalogue.bases.get(baseId(idsOf('a')))?.state !== 'evicting';
    turns++
  ) {
    assert.ok(turns < 1000);
    await Promise.resolve();
  }
  world.cache.leases.running(G1, [on('b')]);
  const { decisions } = await evicting;
  assert.deepEqual(
    decisions.map(({ decision }) => decision),
    ['evict', 'keep'],
  );
  assert.match(decisions[1]?.reason ?? '', /running domain g1/);
  assert.equal(existsSync(pathOf(world, 'b')), true);
});

test('without names, as many go as the limit asks for', async () => {
  const root = await makeFolder();
  {
    await using world = await openWorld(root);
    for (const image of ['a', 'b', 'c']) world.sources.set(image, MIB);
    await world.cache.recover();
    await warmed(world, 'a', 'b', 'c');
    assert.equal((await world.cache.evict({ dryRun: false })).freedBytes, 0);
  }
  await using world = await openWorld(root, { limitBytes: 2.5 * MIB });
  await world.cache.recover();
  await world.cache.evict({ dryRun: false });
  assert.deepEqual(
    world.cache.list().map(({ name }) => name.image),
    ['b', 'c'],
  );
  await rm(root, { recursive: true });
});

test('where a chain is unknown, what the domain leased before stays leased', async () => {
  await using world = await freshWorld({});
  const { leases } = world.cache;
  leases.defined({ ...G1, chains: [on('a')] });
  leases.setDefined([{ ...G1, chains: [unknownOn('b')] }]);
  assert.deepEqual(leases.ofDomain(G1.uuid), on('b', 'a').bases);
  leases.setDefined([{ ...G1, chains: [on('b')] }]);
  assert.deepEqual(leases.ofDomain(G1.uuid), on('b').bases);
  assert.deepEqual(world.cache.missing(), on('b').bases);
  leases.running(G1, [unknownOn()]);
  leases.retainRunning([]);
  assert.deepEqual(leases.ofDomain(G1.uuid), on('b').bases);
});

test('files that vanish or change are noticed, in life and at the next start', async () => {
  await using world = await freshWorld({ a: MIB, b: MIB });
  await warmed(world, 'a', 'b');
  assert.deepEqual(await world.cache.look(pathOf(world, 'a')), { kind: 'same' });
  rmSync(pathOf(world, 'a'));
  assert.deepEqual(await world.cache.look(pathOf(world, 'a')), { kind: 'lost' });
  assert.equal(await world.cache.look(join(world.root, 'x')), undefined);
  writeFileSync(pathOf(world, 'b'), 'changed');
  const { lost, damaged } = await world.cache.recover();
  assert.deepEqual([lost, damaged], [[], [baseId(idsOf('b'))]]);
  const presence = world.cache.presence(idsOf('b'));
  assert.ok(presence.kind === 'suspect');
  assert.match(presence.suspicion.why, /7 bytes/);
});

test('a lost catalogue is rebuilt from the files, which then count as unverified', async () => {
  const root = await makeFolder();
  {
    await using world = await openWorld(root);
    world.sources.set('a', MIB);
    await world.cache.recover();
    const operatorDigests = { sha256: sha256(contentOf('a', MIB)) };
    await (await world.cache.warm({ source: sourceOf('a'), operatorDigests, priority: 'operator' }))
      .done;
  }
  for (const suffix of ['', '-wal', '-shm'])
    rmSync(join(root, `siphon.db${suffix}`), { force: true });
  await using world = await openWorld(root);
  world.sources.set('a', MIB);
  const pool = dirname(pathOf(world, 'a'));
  writeFileSync(join(pool, 'notes.txt'), 'x');
  writeFileSync(pathOf(world, 'writable'), 'x');
  chmodSync(pathOf(world, 'writable'), 0o666);
  writeFileSync(basePath(world.parts.settings.path, idsOf('liar'), 'qcow2'), 'no qcow2');
  mkdirSync(pathOf(world, 'folder'));
  const { adopted, strange } = await world.cache.recover();
  assert.deepEqual(adopted, [baseId(idsOf('a'))]);
  assert.equal(strange.length, 3);
  assert.deepEqual(world.cache.list()[0]?.verification, { kind: 'unverified' });
  // Nobody knows what its bytes were compared with: a demand fills it anew.
  const operatorDigests = { sha256: sha256(contentOf('a', MIB)) };
  const fill = await world.cache.warm({
    source: sourceOf('a'),
    operatorDigests,
    priority: 'operator',
  });
  assert.equal((await fill.done).verification.kind, 'verified');
  assert.deepEqual(world.fills, ['a']);
  assert.equal(world.cache.list()[0]?.name.image, 'a');
  await rm(root, { recursive: true });
});

test('fills that a stop cut off are asked for again', async () => {
  const root = await makeFolder();
  {
    await using world = await openWorld(root);
    world.sources.set('a', MIB);
    await world.cache.recover();
    world.gate = Promise.withResolvers<void>().promise;
    const fill = await world.cache.warm({ source: sourceOf('a'), priority: 'hook' });
    world.journal.stop();
    await assert.rejects(fill.done, /siphond stops/);
  }
  await using world = await openWorld(root);
  world.sources.set('a', MIB);
  const { askAgain } = await world.cache.recover();
  assert.deepEqual(askAgain, [{ source: idsOf('a'), priority: 'hook' }]);
  assert.deepEqual(world.journal.open(), []);
  await rm(root, { recursive: true });
});

test('a file that cannot be removed stays a base, and it is said', async () => {
  await using world = await freshWorld({ a: MIB });
  await warmed(world, 'a');
  const path = pathOf(world, 'a');
  rmSync(path);
  // A folder in its place cannot be unlinked, not even by root.
  mkdirSync(path);
  const { decisions } = await world.cache.evict({ dryRun: false, bases: [baseId(idsOf('a'))] });
  assert.equal(decisions[0]?.decision, 'keep');
  assert.match(decisions[0].reason, /remove/);
  assert.equal(world.cache.list()[0]?.state, 'ready');
});
