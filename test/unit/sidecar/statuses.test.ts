// Images that were deactivated: read place by place, one look at a time, and what cannot be told changes nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createStatuses } from '../../../src/sidecar/statuses.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { Cluster } from '../../../src/wire/ports.ts';
import type { CephMethods } from '../../../src/wire/worker-protocol.ts';
import { freshWorld, idsOf, MIB, type World, warm } from '../cache/support.ts';
import { keptLog } from './support/quiet.ts';

type Params = CephMethods['readStatuses']['params'];

async function made(images: readonly string[]) {
  const world = await freshWorld(Object.fromEntries(images.map((image) => [image, MIB])));
  for (const image of images) await (await warm(world, image)).done;
  const asked: Params[] = [];
  const said = new Map<string, 'on' | 'off' | 'unreadable'>();
  const far = { isUp: true, gate: Promise.resolve() };
  const call = async (_: string, params: Params) => {
    asked.push(params);
    const found = params.sources.map(({ imageId }) => {
      return said.get(Buffer.from(imageId, 'hex').toString()) ?? 'on';
    });
    await far.gate;
    if (far.isUp) return found;
    throw new OperatingError({ code: 'unavailable', op: 'call', subject: 'ceph' });
  };
  const cluster = { ceph: { call } } as unknown as Cluster;
  const { log, lines } = keptLog();
  const clusters = { byFsid: async () => cluster };
  const parts = { cache: world.cache, clusters, cephDeadlineMs: () => 1000, log };
  return Object.assign(world, { statuses: createStatuses(parts), asked, said, far, lines });
}

const kindOf = (world: World, image: string) => world.cache.presence(idsOf(image)).kind;

test('the bases of a deactivated image are suspect, and ready again with the image, by one read of a pool', async () => {
  await using world = await made(['a', 'b', 'c']);
  world.said.set('a', 'off').set('b', 'unreadable');
  await world.statuses.look();
  assert.equal(world.asked.length, 1);
  assert.equal(world.asked[0]?.sources.length, 3);
  assert.deepEqual(
    ['a', 'b', 'c'].map((image) => kindOf(world, image)),
    ['suspect', 'ready', 'ready'],
  );
  assert.equal(
    world.cache.list().find(({ name }) => name.image === 'a')?.suspicion?.of,
    'deactivated',
  );
  assert.match(world.lines.join(), /rbd:images\/a@s.*images were deactivated/);
  world.said.set('a', 'unreadable');
  await world.statuses.look();
  assert.equal(kindOf(world, 'a'), 'suspect', 'a record that cannot be read says nothing');
  world.said.set('a', 'on');
  await world.statuses.lookAt(idsOf('b'));
  assert.equal(kindOf(world, 'a'), 'suspect', 'only one was looked at');
  await world.statuses.lookAt(idsOf('a'));
  assert.equal(kindOf(world, 'a'), 'ready');
  assert.deepEqual(world.fills, ['a', 'b', 'c']);
});

test('a cluster that does not answer changes nothing, and is told', async () => {
  await using world = await made(['a']);
  world.said.set('a', 'off');
  await world.statuses.look();
  world.said.clear();
  world.far.isUp = false;
  await world.statuses.look();
  assert.equal(kindOf(world, 'a'), 'suspect');
  assert.match(world.lines.join(), /is not known/);
});

test('what was read before a change is not applied after it', async () => {
  await using world = await made(['a']);
  world.said.set('a', 'off');
  const gate = Promise.withResolvers<void>();
  world.far.gate = gate.promise;
  const early = world.statuses.look();
  world.said.set('a', 'on');
  const late = world.statuses.lookAt(idsOf('a'));
  gate.resolve();
  await Promise.all([early, late]);
  assert.equal(kindOf(world, 'a'), 'ready');
});
