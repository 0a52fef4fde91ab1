// Overlays that no domain has keep their bases: by the files of real folders.

import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { baseId, basePath } from '../../../src/domain/base-path.ts';
import { parseDomain } from '../../../src/domain/domain.ts';
import { freshWorld, HIDDEN, idsOf, MIB, qcow2, sourceOf, type World } from './support.ts';

const GUEST_PATH = basePath('/srv/bases', idsOf('a'), 'raw');
const OF = { bases: [baseId(idsOf('a'))] };

/** A world with the base `a`, and a folder of overlays that its settings name. */
async function worldWithOverlays(limitBytes = 100 * MIB) {
  const folders: string[] = [];
  const world = await freshWorld({ a: MIB, b: MIB }, { overlayFolders: folders, limitBytes });
  const folder = join(world.root, 'images');
  mkdirSync(folder);
  folders.push(folder);
  await (await world.cache.warm({ source: sourceOf('a'), priority: 'operator' })).done;
  const put = (name: string, content: Buffer) => {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  return Object.assign(world, { folder, folders, put });
}

const reasonOf = async (world: World, dryRun = false) => {
  const { decisions } = await world.cache.evict({ dryRun, ...OF });
  const [{ decision, reason } = { decision: '', reason: '' }] = decisions;
  return `${decision}: ${reason}`;
};

test('an overlay keeps its base: planned, for real, and when a fill needs the room', async () => {
  await using world = await worldWithOverlays(2.5 * MIB);
  const overlay = world.put('g.qcow2', qcow2(GUEST_PATH, 'raw'));
  assert.equal(await reasonOf(world, true), `keep: the overlay ${overlay} refers to it`);
  assert.equal(await reasonOf(world), `keep: the overlay ${overlay} refers to it`);
  const asked = { source: sourceOf('b'), priority: 'operator' } as const;
  await assert.rejects(world.cache.warm(asked), { code: 'exhausted' });
  unlinkSync(overlay);
  await (await world.cache.warm(asked)).done;
  assert.deepEqual(
    world.cache.list().map(({ name }) => name.image),
    ['b'],
  );
});

test('an overlay that comes between plan and removal keeps the base', async () => {
  await using world = await worldWithOverlays();
  const evicting = world.cache.evict({ dryRun: false, ...OF });
  const begin = world.journal.begin.bind(world.journal);
  let overlay = '';
  world.journal.begin = (...args) => {
    overlay = world.put('late.qcow2', qcow2(GUEST_PATH, 'raw'));
    return begin(...args);
  };
  const { decisions } = await evicting;
  assert.equal(decisions[0]?.reason, `the overlay ${overlay} refers to it`);
});

test('chains are followed, links and either path of a base too; a new content is read anew', async () => {
  await using world = await worldWithOverlays();
  const middle = join(world.root, 'middle.qcow2');
  writeFileSync(middle, qcow2(basePath(world.parts.settings.path, idsOf('a'), 'raw'), 'raw'));
  const top = world.put('d1/d2/top.img', qcow2(middle, 'qcow2'));
  assert.match(await reasonOf(world), /^keep: the overlay .*top\.img refers/);
  const link = join(world.root, 'link');
  symlinkSync(basePath(world.parts.settings.path, idsOf('a'), 'raw'), link);
  writeFileSync(top, qcow2(link, 'raw'));
  assert.match(await reasonOf(world), /^keep: the overlay .*top\.img refers/);
  writeFileSync(top, qcow2());
  assert.match(await reasonOf(world), /^evict/);
});

test('what is no overlay, or leans on another base, keeps nothing', async () => {
  await using world = await worldWithOverlays();
  world.put('raw.img', Buffer.alloc(65_536));
  world.put('tiny', Buffer.from('x'));
  world.put('empty', Buffer.alloc(0));
  world.put('other.qcow2', qcow2(basePath('/srv/bases', idsOf('b'), 'raw'), 'raw'));
  world.folders.push('/nonexistent/folder', join(world.root, 'bases'));
  assert.match(await reasonOf(world), /^evict/);
});

const UNKNOWNS: readonly [
  string,
  (world: Awaited<ReturnType<typeof worldWithOverlays>>) => void,
][] = [
  ['a header that is malformed', (world) => world.put('m.qcow2', qcow2().fill(255, 4, 8))],
  ['a folder too deep', (world) => world.put('1/2/3/x', Buffer.alloc(1))],
  ['a chain that is cut', (world) => world.put('c', qcow2('/nonexistent/x', 'qcow2'))],
  ['a folder that is none', (world) => world.folders.push(world.put('file', Buffer.alloc(9)))],
];
for (const [what, make] of UNKNOWNS) {
  test(`unknown use is use: ${what}`, async () => {
    await using world = await worldWithOverlays();
    make(world);
    assert.match(await reasonOf(world), /^keep: it could not be told whether an overlay .*: .+/);
  });
}

test('a file and a folder that may not be read make use unknown', async () => {
  await using world = await worldWithOverlays();
  const file = world.put('f', qcow2());
  chmodSync(world.root, 0o755);
  chmodSync(file, 0);
  process.seteuid?.(65_534); // root reads everything
  const overlays = await world.cache
    .evict({ dryRun: true, ...OF })
    .finally(() => process.seteuid?.(0));
  assert.match(overlays.decisions[0]?.reason ?? '', /could not be told .* overlay .*\/f: /);
});

const domainWith = (path: string, format: string) =>
  parseDomain(`<domain><name>g</name><uuid>6e1c0a52-24a7-4a5c-8a3c-8d3c6b1f0a01</uuid><devices>
    <disk type='file' device='disk'><driver name='qemu' type='${format}'/><source file='${path}'/>
    <target dev='vda'/></disk></devices></domain>`);

test("the folders of domains' disks are looked into, not below them; a raw disk is no overlay", async () => {
  await using world = await worldWithOverlays();
  const elsewhere = join(world.root, 'elsewhere');
  mkdirSync(join(elsewhere, '1/2/3/4'), { recursive: true });
  const left = join(elsewhere, 'left.qcow2');
  writeFileSync(left, qcow2(GUEST_PATH, 'raw'));
  assert.match(await reasonOf(world, true), /^evict/);
  await world.cache.basesOf(domainWith(join(elsewhere, 'disk.qcow2'), 'qcow2'));
  assert.equal(await reasonOf(world), `keep: the overlay ${left} refers to it`);
  // Its guest wrote these bytes.
  await world.cache.basesOf(domainWith(left, 'raw'));
  assert.match(await reasonOf(world, true), /^evict/);
  await world.cache.basesOf(domainWith(left, 'qcow2'));
  assert.match(await reasonOf(world, true), /^keep/);
  rmSync(elsewhere, { recursive: true });
  assert.match(await reasonOf(world), /^evict/);
});

test('a domain whose disk lies where siphond does not see the host’s files keeps every base', async () => {
  await using world = await worldWithOverlays();
  assert.match(await reasonOf(world, true), /^evict/);
  await world.cache.basesOf(domainWith(`${HIDDEN}/of/disk.qcow2`, 'qcow2'));
  assert.match(await reasonOf(world), /^keep: .*siphond does not see the host's \/hidden\/of/);
});
