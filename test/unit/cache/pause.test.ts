// Paused fills: none begins, what is here serves, what runs goes on, and a domain's start hears it without a word from Ceph.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freshWorld, idsOf, MIB, sourceOf, type World } from './support.ts';

const PAUSED = { code: 'refused', why: /^paused: fills/, hint: /siphon resume fills/ };
const warm = (world: World, image: string, more: object = {}) =>
  world.cache.warm({ source: sourceOf(image), priority: 'operator', ...more });
const pause = (world: World) => world.catalogue.pauses.put({ work: 'fills', sinceMs: 1 });

test('while fills are paused none begins, and nothing is left of one that was asked for', async () => {
  await using world = await freshWorld({ a: MIB });
  pause(world);
  await assert.rejects(warm(world, 'a'), PAUSED);
  await assert.rejects(world.cache.warm({ source: idsOf('a'), priority: 'hook' }), PAUSED);
  assert.deepEqual([world.fills, world.journal.list(9), world.cache.list()], [[], [], []]);
  world.catalogue.pauses.remove('fills');
  assert.equal((await (await warm(world, 'a')).done).state, 'ready');
});

test('what is here serves, but is not read again to be checked', async () => {
  await using world = await freshWorld({ a: MIB });
  await (await warm(world, 'a')).done;
  pause(world);
  const fill = await world.cache.warm({ source: idsOf('a'), priority: 'hook' });
  assert.equal((await fill.done).state, 'ready');
  await assert.rejects(warm(world, 'a', { operatorDigests: { sha512: 'ab'.repeat(64) } }), PAUSED);
  assert.equal(world.cache.presence(idsOf('a')).kind, 'ready');
});

test('a fill that runs goes on, and may be joined', async () => {
  await using world = await freshWorld({ a: MIB });
  const first = await warm(world, 'a');
  pause(world);
  const joined = await world.cache.warm({ source: idsOf('a'), priority: 'hook' });
  assert.equal(joined.jobId, first.jobId);
  assert.equal((await joined.done).state, 'ready');
});

test("a start's need is refused though Ceph does not answer", async () => {
  await using world = await freshWorld({ a: MIB });
  const unreachable = () => Promise.reject(new Error('Ceph was asked'));
  Object.assign(world.parts.clusters, { ofSource: unreachable, byFsid: unreachable });
  pause(world);
  await assert.rejects(world.cache.warm({ source: idsOf('a'), priority: 'hook' }), PAUSED);
});

test('eviction goes on', async () => {
  await using world = await freshWorld({ a: MIB });
  await (await warm(world, 'a')).done;
  pause(world);
  const base = world.cache.list()[0]?.id ?? '';
  const { decisions } = await world.cache.evict({ dryRun: false, bases: [base] });
  assert.equal(decisions[0]?.decision, 'evict');
  assert.deepEqual(world.cache.list(), []);
});
