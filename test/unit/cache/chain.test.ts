// Chains over real files with real headers, RBD images by their heads.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { basesOf, CHAIN_DEPTH_MAX, type ChainReaders } from '../../../src/cache/chain.ts';
import { createHeaderReader } from '../../../src/cache/headers.ts';
import { basePath } from '../../../src/domain/base-path.ts';
import { parseDomain } from '../../../src/domain/domain.ts';
import { parseQcow2Header } from '../../../src/domain/qcow2-header.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { idsOf, makeFolder, qcow2 } from './support.ts';

const MOUNT = '/srv/siphon-bases';
const BASE = basePath(MOUNT, idsOf('debian'), 'qcow2');
const IDENTITY = { ids: idsOf('debian'), format: 'qcow2' as const };
let folder = '';
before(async () => {
  folder = await makeFolder();
});
after(() => rm(folder, { recursive: true }));

function file(name: string, content: Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const rbdImages: Record<string, Buffer> = {};
const headers = createHeaderReader();
const readers: ChainReaders = {
  roots: [MOUNT],
  readHeader: (path) => headers.read(path),
  async readRbdHeader({ pool, image }) {
    const head = rbdImages[`${pool}/${image}`];
    if (head) return parseQcow2Header(head);
    throw new OperatingError({ code: 'unavailable', op: 'open image', subject: image });
  },
  realPath: (path) => realpath(path).catch(() => undefined),
};

async function chainOf(disk: string) {
  const xml = `<domain><name>g</name><uuid>6e1c0a52-24a7-4a5c-8a3c-8d3c6b1f0a01</uuid><devices>
    <disk type='file' device='disk'>${disk}<target dev='vda'/></disk></devices></domain>`;
  const fixed = disk.includes("protocol='rbd'")
    ? xml.replace("type='file'", "type='network'")
    : xml;
  const [chain] = await basesOf(parseDomain(fixed), readers);
  assert.ok(chain);
  return chain;
}
const fileDisk = (path: string, type = 'qcow2', more = '') =>
  `<driver name='qemu' type='${type}'/><source file='${path}'/>${more}`;
const known = { kind: 'known', target: 'vda', bases: [IDENTITY] };
const none = { kind: 'known', target: 'vda', bases: [] };

async function assertUnknown(disk: string, reason: RegExp): Promise<void> {
  const chain = await chainOf(disk);
  assert.equal(chain.kind, 'unknown');
  assert.match(chain.reason, reason);
}

test('an overlay on a base, by its header', async () => {
  assert.deepEqual(await chainOf(fileDisk(file('o1', qcow2(BASE, 'qcow2')))), known);
});

test('two overlays, the upper with a relative name; a base that is not there yet', async () => {
  file('lower', qcow2(BASE, 'qcow2'));
  assert.deepEqual(await chainOf(fileDisk(file('upper', qcow2('lower', 'qcow2')))), known);
});

test('a stated chain overrides the header', async () => {
  const over = file('o2', qcow2('/nowhere', 'qcow2'));
  const stated = `<backingStore type='file'><format type='qcow2'/><source file='${BASE}'/><backingStore/></backingStore>`;
  assert.deepEqual(await chainOf(fileDisk(over, 'qcow2', stated)), known);
  assert.deepEqual(await chainOf(fileDisk(over, 'qcow2', '<backingStore/>')), none);
});

test('a stated chain without an end goes on in the last header', async () => {
  const last = file('o3', qcow2(BASE, 'qcow2'));
  const stated = `<backingStore type='file'><format type='qcow2'/><source file='${last}'/></backingStore>`;
  assert.deepEqual(await chainOf(fileDisk('/gone', 'qcow2', stated)), known);
});

test('a raw disk is never looked into, whatever a guest wrote there', async () => {
  const path = file('raw', qcow2(BASE, 'qcow2'));
  assert.deepEqual(await chainOf(fileDisk(path, 'raw')), none);
  assert.deepEqual(await chainOf(`<source file='${path}'/>`), none);
  const over = file('o4', qcow2(path, 'raw'));
  assert.deepEqual(await chainOf(fileDisk(over)), none);
});

test('a disk that is a base itself', async () => {
  assert.deepEqual(await chainOf(fileDisk(BASE, 'raw', '<readonly/>')), known);
});

test('qcow2 inside RBD, on a base', async () => {
  rbdImages['vms/v1'] = qcow2(BASE, 'qcow2');
  const disk = (name: string, type: string) =>
    `<driver type='${type}'/><source protocol='rbd' name='${name}'/>`;
  assert.deepEqual(await chainOf(disk('vms/v1', 'qcow2')), known);
  assert.deepEqual(await chainOf(disk('vms/v1', 'raw')), none);
  await assertUnknown(disk('vms/v2', 'qcow2'), /could not tell/);
});

test('a copy that runs leans on bases too', async () => {
  const copy = file('copy', qcow2(BASE, 'qcow2'));
  const mirror = `<mirror type='file'><format type='qcow2'/><source file='${copy}'/></mirror>`;
  assert.deepEqual(await chainOf(fileDisk(file('plain', qcow2()), 'qcow2', mirror)), known);
});

test('links are followed, also one to the folder of the bases', async () => {
  const root = join(folder, 'real-bases');
  const base = basePath(root, idsOf('debian'), 'qcow2');
  mkdirSync(join(base, '..'), { recursive: true });
  writeFileSync(base, qcow2());
  symlinkSync(base, join(folder, 'link'));
  const over =
    parseDomain(`<domain><name>g</name><uuid>6e1c0a52-24a7-4a5c-8a3c-8d3c6b1f0a01</uuid><devices><disk>
    ${fileDisk(file('o5', qcow2('link', 'qcow2')))}<target dev='vda'/></disk></devices></domain>`);
  assert.deepEqual(await basesOf(over, { ...readers, roots: [root] }), [known]);
});

test('what cannot be told is unknown, with the reason', async () => {
  await assertUnknown(fileDisk('/no/such/overlay'), /ENOENT/);
  await assertUnknown(fileDisk(file('garbage', Buffer.from('garbage'))), /is not/);
  await assertUnknown(fileDisk(file('short', qcow2().subarray(0, 50))), /malformed/);
  await assertUnknown(fileDisk(file('nbd', qcow2('nbd://x/y', 'raw'))), /nbd:/);
  await assertUnknown(fileDisk('/x.vmdk', 'vmdk'), /vmdk/);
  await assertUnknown(fileDisk(`${MOUNT}/not-a-base`, 'qcow2'), /not the path of a base/);
  await assertUnknown(fileDisk(folder), /neither a file/);
});

test('a FIFO does not hold the walk', async () => {
  const fifo = join(folder, 'fifo');
  execFileSync('mkfifo', [fifo]);
  await assertUnknown(fileDisk(fifo), /neither a file/);
});

test('circles and endless chains end', async () => {
  file('ring1', qcow2('ring2', 'qcow2'));
  await assertUnknown(fileDisk(file('ring2', qcow2('ring1', 'qcow2'))), /circle/);
  for (let i = 0; i <= CHAIN_DEPTH_MAX + 1; i++) file(`deep${i}`, qcow2(`deep${i + 1}`, 'qcow2'));
  await assertUnknown(fileDisk(join(folder, 'deep0')), /over 16 deep/);
});

test('a header is read again when its file has changed', async () => {
  const path = file('changing', qcow2());
  assert.deepEqual(await chainOf(fileDisk(path)), none);
  writeFileSync(path, qcow2(BASE, 'qcow2'));
  utimesSync(path, 1, 1);
  assert.deepEqual(await chainOf(fileDisk(path)), known);
});
