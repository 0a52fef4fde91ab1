import assert from 'node:assert/strict';
import {
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { baseId, basePath } from '../../../src/domain/base-path.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import {
  code,
  contentOf,
  corrupt,
  freshWorld,
  idsOf,
  MIB,
  sha256,
  sha512,
  tableOf,
  type World,
  warm,
} from './support.ts';

const filePath = (world: World, image: string) =>
  basePath(world.parts.settings.path, idsOf(image), 'raw');
const partials = (world: World) => readdirSync(join(world.parts.settings.path, '.partial'));

function assertNothingLeft(world: World, image: string): void {
  assert.equal(world.cache.presence(idsOf(image)).kind, 'absent');
  assert.equal(existsSync(filePath(world, image)), false);
  assert.deepEqual(partials(world), []);
  assert.deepEqual(world.journal.open(), []);
}

test('a fill leaves a complete file, readable by all, and a base that tells of it', async () => {
  await using world = await freshWorld({ a: MIB });
  const fill = await warm(world, 'a');
  const base = await fill.done;
  const path = filePath(world, 'a');
  assert.deepEqual(readFileSync(path), contentOf('a', MIB));
  assert.equal(statSync(path).mode & 0o777, 0o644);
  assert.equal(base.state, 'ready');
  assert.deepEqual(base.digests, {});
  const { base64, ...table } = tableOf(contentOf('a', MIB));
  assert.deepEqual(base.chunkTable, table);
  assert.equal(world.catalogue.tables.get(table.sha256)?.toString('base64'), base64);
  assert.ok(!JSON.stringify(world.journal.get(fill.jobId ?? '')?.data).includes(base64));
  assert.deepEqual(base.verification, { kind: 'unverified' });
  assert.deepEqual(world.cache.presence(idsOf('a')), { kind: 'ready', format: 'raw' });
  assert.equal(world.cache.list()[0]?.path, basePath('/srv/bases', idsOf('a'), 'raw'));
  assert.deepEqual(partials(world), []);
  assert.equal(world.journal.get(fill.jobId ?? '')?.state, 'done');
});

test('two hundred concurrent asks make one fill', async () => {
  await using world = await freshWorld({ a: MIB });
  const asks = Array.from({ length: 200 }, (_, i) =>
    i % 2 === 0
      ? warm(world, 'a', { priority: i % 3 === 0 ? 'hook' : 'operator' })
      : world.cache.warm({ source: idsOf('a'), priority: 'hook' }),
  );
  const fills = await Promise.all(asks);
  const bases = await Promise.all(fills.map((fill) => fill.done));
  assert.deepEqual(world.fills, ['a']);
  assert.equal(new Set(fills.map(({ jobId }) => jobId)).size, 1);
  assert.ok(bases.every((base) => base.state === 'ready'));
  assert.equal(world.journal.list(100).length, 1);
});

test('what is there is not filled again', async () => {
  await using world = await freshWorld({ a: MIB });
  await (await warm(world, 'a')).done;
  const again = await warm(world, 'a');
  assert.equal(again.jobId, undefined);
  await again.done;
  assert.deepEqual(world.fills, ['a']);
});

test('a source that was removed while it was read is not published', async () => {
  await using world = await freshWorld({ a: MIB });
  world.vanishing.add('a');
  await assert.rejects((await warm(world, 'a')).done, code('not-found'));
  assertNothingLeft(world, 'a');
});

test('a failed fill leaves nothing, and the next ask succeeds', async () => {
  await using world = await freshWorld({ a: MIB });
  world.failing.set('a', corrupt('a', 'flipped'));
  const fill = await warm(world, 'a');
  await assert.rejects(fill.done, code('corrupt'));
  assertNothingLeft(world, 'a');
  assert.equal(world.journal.get(fill.jobId ?? '')?.state, 'failed');
  world.failing.clear();
  await (await warm(world, 'a')).done;
  assert.equal(world.cache.presence(idsOf('a')).kind, 'ready');
});

test('a cancelled fill leaves nothing; one in the queue ends at once', async () => {
  await using world = await freshWorld({ a: MIB, b: MIB }, { fillConcurrency: 1 });
  const gate = Promise.withResolvers<void>();
  world.gate = gate.promise;
  const [running, queued] = [await warm(world, 'a'), await warm(world, 'b')];
  world.journal.cancel(queued.jobId ?? '');
  await assert.rejects(queued.done, code('cancelled'));
  assertAbsent(world, 'b');
  world.journal.cancel(running.jobId ?? '');
  await assert.rejects(running.done, code('cancelled'));
  assertNothingLeft(world, 'a');
  gate.resolve();
  await (await warm(world, 'b')).done;
  assert.equal(world.fills.filter((image) => image === 'b').length, 1);
});

function assertAbsent(world: World, image: string): void {
  assert.equal(world.cache.presence(idsOf(image)).kind, 'absent');
}

test('the hook has slots of its own, and what it joins goes ahead of what waits', async () => {
  await using world = await freshWorld({ a: MIB, b: MIB, c: MIB }, { fillConcurrency: 1 });
  const gate = Promise.withResolvers<void>();
  world.gate = gate.promise;
  const asked = [await warm(world, 'a'), await warm(world, 'b'), await warm(world, 'c')];
  assert.deepEqual(world.fills, ['a']);
  const joined = await warm(world, 'c', { priority: 'hook' });
  await until(() => joined.progress() !== undefined);
  assert.deepEqual(world.fills, ['a', 'c']);
  const { doneBytes, totalBytes } = joined.progress() ?? {};
  assert.deepEqual([doneBytes, totalBytes], [MIB / 2, MIB]);
  assert.equal(world.cache.presence(idsOf('c')).kind, 'filling');
  gate.resolve();
  await Promise.all(asked.map((fill) => fill.done));
  assert.deepEqual(world.fills, ['a', 'c', 'b']);
});

async function until(isSo: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!isSo()) {
    assert.ok(Date.now() < deadline, 'it never came to be');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('a digest that somebody demands later is compared, or computed once, and verifies the base', async () => {
  await using world = await freshWorld({ a: MIB });
  await (await warm(world, 'a')).done;
  const content = contentOf('a', MIB);
  const byOne = { operatorDigests: { sha256: sha256(content) } };
  for (const _ of [1, 2]) {
    const known = await warm(world, 'a', byOne);
    assert.deepEqual((await known.done).verification, {
      kind: 'verified',
      by: [{ what: 'digest', algorithm: 'sha256', from: 'operator' }],
    });
    assert.deepEqual(world.digests, ['a'], 'computed once');
  }
  const demand = { operatorDigests: { sha512: sha512(content) } };
  const asks = await Promise.all([1, 2, 3].map(() => warm(world, 'a', demand)));
  const [base] = await Promise.all(asks.map((fill) => fill.done));
  assert.equal(base?.verification.kind === 'verified' && base.verification.by.length, 2);
  assert.equal(base?.digests.sha512, sha512(content));
  assert.deepEqual(world.digests, ['a', 'a']);
  assert.deepEqual(world.fills, ['a']);
});

test('a base that is asked for anew is filled anew, once, and stays suspect where that fails', async () => {
  await using world = await freshWorld({ a: MIB });
  await (await warm(world, 'a')).done;
  const path = filePath(world, 'a');
  const times = statSync(path);
  writeFileSync(path, Buffer.alloc(times.size, 'rot'));
  utimesSync(path, times.atime, times.mtime);
  await (await warm(world, 'a')).done;
  assert.deepEqual(world.fills, ['a'], 'its size and time tell nothing');
  const asks = await Promise.all([1, 2].map(() => warm(world, 'a', { again: true })));
  await Promise.all(asks.map((fill) => fill.done));
  assert.deepEqual(world.fills, ['a', 'a']);
  assert.notEqual(readFileSync(path).toString('latin1', 0, 3), 'rot');
  world.failing.set('a', new OperatingError({ code: 'unavailable', op: 'fill', subject: 'a' }));
  await assert.rejects((await warm(world, 'a', { again: true })).done);
  assert.equal(world.cache.list()[0]?.state, 'suspect');
});

test("one caller's wrong digest is told and changes nothing", async () => {
  await using world = await freshWorld({ a: MIB });
  const right = { operatorDigests: { sha256: sha256(contentOf('a', MIB)) } };
  const { verification } = await (await warm(world, 'a', right)).done;
  const sha256Wrong = { operatorDigests: { sha256: '0'.repeat(64) } };
  await assert.rejects(warm(world, 'a', sha256Wrong), code('corrupt'));
  const sha512Wrong = { operatorDigests: { sha512: '0'.repeat(128) } };
  await assert.rejects((await warm(world, 'a', sha512Wrong)).done, code('corrupt'));
  const base = world.cache.list()[0];
  assert.equal(base?.state, 'ready');
  assert.deepEqual(base.verification, verification);
});

test("a base that its source's own record contradicts is suspect, and filled anew once they agree", async () => {
  await using world = await freshWorld({ a: MIB });
  await (await warm(world, 'a')).done;
  const content = contentOf('a', MIB);
  await (await warm(world, 'a', { operatorDigests: { sha512: sha512(content) } })).done;
  world.properties.set('a', { os_hash_value: '0'.repeat(128) });
  await assert.rejects(warm(world, 'a'), code('corrupt'));
  assert.equal(world.cache.presence(idsOf('a')).kind, 'suspect');
  await assert.rejects((await warm(world, 'a')).done, code('corrupt'));
  assert.equal(world.cache.presence(idsOf('a')).kind, 'suspect', 'a failed refill changes nothing');
  assert.deepEqual(readFileSync(filePath(world, 'a')), content);
  world.properties.set('a', { os_hash_value: sha512(content) });
  const base = await (await warm(world, 'a')).done;
  assert.equal(base.state, 'ready');
  assert.equal(base.verification.kind, 'verified');
});

test('an image that is deactivated beside itself is so whatever properties are given', async () => {
  await using world = await freshWorld({ a: MIB });
  const plans: unknown[] = [];
  const { planVerification } = world.parts;
  Object.assign(world.parts, {
    planVerification: async (request: Parameters<typeof planVerification>[0]) => {
      plans.push(request.properties);
      return await planVerification(request);
    },
  });
  world.properties.set('a', { status: 'deactivated', disk_format: 'raw' });
  const properties = { status: 'active', disk_format: 'qcow2' };
  await (await warm(world, 'a', { properties })).done;
  assert.deepEqual(plans, [{ status: 'deactivated', disk_format: 'qcow2' }]);
});

test("so is one that its source's own record contradicts once its source was read again", async () => {
  await using world = await freshWorld({ a: MIB });
  await (await warm(world, 'a')).done;
  const given = { properties: { os_hash_value: '0'.repeat(128) } };
  await assert.rejects((await warm(world, 'a', given)).done, code('corrupt'));
  assert.equal(world.cache.presence(idsOf('a')).kind, 'ready', "a caller's properties are its own");
  world.properties.set('a', given.properties);
  await assert.rejects((await warm(world, 'a')).done, code('corrupt'));
  assert.equal(world.cache.presence(idsOf('a')).kind, 'suspect');
  assert.deepEqual(world.fills, ['a']);
});

test("a joiner does not suffer for the first one's wrong digest", async () => {
  await using world = await freshWorld({ a: MIB });
  const wrong = await warm(world, 'a', { operatorDigests: { sha256: '0'.repeat(64) } });
  const joined = await warm(world, 'a');
  assert.equal(joined.jobId, wrong.jobId);
  await assert.rejects(wrong.done, code('corrupt'));
  assert.equal((await joined.done).state, 'ready');
  assert.deepEqual(world.fills, ['a', 'a']);
});

test('a base of another format than the overlay names is a mismatch', async () => {
  await using world = await freshWorld({ a: MIB });
  await (await warm(world, 'a')).done;
  await assert.rejects(warm(world, 'a', { format: 'qcow2' }), code('mismatch'));
  await (await warm(world, 'a', { format: 'raw' })).done;
});

test('a fill for which there is no room is refused before a byte moves', async () => {
  await using world = await freshWorld({ a: MIB, b: 200 * MIB });
  await assert.rejects(warm(world, 'b'), code('exhausted'));
  world.freeBytes = MIB;
  await assert.rejects(warm(world, 'a'), code('exhausted'));
  assert.deepEqual(world.fills, []);
  assert.deepEqual(world.journal.list(10), []);
});

test('concurrent fills are promised their space: what fits one does not fit two', async () => {
  await using world = await freshWorld({ a: 4 * MIB, b: 4 * MIB }, { limitBytes: 8 * MIB });
  const first = await warm(world, 'a');
  await assert.rejects(warm(world, 'b'), code('exhausted'));
  await first.done;
  // Now the first may go.
  await (await warm(world, 'b')).done;
  const eviction = world.journal.list(10).find(({ kind }) => kind === 'evict');
  assert.deepEqual(eviction?.data, { bases: [baseId(idsOf('a'))], reason: 'room' });
  assert.deepEqual(eviction?.result, { evicted: [baseId(idsOf('a'))] });
  assert.equal(existsSync(filePath(world, 'a')), false);
  assert.equal(world.cache.presence(idsOf('a')).kind, 'absent');
});

test('hostile names end under the bases folder, and nowhere else', async () => {
  const images = ['../../../etc/x', 'a/b', '..', '%2e', 'ü\u0001 ', '@@', '-rf'];
  await using world = await freshWorld(Object.fromEntries(images.map((each) => [each, 512])));
  for (const image of images) await (await warm(world, image)).done;
  for (const base of world.cache.list()) assert.ok(base.path.startsWith('/srv/bases/'));
  assert.deepEqual(readdirSync(world.root).toSorted(), [
    'bases',
    'siphon.db',
    'siphon.db-shm',
    'siphon.db-wal',
  ]);
});

test('a base that is missing in Ceph is not found, and nothing begins', async () => {
  await using world = await freshWorld({});
  await assert.rejects(warm(world, 'a'), code('not-found'));
  assert.deepEqual(world.journal.list(10), []);
});

test('what cannot be planned names the source, and nothing begins', async () => {
  await using world = await freshWorld({ a: MIB });
  const asked = warm(world, 'a', { properties: { disk_format: 'vmdk' } });
  const error = await asked.catch((each: unknown) => each);
  assert.match(String(error), /warm: rbd:images\/a@\w+: plan: disk_format: no$/);
  assert.equal((error as OperatingError).code, 'refused');
  assert.deepEqual(world.journal.list(10), []);
});

test('what fails about a file, a connection or the worker names the source that was asked for', async () => {
  await using world = await freshWorld({ a: MIB });
  const fields = {
    code: 'exhausted',
    op: 'write',
    subject: '/cache/.partial/x',
    why: 'ENOSPC',
  } as const;
  world.failing.set('a', new OperatingError(fields));
  const fill = await warm(world, 'a');
  const error = await fill.done.catch((each: unknown) => each);
  assert.match(String(error), /fill: rbd:images\/a@\w+: write: \/cache\/.partial\/x: ENOSPC$/);
  assert.equal((error as OperatingError).code, 'exhausted');
});
