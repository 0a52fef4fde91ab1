// A hole that an object map claims and that is none: told where nothing else would tell, never filled with zeros.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster, callMethod, Image } from 'ceph-napi';
import { copyImage } from '../../../src/rbd-export/copy-image.ts';
import { exportImage } from '../../../src/rbd-export/index.ts';
import { planVerification } from '../../../src/trust/plan.ts';
import { must, sh } from '../support/host.ts';
import { fileCleanup, freshPool, importSource, rawFile, scratchFolder } from '../support/images.ts';
import {
  assertRefused,
  assertSameDisk,
  CEPH,
  idsOf,
  opensslDigest,
  reference,
  specOf,
} from './sources.ts';

const cleanup = fileCleanup();
const folder = await scratchFolder(cleanup);
const pool = await freshPool(cleanup);
let count = 0;

/** A source whose snapshot's map says that it is empty, in a disk of this many MiB. */
async function lyingSource(mebibytes: number, data: readonly number[]) {
  const name = `${pool}/lying${++count}`;
  const raw = await rawFile(`${folder}/disk.raw`, mebibytes, data);
  const source = await importSource(raw, name, 's');
  const empty = `${pool}/empty${count}`;
  await sh(`rbd create --size ${mebibytes}M ${empty} && rbd snap create --no-progress ${empty}@s`);
  const [map, emptyMap] = await Promise.all([`${name}@s`, `${empty}@s`].map(mapOf));
  await sh(
    `rados -p ${pool} get ${emptyMap} ${folder}/map && rados -p ${pool} put ${map} ${folder}/map; rm ${folder}/map`,
  );
  return { raw, source };
}

async function mapOf(snapshot: string): Promise<string> {
  const { imageId, snapId } = await idsOf(snapshot);
  return `rbd_object_map.${imageId}.${snapId.toString(16).padStart(16, '0')}`;
}

test('a map that hides data: the fill is refused, and its base never there', async (t) => {
  const to = await scratchFolder(t);
  const { raw, source } = await lyingSource(64, [9, 40]);
  const seen = await reference(source, folder);
  assert.notEqual(
    await opensslDigest('sha256', seen),
    await opensslDigest('sha256', raw),
    'librbd believes it',
  );
  const words = /there is nothing at byte \d+, and there is data/;
  await assertRefused(exportImage(await specOf(source, to)), 'corrupt', words, to);
});

test('a copy of the same is not made', async () => {
  const { source } = await lyingSource(64, [9]);
  const ids = await idsOf(source);
  await using cluster = await Cluster.connect({ conf: CEPH.conf, user: 'admin' });
  await using place = await cluster.openPool(pool);
  await using from = await Image.open(place, { id: ids.imageId }, { snapshot: ids.snapId });
  const copy = `${pool}/copy`;
  await must('rbd', 'create', '--size', '64M', copy);
  await using to = await Image.open(place, { name: 'copy' }, { writable: true });
  const { signal } = new AbortController();
  const options = { subject: source, timeoutMs: 10_000, signal, onProgress: () => undefined };
  await assert.rejects(copyImage(from, to, options), /there is data/);
});

test('a map that is marked as invalid is not asked', async (t) => {
  const to = await scratchFolder(t);
  const { raw, source } = await lyingSource(64, [9, 40]);
  const { imageId, snapId } = await idsOf(source);
  // set_flags(flags, mask, snap_id) of cls_rbd: RBD_FLAG_OBJECT_MAP_INVALID and RBD_FLAG_FAST_DIFF_INVALID.
  const input = Buffer.alloc(24);
  for (const [at, value] of [3n, 3n, BigInt(snapId)].entries())
    input.writeBigUInt64LE(value, at * 8);
  await using cluster = await Cluster.connect({ conf: CEPH.conf, user: 'admin' });
  await using place = await cluster.openPool(pool);
  await callMethod(place, `rbd_header.${imageId}`, { class: 'rbd', name: 'set_flags' }, input);
  const spec = await specOf(source, to);
  await exportImage(spec);
  await assertSameDisk(spec.partialPath, raw);
});

test('where a digest says what it must be, that finds it', async (t) => {
  const to = await scratchFolder(t);
  const { raw, source } = await lyingSource(64, [9]);
  const sha256 = await opensslDigest('sha256', raw);
  const plan = await planVerification({
    operator: { sha256 },
    findCertificate: async () => undefined,
    now: Date.now(),
  });
  const words = /but the operator says/;
  await assertRefused(exportImage(await specOf(source, to, { plan })), 'corrupt', words, to);
});
