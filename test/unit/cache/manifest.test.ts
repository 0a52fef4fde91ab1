// Manifests beside sources: what is there must be good, of a base that is here as of a fill; and the table for who signs one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { code, contentOf, freshWorld, idsOf, MIB, sourceOf, tableOf, warm } from './support.ts';

const by = [{ what: 'manifest', keyId: 'k' }];

test('a fill keeps to the manifest, and needs no more space than it has data', async () => {
  await using world = await freshWorld({ a: MIB }, { limitBytes: 2 * MIB });
  world.manifests.set('a', 'a;');
  const base = await (await warm(world, 'a')).done;
  assert.deepEqual(base.verification, { kind: 'verified', by });
  // Of b nothing tells what is there of its 3 MiB, a manifest does.
  world.sources.set('b', 3 * MIB);
  await assert.rejects(warm(world, 'b'), code('exhausted'));
  world.manifests.set('b', 'b;');
  await (await warm(world, 'b')).done;
});

test('one that is not trusted is refused before anything begins, by its source', async () => {
  await using world = await freshWorld({ a: MIB });
  world.manifests.set('a', 'bad');
  const refused = warm(world, 'a');
  await assert.rejects(refused, { code: 'refused', subject: 'rbd:images/a@s' });
  assert.deepEqual([world.fills, world.journal.list(10)], [[], []]);
});

test('a base that is here is judged by its table: verified without a read, or suspect', async () => {
  await using world = await freshWorld({ a: MIB });
  await (await warm(world, 'a')).done;
  world.manifests.set('a', 'a;');
  const verified = await (await warm(world, 'a')).done;
  assert.deepEqual(verified.verification, { kind: 'verified', by });
  world.manifests.set('a', 'b;');
  await assert.rejects(warm(world, 'a'), code('corrupt'));
  assert.equal(world.catalogue.bases.get(verified.id)?.state, 'suspect');
  assert.deepEqual([world.fills, world.digests], [['a'], []]);
});

test('a table is read as a job, of which the journal keeps the digest alone', async () => {
  await using world = await freshWorld({ a: MIB });
  const { jobId, done } = await world.cache.table(sourceOf('a'));
  const { base64, ...told } = tableOf(contentOf('a', MIB));
  assert.deepEqual(await done, { ids: idsOf('a'), table: { base64, ...told } });
  const job = world.journal.get(jobId);
  assert.deepEqual([job?.kind, job?.state, job?.result], ['sign', 'done', told]);
  await assert.rejects(world.cache.table(sourceOf('b')), code('not-found'));
  world.catalogue.pauses.put({ work: 'fills', sinceMs: 1 });
  await assert.rejects(world.cache.table(sourceOf('a')), code('refused'));
});
