// Scrubs: what is good is served on, or again; what is not is suspect, and mended at once in a new file; and nobody else's word is overruled.

import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, readSync, statSync, unlinkSync } from 'node:fs';
import { appendFile, copyFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { basePath } from '../../../src/domain/base-path.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { ScrubbedBase, ScrubRequest } from '../../../src/wire/scrub-api.ts';
import {
  code,
  contentOf,
  corrupt,
  freshWorld,
  idsOf,
  makeFolder,
  openWorld,
  sha256,
  type World,
  warm,
} from './support.ts';

const SIZE = 4096;
const DAY_MS = 86_400_000;
const world = (settings = {}) => freshWorld({ a: SIZE, b: SIZE, c: SIZE }, settings);
const fileOf = ({ parts }: World, image: string) =>
  basePath(parts.settings.path, idsOf(image), 'raw');
const get = ({ cache }: World, image: string) =>
  cache.list().find(({ name }) => name.image === image) ?? assert.fail(`there is no ${image}`);

async function filled(at: World, ...images: readonly string[]): Promise<void> {
  for (const image of images) await (await warm(at, image)).done;
}

async function scrub(at: World, request: ScrubRequest = {}): Promise<readonly ScrubbedBase[]> {
  return (await (await at.cache.scrub(request)).done).bases;
}

/** Other bytes, with the size and the time of the good ones. */
async function rot(at: World, image: string): Promise<Buffer> {
  const file = fileOf(at, image);
  const { atimeMs, mtimeMs } = statSync(file);
  const bytes = readFileSync(file);
  bytes[7] = (bytes[7] ?? 0) ^ 1;
  await writeFile(file, bytes);
  await utimes(file, atimeMs / 1000, mtimeMs / 1000);
  return bytes;
}

test('a good base is good, and its record says when', async () => {
  await using at = await world();
  await filled(at, 'a');
  assert.equal(get(at, 'a').scrubbedAtMs, undefined);
  const [found] = await scrub(at);
  assert.deepEqual([found?.outcome, found?.readBytes], ['good', SIZE]);
  assert.ok((get(at, 'a').scrubbedAtMs ?? 0) > get(at, 'a').createdAtMs);
  assert.deepEqual(at.journal.open(), []);
});

test('one that rotted is mended in a new file; who has the old one open sees none of it', async () => {
  await using at = await world();
  await filled(at, 'a');
  const rotten = await rot(at, 'a');
  const guest = openSync(fileOf(at, 'a'), 'r');
  const { createdAtMs } = get(at, 'a');
  const [found] = await scrub(at);
  assert.equal(found?.outcome, 'mended');
  assert.match(found.why ?? '', /1 chunk: 3 \(bytes/);
  assert.deepEqual(found.mend, { way: 'mend', chunks: 1, readBytes: 4, isReflinked: false });
  assert.deepEqual(readFileSync(fileOf(at, 'a')), contentOf('a', SIZE));
  const seen = Buffer.alloc(SIZE);
  readSync(guest, seen, 0, SIZE, 0);
  closeSync(guest);
  assert.deepEqual(seen, rotten);
  const { state, suspicion, scrubbedAtMs, createdAtMs: madeAtMs } = get(at, 'a');
  assert.deepEqual([state, suspicion], ['ready', undefined]);
  assert.ok(madeAtMs > createdAtMs && (scrubbedAtMs ?? 0) >= madeAtMs);
  assert.deepEqual([at.fills, at.mends], [['a'], ['a']]);
  assert.equal(at.damaged.length, 1);
  assert.equal((await scrub(at))[0]?.outcome, 'good');
});

test('what a mend keeps of the record is what was checked of the same bytes', async () => {
  await using at = await world();
  const hex = sha256(contentOf('a', SIZE));
  await (await warm(at, 'a', { operatorDigests: { sha256: hex } })).done;
  const before = get(at, 'a');
  await rot(at, 'a');
  await scrub(at);
  const after = get(at, 'a');
  assert.deepEqual(after.verification, before.verification);
  assert.deepEqual([after.digests, after.chunkTable], [before.digests, before.chunkTable]);
});

test('only told, it is suspect, and the file stays', async () => {
  await using at = await world();
  await filled(at, 'a');
  const rotten = await rot(at, 'a');
  const [found] = await scrub(at, { isReportOnly: true });
  assert.equal(found?.outcome, 'damaged');
  assert.equal(get(at, 'a').state, 'suspect');
  assert.match(get(at, 'a').suspicion?.why ?? '', /not what was read of its source/);
  assert.deepEqual(readFileSync(fileOf(at, 'a')), rotten);
  assert.deepEqual(at.mends, []);
  const [mended] = await scrub(at);
  assert.equal(mended?.outcome, 'mended');
});

test('one that was touched, copied over or moved is in doubt, and served again once it was read', async () => {
  const touches = {
    async touched(file: string) {
      await utimes(file, 1, 1);
    },
    async replaced(file: string) {
      await copyFile(file, `${file}.new`);
      await rename(`${file}.new`, file);
    },
  };
  for (const [how, touch] of Object.entries(touches)) {
    await using at = await world();
    await filled(at, 'a');
    await touch(fileOf(at, 'a'));
    assert.equal((await at.cache.look(fileOf(at, 'a')))?.kind, 'damaged', how);
    assert.equal(get(at, 'a').state, 'suspect');
    await at.cache.heal();
    assert.deepEqual([get(at, 'a').state, get(at, 'a').suspicion?.why], ['ready', undefined], how);
    assert.deepEqual([at.scrubs, at.fills, at.mends], [['a'], ['a'], []]);
    assert.equal((await at.cache.look(fileOf(at, 'a')))?.kind, 'same');
    await at.cache.heal();
    assert.deepEqual(at.scrubs, ['a'], 'there is nothing to heal any more');
  }
});

test('one that was changed while siphond was down is looked at by the next, and a scrub that was cut off ends', async () => {
  const root = await makeFolder();
  {
    await using at = await openWorld(root);
    at.sources.set('a', SIZE).set('b', SIZE);
    await at.cache.recover();
    await filled(at, 'a', 'b');
    at.journal.begin('scrub', 'all', { bases: 2, isMended: true });
    await appendFile(fileOf(at, 'a'), 'x');
    await utimes(fileOf(at, 'b'), 1, 1);
  }
  await using at = await openWorld(root);
  at.sources.set('a', SIZE).set('b', SIZE);
  const { damaged } = await at.cache.recover();
  assert.equal(damaged.length, 2);
  assert.deepEqual(at.journal.open(), []);
  assert.deepEqual([get(at, 'a').state, get(at, 'b').state], ['suspect', 'suspect']);
  await at.cache.heal();
  assert.deepEqual([get(at, 'a').state, get(at, 'b').state], ['ready', 'ready']);
  assert.deepEqual(at.mends, ['a']);
  assert.deepEqual(readFileSync(fileOf(at, 'a')), contentOf('a', SIZE));
  await rm(root, { recursive: true });
});

test('damage whose source is gone stays suspect, with the reason, and is tried no more', async () => {
  await using at = await world();
  await filled(at, 'a');
  const rotten = await rot(at, 'a');
  at.sources.delete('a');
  const [found] = await scrub(at, {});
  assert.equal(found?.outcome, 'damaged');
  assert.equal(found.error?.code, 'not-found');
  assert.match(get(at, 'a').suspicion?.why ?? '', /could not be mended, since its source is gone/);
  assert.deepEqual(readFileSync(fileOf(at, 'a')), rotten);
  await assert.rejects(warm(at, 'a'), code('not-found'));
  await at.cache.heal();
  assert.equal(get(at, 'a').state, 'suspect');
});

test('where the cluster is down it is tried again, without reading the disk again', async () => {
  await using at = await world();
  await filled(at, 'a');
  await rot(at, 'a');
  const down = new OperatingError({ code: 'unavailable', op: 'mend', subject: 'a' });
  at.failing.set('a', down);
  await scrub(at);
  assert.deepEqual(at.scrubs, ['a']);
  await assert.rejects(at.cache.heal(), code('unavailable'));
  at.failing.clear();
  await at.cache.heal();
  assert.equal(get(at, 'a').state, 'ready');
  assert.deepEqual(at.scrubs, ['a']);
  assert.deepEqual(readFileSync(fileOf(at, 'a')), contentOf('a', SIZE));
});

test('a start that comes while it is mended waits for the mend, and asks for no fill of its own', async () => {
  await using at = await world();
  await filled(at, 'a');
  await rot(at, 'a');
  await scrub(at, { isReportOnly: true });
  const gate = Promise.withResolvers<void>();
  at.gate = gate.promise;
  const healing = at.cache.heal();
  while (at.mends.length === 0) await new Promise(setImmediate);
  const fill = await at.cache.warm({ source: idsOf('a'), format: 'raw', priority: 'hook' });
  assert.equal(at.cache.presence(idsOf('a')).kind, 'filling');
  gate.resolve();
  assert.equal((await fill.done).state, 'ready');
  await healing;
  assert.deepEqual([at.fills, at.mends], [['a'], ['a']]);
});

test('what somebody else settled meanwhile is not read again', async () => {
  await using at = await world();
  await filled(at, 'a');
  await utimes(fileOf(at, 'a'), 1, 1);
  await at.cache.look(fileOf(at, 'a'));
  await Promise.all([scrub(at), at.cache.heal(), at.cache.heal()]);
  assert.equal(get(at, 'a').state, 'ready');
  assert.deepEqual(at.scrubs, ['a']);
});

test('what cannot be mended is filled anew', async () => {
  await using at = await world();
  await filled(at, 'a');
  await rot(at, 'a');
  at.unmendable.add('a');
  const [found] = await scrub(at);
  assert.equal(found?.outcome, 'mended');
  assert.equal(found.mend?.way, 'refill');
  assert.equal(get(at, 'a').scrubbedAtMs, undefined, 'what a fill wrote was not read back');
  assert.deepEqual(readFileSync(fileOf(at, 'a')), contentOf('a', SIZE));
});

test('a source that is not what it was is told, and what was put together is kept', async () => {
  await using at = await world();
  await filled(at, 'a');
  await rot(at, 'a');
  at.failing.set('a', corrupt('a', 'its source has something else'));
  const [found] = await scrub(at);
  assert.deepEqual([found?.outcome, found?.error?.code], ['damaged', 'corrupt']);
  assert.equal(get(at, 'a').state, 'suspect');
});

test('while fills are paused nothing is mended, and what is good is served again', async () => {
  await using at = await world();
  await filled(at, 'a', 'b');
  await utimes(fileOf(at, 'a'), 1, 1);
  await appendFile(fileOf(at, 'b'), 'x');
  for (const image of ['a', 'b']) await at.cache.look(fileOf(at, image));
  at.catalogue.pauses.put({ work: 'fills', sinceMs: 1 });
  await at.cache.heal();
  assert.deepEqual([get(at, 'a').state, get(at, 'b').state], ['ready', 'suspect']);
  await at.cache.heal();
  assert.deepEqual([...at.scrubs].toSorted(), ['a', 'b'], 'what is known waits');
  at.catalogue.pauses.remove('fills');
  await at.cache.heal();
  assert.equal(get(at, 'b').state, 'ready');
});

test('one that is suspect for what is said of its source is not good because its file is', async () => {
  await using at = await world();
  await filled(at, 'a');
  await utimes(fileOf(at, 'a'), 1, 1);
  await at.cache.look(fileOf(at, 'a'));
  at.catalogue.bases.move(get(at, 'a').id, 'damaged', { problem: 'its source says otherwise' });
  await at.cache.look(fileOf(at, 'a'));
  await at.cache.heal();
  const [found] = await scrub(at);
  assert.equal(found?.outcome, 'good');
  assert.match(found.why ?? '', /its source says otherwise/);
  assert.deepEqual(
    [get(at, 'a').state, get(at, 'a').suspicion?.why],
    ['suspect', 'its source says otherwise'],
  );
});

const revoked = { why: 'its key is revoked', losses: [] } as const;

test('one that is suspect by a revocation stays so when its file is good, and is not served while it is not', async () => {
  await using at = await world();
  await filled(at, 'a');
  await at.cache.doubt('revoked', () => revoked);
  await utimes(fileOf(at, 'a'), 1, 1);
  await at.cache.look(fileOf(at, 'a'));
  await at.cache.heal();
  assert.deepEqual(get(at, 'a').suspicion, { of: 'revoked', why: revoked.why });
  assert.deepEqual([at.scrubs, at.mends], [['a'], []]);
  await at.cache.doubt('revoked', () => 'none');
  assert.equal(get(at, 'a').state, 'ready');
  // The other way round: what is found of its file outlives the revocation.
  await at.cache.doubt('revoked', () => revoked);
  await rot(at, 'a');
  await scrub(at, { isReportOnly: true });
  assert.equal(get(at, 'a').suspicion?.of, 'revoked');
  await at.cache.doubt('revoked', () => 'none');
  assert.equal(get(at, 'a').suspicion?.of, 'bytes');
  await at.cache.heal();
  assert.equal(get(at, 'a').state, 'ready');
  assert.deepEqual(readFileSync(fileOf(at, 'a')), contentOf('a', SIZE));
});

test('what was filled anew, evicted or removed meanwhile is not judged by what was read before', async () => {
  await using at = await world();
  await filled(at, 'a', 'b', 'c');
  for (const image of ['a', 'b']) await rot(at, image);
  const gate = Promise.withResolvers<void>();
  at.gate = gate.promise;
  const scrubbing = scrub(at, { bases: [get(at, 'a').id] });
  while (at.scrubs.length === 0) await new Promise(setImmediate);
  at.gate = Promise.resolve();
  await (await warm(at, 'a', { again: true })).done;
  gate.resolve();
  assert.equal((await scrubbing)[0]?.outcome, 'gone');
  assert.equal(get(at, 'a').state, 'ready');
  assert.deepEqual(at.mends, []);
  unlinkSync(fileOf(at, 'c'));
  const [gone] = await scrub(at, { bases: [get(at, 'c').id] });
  assert.equal(gone?.outcome, 'gone');
  assert.equal(at.cache.list().length, 2);
});

test('one at a time; one that fails is told, and the others are looked at', async () => {
  await using at = await world();
  await filled(at, 'a', 'b', 'c');
  at.failing.set('scrub b', new OperatingError({ code: 'unavailable', op: 'scrub', subject: 'b' }));
  const found = await scrub(at);
  assert.deepEqual(
    found.map(({ name, outcome }) => [name.split('/').at(-1)?.[0], outcome]),
    [
      ['a', 'good'],
      ['b', 'failed'],
      ['c', 'good'],
    ],
  );
});

test('a cancelled scrub ends, and changes nothing', async () => {
  await using at = await world();
  await filled(at, 'a');
  await rot(at, 'a');
  at.gate = new Promise(() => {});
  const { jobId = '', done } = await at.cache.scrub({});
  while (at.scrubs.length === 0) await new Promise(setImmediate);
  at.journal.cancel(jobId);
  await assert.rejects(done, code('cancelled'));
  assert.equal(get(at, 'a').state, 'ready');
  assert.equal(at.journal.get(jobId)?.state, 'cancelled');
});

test('what is due is what nobody looked at for so long, and what is in doubt', async () => {
  await using at = await world({ scrubEveryMs: 7 * DAY_MS });
  await filled(at, 'a', 'b');
  assert.deepEqual(await scrub(at, { isDue: true }), []);
  at.clockMs += 7 * DAY_MS;
  assert.equal((await scrub(at, { isDue: true })).length, 2);
  assert.deepEqual(await scrub(at, { isDue: true }), []);
  await utimes(fileOf(at, 'b'), 1, 1);
  await at.cache.look(fileOf(at, 'b'));
  assert.equal((await scrub(at, { isDue: true })).length, 1);
});

test('bases that are none are not found', async () => {
  await using at = await world();
  await assert.rejects(at.cache.scrub({ bases: ['/srv/bases/x'] }), code('not-found'));
  await assert.rejects(at.cache.scrub({ bases: ['rbd:images/a@s'] }), code('not-found'));
});
