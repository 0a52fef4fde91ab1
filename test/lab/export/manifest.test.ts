// A fill that has a manifest to keep to: by tables that are made of what `rbd export` says, of every size, good and flipped.

import assert from 'node:assert/strict';
import { readFile, rm, stat } from 'node:fs/promises';
import { test } from 'node:test';
import { exportImage } from '../../../src/rbd-export/index.ts';
import { tableOfImage } from '../../../src/rbd-export/table-of-image.ts';
import { TableBuilder } from '../../../src/trust/manifest/chunk-table.ts';
import type { FillSpec } from '../../../src/wire/worker-protocol.ts';
import { sha256, tableOf } from '../../support/manifests.ts';
import { must } from '../support/host.ts';
import { fileCleanup, freshPool, rawFile, scratchFolder } from '../support/images.ts';
import { assertRefused, assertSameDisk, idsOf, reference, specOf } from './sources.ts';

const KIB = 1024;
const MIB = KIB * KIB;
const CHUNKS = [64 * KIB, 4 * MIB, 16 * MIB];
const KEY = 'f'.repeat(64);
const cleanup = fileCleanup();
const folder = await scratchFolder(cleanup);
const pool = await freshPool(cleanup);
let count = 0;

async function imported(file: string, ...options: string[]): Promise<string> {
  const image = `${pool}/image${++count}`;
  await must('rbd', 'import', '--no-progress', ...options, file, image);
  await must('rbd', 'snap', 'create', '--no-progress', `${image}@s`);
  return `${image}@s`;
}

/** What a manifest of this content makes the plan be. */
function planFor(content: Buffer, chunkBytes: number): FillSpec['plan'] {
  const { sha256: digest, bytes } = tableOf(content, chunkBytes);
  const table = { sha256: digest, chunkBytes, base64: bytes.toString('base64') };
  return { digests: [], manifest: { keyId: KEY, dataBytes: 0, table } };
}

async function exporting(source: string, plan: FillSpec['plan']) {
  const spec = await specOf(source, folder, { plan });
  await rm(spec.partialPath, { force: true });
  return { file: spec.partialPath, done: await exportImage(spec) };
}

for (const [name, extraBytes, options] of [
  ['whole MiB', 0, []],
  ['a byte over', 1, []],
  ['511 over, objects of 8 MiB', 511, ['--object-size', '8M']],
  ['4097 over, objects of 64 KiB', 4097, ['--object-size', '64K']],
  ['without object map', 700, ['--image-feature', 'layering']],
] as const) {
  test(`a source that is what its manifest says is verified, and nothing hashes the whole: ${name}`, async () => {
    await rm(`${folder}/disk.raw`, { force: true });
    const raw = await rawFile(`${folder}/disk.raw`, 70, [0, 5, 6, 33, 69], extraBytes);
    const source = await imported(raw, ...options);
    const content = await readFile(await reference(source, folder));
    for (const chunkBytes of CHUNKS) {
      const plan = planFor(content, chunkBytes);
      const { file, done } = await exporting(source, plan);
      await assertSameDisk(file, raw);
      assert.deepEqual(done.verification, {
        kind: 'verified',
        by: [{ what: 'manifest', keyId: KEY }],
      });
      assert.deepEqual(done.digests, {});
      assert.equal(done.table?.sha256, plan.manifest?.table.sha256);
    }
    const { ceph, ids, name: called } = await specOf(source, folder);
    const { table } = await tableOfImage({ ceph, ids, name: called });
    assert.equal(table.sha256, tableOf(content, 4 * MIB).sha256);
  });
}

test('one flipped bit, at the start, in the middle, at the end, in a hole: told by its chunk, and what was read is kept', async () => {
  await rm(`${folder}/disk.raw`, { force: true });
  const kept = await scratchFolder(cleanup);
  const raw = await rawFile(`${folder}/disk.raw`, 40, [0, 19, 39], 700);
  const source = await imported(raw);
  const good = await readFile(await reference(source, folder));
  for (const at of [0, 19 * MIB + 100, good.length - 1, 30 * MIB]) {
    const content = Buffer.from(good);
    content[at]! ^= 1;
    for (const chunkBytes of CHUNKS) {
      const spec = await specOf(source, kept, { plan: planFor(content, chunkBytes) });
      await rm(spec.partialPath, { force: true });
      const chunk = Math.floor(at / chunkBytes);
      const words = new RegExp(
        `manifest \\(key f{64}\\).*chunk ${chunk}, at byte ${chunk * chunkBytes}:`,
      );
      await assertRefused(exportImage(spec), 'corrupt', words, kept);
    }
  }
});

test('100 GiB of which little is there pass by a manifest in the time of what is there', async () => {
  const image = `${pool}/large`;
  await must('rbd', 'create', '--no-progress', '--size', '100G', image);
  await must(
    'rbd',
    'bench',
    '--io-type',
    'write',
    '--io-size',
    '4M',
    '--io-total',
    '32M',
    '--io-pattern',
    'rand',
    image,
  );
  await must('rbd', 'snap', 'create', '--no-progress', `${image}@s`);
  const ids = await idsOf(`${image}@s`);
  const { ceph, name } = await specOf(`${image}@s`, folder, { ids });
  const beganAt = performance.now();
  const { table } = await tableOfImage({ ceph, ids, name });
  const bytes = Buffer.from(table.base64, 'base64');
  assert(bytes.length < 4000, `a table of ${bytes.length} bytes`);
  const plan = { digests: [], manifest: { keyId: KEY, dataBytes: 0, table } };
  const { file, done } = await exporting(`${image}@s`, plan);
  const tookMs = performance.now() - beganAt;
  assert.equal(done.verification.kind, 'verified');
  assert((await stat(file)).blocks * 512 < 64 * MIB);
  assert(tookMs < 20_000, `${tookMs} ms`);
  const builder = new TableBuilder({ sizeBytes: 100 * 1024 ** 3, chunkBytes: 4 * MIB });
  builder.add(25_599, sha256(Buffer.from('x')));
  const other = builder.finish();
  const wrong = {
    sha256: other.sha256,
    chunkBytes: 4 * MIB,
    base64: other.bytes.toString('base64'),
  };
  const spec = await specOf(`${image}@s`, folder, {
    ids,
    plan: { digests: [], manifest: { keyId: KEY, dataBytes: 0, table: wrong } },
  });
  await rm(spec.partialPath, { force: true });
  await assert.rejects(exportImage(spec), { code: 'corrupt' });
});
