// The rounds of soak.test.ts, in a process of their own: `soak-rounds.ts COUNT`.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { createSnapshot, Image, ImageReader, listSnapshots } from '../src/index.ts';
import { makeImage, makePool } from './support.ts';

const mebibyte = 1 << 20;
const rounds = Number(process.argv[2]);

await using at = await makePool();
await using disk = await makeImage(at.pool, 'disk', 4 * mebibyte);
await disk.write(Buffer.alloc(4096, 7), mebibyte);
await createSnapshot(disk, 'base');
const buffer = Buffer.alloc(4096);
const round = async () => {
  await using image = await Image.open(at.pool, { name: 'disk' }, { snapshot: 'base' });
  assert.equal(await ImageReader.attach(image).read(buffer.fill(0), mebibyte), 4096);
  assert.equal(buffer[4095], 7);
  assert.equal((await listSnapshots(image)).length, 1);
};
// The first rounds fill what librbd, the allocator and V8 keep for good.
for (let index = 0; index < 100; index += 1) await round();
const [descriptors, memory] = [await openDescriptors(), await residentBytes()];
for (let index = 0; index < rounds; index += 1) await round();
assert((await openDescriptors()) <= descriptors + 2);
const grown = (await residentBytes()) - memory;
assert(grown < 48 * mebibyte, `${Math.round(grown / mebibyte)} MiB in ${rounds} rounds`);
console.log('done');

async function openDescriptors(): Promise<number> {
  return (await readdir('/proc/self/fd')).length;
}

/** What is the process's own: not pages of files. */
async function residentBytes(): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8');
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
