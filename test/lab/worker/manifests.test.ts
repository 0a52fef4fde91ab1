// Manifests beside sources: whole or not at all, whoever is killed or writes at the same moment; by `rados` nothing else is left.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { SourceIds } from '../../../src/wire/vocabulary.ts';
import type { CephMethods } from '../../../src/wire/worker-protocol.ts';
import type { Worker } from '../../../src/worker/supervisor/index.ts';
import { must } from '../support/host.ts';
import { fileCleanup, freshPool } from '../support/images.ts';
import { cephWorker, failing, makeUsers, soon } from './ceph-worker.ts';

const KILLS = process.env['SIPHON_SOAK'] === undefined ? 12 : 200;
const cleanup = fileCleanup();
let pool: string;
let worker: Worker<CephMethods>;
let users: Awaited<ReturnType<typeof makeUsers>>;

before(async () => {
  pool = await freshPool(cleanup);
  users = await makeUsers(cleanup, pool);
  worker = cephWorker(users);
  cleanup.after(async () => await worker[Symbol.asyncDispose]());
});

async function idsOf(image: string): Promise<SourceIds> {
  await must('rbd', 'create', '--size', '8M', `${pool}/${image}`);
  await must('rbd', 'snap', 'create', '--no-progress', `${pool}/${image}@s`);
  const name = { pool, namespace: '', image, snap: 's' };
  return (await worker.call('resolveSource', name, soon)).ids;
}

const read = async (ids: SourceIds) => (await worker.call('readManifest', ids, soon)).envelope;
const set = (ids: SourceIds, envelope: string | null, by = worker) =>
  by.call('setManifest', { ids, envelope }, soon);
const keys = async ({ imageId }: SourceIds) => {
  const all = (await must('rados', '-p', pool, 'listomapkeys', 'siphon.manifests')).split('\n');
  return all.filter((key) => key.startsWith(imageId));
};
/** So many bytes that are like no other. */
const text = (bytes: number) => randomBytes(bytes / 2).toString('hex');

test('a manifest is read as it was attached, replaced, removed; its source tells that it is there', async () => {
  const ids = await idsOf('plain');
  const describe = () => worker.call('describeSource', ids, soon);
  assert.equal(await read(ids), null);
  assert.equal((await describe()).hasManifest, undefined);
  assert.equal(await set(ids, null), null);
  for (const bytes of [2, 256 * 1024, 256 * 1024 + 2, 5_000_000]) {
    const envelope = text(bytes);
    await set(ids, envelope);
    assert.equal(await read(ids), envelope);
    assert.equal((await describe()).hasManifest, true);
    // The name, the mark, the parts: of the generation before nothing.
    assert.equal((await keys(ids)).length, 2 + Math.ceil(bytes / (256 * 1024)));
  }
  await set(ids, null);
  assert.equal(await read(ids), null);
  assert.deepEqual(await keys(ids), []);
});

test('of two that are attached at once one is there, whole, and the other is told', async () => {
  const ids = await idsOf('raced');
  await using other = cephWorker(users);
  for (let round = 0; round < 5; round++) {
    const both = [text(3_000_000), text(3_000_000)] as const;
    const ends = await Promise.allSettled([set(ids, both[0]), set(ids, both[1], other)]);
    const found = await read(ids);
    assert.ok(found !== null && both.includes(found));
    for (const [index, end] of ends.entries()) {
      if (end.status === 'fulfilled') continue;
      assert.equal((end.reason as { code: string }).code, 'busy');
      assert.notEqual(found, both[index]);
    }
    assert.ok(ends.some(({ status }) => status === 'fulfilled'));
  }
  await set(ids, text(2));
  assert.equal((await keys(ids)).length, 3, 'nothing is left of those that were late');
});

test('a worker that is killed at any moment leaves the old one or the new one; the next write leaves nothing else', async () => {
  const ids = await idsOf('killed');
  let current = text(2_000_000);
  await set(ids, current);
  const seen = { old: 0, new: 0 };
  for (let kill = 0; kill < KILLS; kill++) {
    const next = text(2_000_000);
    const victim = cephWorker(users, { kind: 'one-shot' });
    const writing = set(ids, next, victim).then(
      () => true,
      () => false,
    );
    await victim.call('status', {}, soon);
    await Promise.race([writing, setTimeout(kill * 15)]);
    process.kill(victim.stats.pid ?? 0, 'SIGKILL');
    const isTold = await writing;
    await victim[Symbol.asyncDispose]();
    const found = await read(ids);
    assert.ok(found === current || found === next, 'it is neither the old one nor the new one');
    assert.ok(!isTold || found === next, 'it was told to be there');
    seen[found === next ? 'new' : 'old'] += 1;
    current = found;
  }
  console.log(`killed ${KILLS} times: ${JSON.stringify(seen)}`);
  await set(ids, text(2));
  assert.equal((await keys(ids)).length, 3);
});

test('a record that cannot be read is an error, never none; it can be replaced and removed', async () => {
  const ids = await idsOf('broken');
  const key = `${ids.imageId}@${ids.snapId}`;
  const put = (value: string, name = key) =>
    must('rados', '-p', pool, 'setomapval', 'siphon.manifests', name, value);
  for (const value of [
    'no JSON',
    '{}',
    '{"schema":1,"generation":"a","parts":99999,"sizeBytes":1,"sha256":""}',
  ]) {
    await put(value);
    await failing(
      worker.call('readManifest', ids, soon),
      'corrupt',
      /siphon\.manifests/,
      /describe/,
    );
  }
  await put('{"schema":2}');
  await failing(worker.call('readManifest', ids, soon), 'mismatch', /schema is 2/);
  await set(ids, text(600_000));
  const part = (await keys(ids)).find((each) => each.endsWith('/001')) ?? '';
  await put('something else', part);
  await failing(worker.call('readManifest', ids, soon), 'corrupt', /not what it says/, /describe/);
  await set(ids, null);
  assert.deepEqual(await keys(ids), []);
});
