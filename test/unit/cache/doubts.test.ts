// Bases that nothing trusted vouches for any more: suspect at once and together, ready again without a fill, and never because of what is
// wrong with their bytes.

import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { decideDoubt, doubtsOf, problemOf, suspicionOf } from '../../../src/cache/suspicion.ts';
import { baseId, basePath } from '../../../src/domain/base-path.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { freshWorld, idsOf, MIB, makeFolder, openWorld, type World, warm } from './support.ts';

const REVOKED = { why: 'key 12 was revoked', losses: [] };
const DEACTIVATED = { why: 'its image is deactivated' };

const stateOf = (world: World, image: string) => world.cache.presence(idsOf(image));
const warmed = async (world: World, ...images: string[]) => {
  for (const image of images) await (await warm(world, image)).done;
};

test('what is revoked makes its bases suspect, and what is taken back makes them ready without a fill', async () => {
  await using world = await freshWorld({ a: MIB, b: MIB });
  await warmed(world, 'a', 'b');
  const of = (image: string) => baseId(idsOf(image));
  const judge = ({ id }: { id: string }) => (id === of('a') ? REVOKED : ('none' as const));
  const changes = await world.cache.doubt('revoked', judge);
  assert.deepEqual(
    changes.map(({ id, to, why }) => [id, to, why]),
    [[of('a'), 'suspect', REVOKED.why]],
  );
  const suspicion = { of: 'revoked', why: REVOKED.why };
  assert.deepEqual(stateOf(world, 'a'), { kind: 'suspect', suspicion });
  assert.deepEqual(world.cache.list().find(({ id }) => id === of('a'))?.suspicion, suspicion);
  assert.equal(stateOf(world, 'b').kind, 'ready');
  assert.deepEqual(await world.cache.doubt('revoked', judge), [], 'it is told once');
  assert.deepEqual(await world.cache.doubt('revoked', () => 'untold'), []);
  assert.equal(stateOf(world, 'a').kind, 'suspect');
  const back = await world.cache.doubt('revoked', () => 'none');
  assert.deepEqual(
    back.map(({ id, to }) => [id, to]),
    [[of('a'), 'ready']],
  );
  assert.deepEqual(world.fills, ['a', 'b']);
  assert.equal('suspicion' in (world.cache.list()[0] ?? {}), false);
});

test('each doubt is withdrawn by itself, also after a restart', async () => {
  const root = await makeFolder();
  const seen: unknown[] = [];
  {
    await using world = await openWorld(root);
    world.sources.set('a', MIB);
    await world.cache.recover();
    await warmed(world, 'a');
    await world.cache.doubt('revoked', () => REVOKED);
    await world.cache.doubt('deactivated', () => DEACTIVATED, [baseId(idsOf('a'))]);
  }
  await using again = await openWorld(root);
  await again.cache.recover();
  const found = stateOf(again, 'a');
  assert(found.kind === 'suspect');
  assert.deepEqual(found.suspicion, {
    of: 'revoked',
    why: 'key 12 was revoked; its image is deactivated',
  });
  await again.cache.doubt('revoked', (_, before) => {
    seen.push(before);
    return 'none';
  });
  assert.deepEqual(seen, [REVOKED]);
  const rest = stateOf(again, 'a');
  assert.deepEqual(rest.kind === 'suspect' && rest.suspicion.of, 'deactivated');
  await again.cache.doubt('deactivated', () => 'none');
  assert.equal(stateOf(again, 'a').kind, 'ready');
});

test('a damaged base is neither doubted nor absolved, and one that was damaged meanwhile stays suspect', async () => {
  await using world = await freshWorld({ a: MIB, b: MIB });
  await warmed(world, 'a', 'b');
  await world.cache.doubt('revoked', () => REVOKED, [baseId(idsOf('b'))]);
  for (const image of ['a', 'b'])
    appendFileSync(basePath(world.parts.settings.path, idsOf(image), 'raw'), 'x');
  await world.cache.look(basePath(world.parts.settings.path, idsOf('a'), 'raw'));
  assert.deepEqual(await world.cache.doubt('revoked', () => 'none'), []);
  for (const image of ['a', 'b']) {
    const found = stateOf(world, image);
    assert(found.kind === 'suspect');
    assert.equal(found.suspicion.of, 'bytes');
  }
  assert.deepEqual(await world.cache.doubt('revoked', () => REVOKED), []);
});

test('a fill that ends well clears a doubt, and one that fails leaves it', async () => {
  await using world = await freshWorld({ a: MIB });
  await warmed(world, 'a');
  await world.cache.doubt('revoked', () => REVOKED);
  world.failing.set('a', new OperatingError({ code: 'unavailable', op: 'fill', subject: 'a' }));
  await assert.rejects(warmed(world, 'a'));
  const found = stateOf(world, 'a');
  assert.deepEqual(found.kind === 'suspect' && found.suspicion.why, REVOKED.why);
  world.failing.clear();
  await warmed(world, 'a');
  assert.equal(stateOf(world, 'a').kind, 'ready');
});

test('what is revoked while it is read never becomes a base, and leaves nothing', async () => {
  await using world = await freshWorld({ a: MIB });
  const gate = Promise.withResolvers<void>();
  world.gate = gate.promise;
  const fill = await warm(world, 'a');
  world.fallen = 'its key was revoked here (12)';
  gate.resolve();
  await assert.rejects(fill.done, { code: 'refused', why: world.fallen });
  assert.equal(stateOf(world, 'a').kind, 'absent');
  assert.deepEqual(await readdir(join(world.parts.settings.path, '.partial')), []);
  assert.deepEqual(await world.cache.quarantined(), []);
  world.fallen = undefined;
  await warmed(world, 'a');
  assert.equal(stateOf(world, 'a').kind, 'ready');
});

test('more bases than are written together are all suspect', async () => {
  await using world = await freshWorld({ a: MIB });
  await warmed(world, 'a');
  const { bases } = world.catalogue;
  const [row] = bases.all();
  assert(row !== undefined);
  const ids = Array.from({ length: 1200 }, (_, at) => baseId({ ...row.ids, snapId: at + 2 }));
  for (const [at, id] of ids.entries())
    bases.enter('adopted', { ...row, id, ids: { ...row.ids, snapId: at + 2 } });
  const changes = await world.cache.doubt('revoked', () => REVOKED);
  assert.equal(changes.length, 1201);
  assert.ok(bases.all().every(({ state }) => state === 'suspect'));
});

test('a problem is of the bytes unless it says otherwise', () => {
  assert.deepEqual(suspicionOf('its file has 3 bytes'), {
    of: 'bytes',
    why: 'its file has 3 bytes',
  });
  assert.equal(suspicionOf(undefined).of, 'bytes');
  assert.deepEqual(doubtsOf(problemOf({ deactivated: DEACTIVATED })), {
    deactivated: DEACTIVATED,
  });
  assert.equal(suspicionOf(problemOf({ deactivated: DEACTIVATED })).of, 'deactivated');
});

test('whatever is found in whatever order, a base is doubted exactly while something speaks against it', () => {
  const found = fc.record({
    kind: fc.constantFrom('revoked' as const, 'deactivated' as const),
    says: fc.constantFrom('yes', 'none', 'untold'),
  });
  fc.assert(
    fc.property(fc.array(found), (all) => {
      const model = new Set<string>();
      let row: { state: string; problem?: string | undefined } = { state: 'ready' };
      for (const { kind, says } of all) {
        const said = says === 'yes' ? (kind === 'revoked' ? REVOKED : DEACTIVATED) : says;
        const step = decideDoubt(row, kind, said as never);
        if (says === 'yes') model.add(kind);
        if (says === 'none') model.delete(kind);
        if (step.kind === 'doubt') row = { state: 'suspect', problem: problemOf(step.doubts) };
        if (step.kind === 'absolve') row = { state: 'ready' };
        assert.equal(row.state, model.size === 0 ? 'ready' : 'suspect');
        assert.deepEqual(new Set(Object.keys(doubtsOf(row.problem) ?? {})), model);
      }
    }),
  );
});
