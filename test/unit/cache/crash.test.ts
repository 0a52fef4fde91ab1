// kill -9 at every durable act of a fill, a refill, an eviction and a mend, then a new life: nothing false is visible, and every intent ends.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { appendFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import Database from 'better-sqlite3';
import { basePath } from '../../../src/domain/base-path.ts';
import { CRASH_SOURCES } from './crash-sources.ts';
import { contentOf, idsOf, makeFolder, openWorld, sourceOf, type World } from './support.ts';

const FIXTURE = join(import.meta.dirname, 'crash-fixture.ts');
const LIVES_AT_ONCE = 2;
const ROTTEN = Buffer.alloc(CRASH_SOURCES['d'] ?? 0, 'rot');
let template = '';

before(async () => {
  // b was damaged, c may go, d has rotted, which nobody has seen.
  template = await makeFolder();
  await using world = await openWorld(template);
  for (const [image, size] of Object.entries(CRASH_SOURCES)) world.sources.set(image, size);
  await world.cache.recover();
  for (const image of ['b', 'c', 'd'])
    await (await world.cache.warm({ source: sourceOf(image), priority: 'operator' })).done;
  await appendFile(pathOf(world, 'b'), 'damage');
  await writeFile(pathOf(world, 'd'), ROTTEN);
});

after(() => rm(template, { recursive: true }));

function pathOf(world: World, image: string): string {
  return basePath(world.parts.settings.path, idsOf(image), 'raw');
}

/** Lives until the given act; tells how it ended. */
async function live(root: string, lastAct: number): Promise<{ killed: boolean; acts: number }> {
  const child = spawn(process.execPath, [FIXTURE, root, String(lastAct)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = child.stdout.toArray();
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  assert.ok(signal === 'SIGKILL' || code === 0, `the fixture ended with ${code ?? signal}`);
  return { killed: signal === 'SIGKILL', acts: Number(Buffer.concat(await output)) };
}

/** A copy whose files are known again: with mtimes to the nanosecond (fs.cp keeps milliseconds), their inodes in its catalogue, and of d the time too. */
async function copyTemplate(): Promise<string> {
  const root = await makeFolder();
  execFileSync('cp', ['-a', `${template}/.`, root]);
  const db = new Database(join(root, 'siphon.db'));
  const setFact = db.prepare('UPDATE bases SET file = json_set(file, ?, ?) WHERE id LIKE ?');
  for (const image of ['b', 'c', 'd']) {
    const { imageId } = idsOf(image);
    const file = basePath(join(root, 'bases'), idsOf(image), 'raw');
    const { ino, mtimeMs } = statSync(file);
    setFact.run('$.inode', ino, `%/${imageId}@%`);
    if (image === 'd') setFact.run('$.mtimeMs', mtimeMs, `%/${imageId}@%`);
  }
  db.close();
  return root;
}

async function dieAndRecover(lastAct: number): Promise<void> {
  const root = await copyTemplate();
  try {
    assert.equal((await live(root, lastAct)).killed, true);
    assertNothingFalseIsVisible(root);
    await using world = await openWorld(root);
    for (const [image, size] of Object.entries(CRASH_SOURCES)) world.sources.set(image, size);
    const { askAgain, strange } = await world.cache.recover();
    assert.deepEqual(strange, []);
    assertConsistent(world);
    for (const { source } of askAgain)
      assert.ok('imageId' in source && world.cache.presence(source).kind !== 'ready');
    for (const ask of askAgain) await (await world.cache.warm(ask)).done;
    for (const image of ['a', 'b', 'c', 'd'])
      await (await world.cache.warm({ source: sourceOf(image), priority: 'operator' })).done;
    await (await world.cache.scrub({})).done;
    for (const [image, size] of Object.entries(CRASH_SOURCES))
      assert.deepEqual(readFileSync(pathOf(world, image)), contentOf(image, size));
  } finally {
    await rm(root, { recursive: true });
  }
}

/** Before anybody cleans up: a and c are whole or absent, b is whole, old or new, and d is wholly the one or the other. */
function assertNothingFalseIsVisible(root: string): void {
  for (const [image, size] of Object.entries(CRASH_SOURCES)) {
    const path = basePath(join(root, 'bases'), idsOf(image), 'raw');
    if (image === 'b' || image === 'd')
      assert.ok(existsSync(path), 'a refill never takes the old file away');
    if (!existsSync(path)) continue;
    const content = contentOf(image, size);
    if (image === 'd' && readFileSync(path).equals(ROTTEN)) continue;
    assert.deepEqual(readFileSync(path).subarray(0, size), content, `${image} is not whole`);
  }
}

function assertConsistent(world: World): void {
  assert.deepEqual(world.journal.open(), [], 'every intent has ended');
  assert.deepEqual(readdirSync(join(world.parts.settings.path, '.partial')), []);
  for (const base of world.cache.list()) {
    assert.ok(base.state === 'ready' || base.state === 'suspect', base.state);
    if (base.state === 'suspect') assert.match(base.name.image, /b|d/);
    else if (base.name.image !== 'd' || !readFileSync(pathOf(world, 'd')).equals(ROTTEN)) {
      const size = CRASH_SOURCES[base.name.image] ?? 0;
      assert.deepEqual(
        readFileSync(pathOf(world, base.name.image)),
        contentOf(base.name.image, size),
      );
    }
  }
  for (const image of Object.keys(CRASH_SOURCES)) {
    const isListed = world.cache.list().some(({ name }) => name.image === image);
    assert.equal(existsSync(pathOf(world, image)), isListed, `${image}: file and row`);
  }
}

test('killed at any durable act, the next life finishes or undoes', async () => {
  const root = await copyTemplate();
  const { killed, acts } = await live(root, Number.MAX_SAFE_INTEGER);
  await rm(root, { recursive: true });
  assert.equal(killed, false);
  assert.ok(acts > 20, `only ${acts} acts were counted`);
  const left = Array.from({ length: acts }, (_, act) => act);
  const workers = Array.from({ length: LIVES_AT_ONCE }, async () => {
    for (let act = left.shift(); act !== undefined; act = left.shift()) await dieAndRecover(act);
  });
  await Promise.all(workers);
});
