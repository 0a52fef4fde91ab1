// What an export leaves is what `rbd export` says the source is, by qemu-img, cmp and openssl.

import assert from 'node:assert/strict';
import { readFile, rm, stat } from 'node:fs/promises';
import { test } from 'node:test';
import { digestImage, exportImage } from '../../../src/rbd-export/index.ts';
import { planVerification } from '../../../src/trust/plan.ts';
import type { FillProgress, FillResult, FillSpec } from '../../../src/wire/worker-protocol.ts';
import { tableOf } from '../../support/manifests.ts';
import { must, sh } from '../support/host.ts';
import { fileCleanup, freshPool, importSource, rawFile, scratchFolder } from '../support/images.ts';
import { assertSameDisk, CEPH, opensslDigest, reference, specOf } from './sources.ts';

const MIB = 2 ** 20;
const cleanup = fileCleanup();
const folder = await scratchFolder(cleanup);
const pool = await freshPool(cleanup);
let count = 0;

/** A source of the file's bytes, imported with these options. */
async function imported(file: string, ...options: string[]): Promise<string> {
  const image = `${pool}/image${++count}`;
  await must('rbd', 'import', '--no-progress', ...options, file, image);
  await must('rbd', 'snap', 'create', '--no-progress', `${image}@s`);
  return `${image}@s`;
}

/** A new sparse file: see rawFile. */
async function rawDisk(
  ...shape: Parameters<typeof rawFile> extends [string, ...infer S] ? S : never
) {
  await rm(`${folder}/disk.raw`, { force: true });
  return await rawFile(`${folder}/disk.raw`, ...shape);
}

/** Exports into the folder, and undoes what was there. */
async function exported(source: string, more: Partial<FillSpec> = {}) {
  const spec = await specOf(source, folder, more);
  await rm(spec.partialPath, { force: true });
  return { file: spec.partialPath, ...(await exportImage(spec)) };
}

/** Nobody asked for a digest: the table of chunks is what is recorded of these bytes. */
async function assertRecord({ digests, table }: FillResult, file: string): Promise<void> {
  assert.deepEqual(digests, {});
  assert.equal(table?.sha256, tableOf(await readFile(file), 4 * MIB).sha256);
}

for (const [name, extraBytes, options] of [
  ['whole MiB', 0, []],
  ['a byte over', 1, []],
  ['511 over, objects of 8 MiB', 511, ['--object-size', '8M']],
  ['4097 over, objects of 64 KiB', 4097, ['--object-size', '64K']],
  ['without object map', 700, ['--image-feature', 'layering']],
] as const) {
  test(`a raw disk with holes becomes a sound qcow2: ${name}`, async () => {
    const raw = await rawDisk(70, [0, 5, 6, 33, 69], extraBytes);
    const source = await imported(raw, ...options);
    const done = await exported(source);
    await assertSameDisk(done.file, raw);
    await assertRecord(done, await reference(source, folder));
    const size = 70 * MIB + extraBytes;
    const virtualSizeBytes = Math.ceil(size / 512) * 512;
    const { allocatedBytes, file, digests: _, table: __, head, ...rest } = done;
    assert.match(head?.sha256 ?? '', /^[0-9a-f]{64}$/);
    assert.deepEqual(rest, {
      sourceFormat: 'raw',
      format: 'qcow2',
      sourceSizeBytes: size,
      virtualSizeBytes,
      verification: { kind: 'unverified' },
    });
    assert(
      allocatedBytes >= 5 * MIB && allocatedBytes < 6 * MIB,
      `holes were filled: ${allocatedBytes}`,
    );
    assert.equal(allocatedBytes, (await stat(file)).blocks * 512);
    const info = JSON.parse(
      await must('qemu-img', 'info', '--output', 'json', '-f', 'qcow2', file),
    );
    assert.equal(info['virtual-size'], virtualSizeBytes);
    assert.equal((await stat(file)).mode & 0o777, 0o444);
  });
}

test('the smallest disk, and one of zeros', async () => {
  for (const make of [
    "printf x > '$F'",
    "truncate -s 200M '$F'",
    "head -c 9000000 /dev/zero > '$F'",
  ]) {
    const raw = `${folder}/disk.raw`;
    await rm(raw, { force: true });
    await sh(make.replace('$F', raw));
    const source = await imported(raw, '--sparse-size', '4K');
    const done = await exported(source);
    await assertSameDisk(done.file, raw);
    await assertRecord(done, raw);
    assert(done.allocatedBytes < MIB);
  }
});

test('where configured, a raw disk stays raw: byte for byte, and sparse', async () => {
  const raw = await rawDisk(50, [7, 49], 12_345);
  const done = await exported(await imported(raw), { rawBecomes: 'raw' });
  await must('cmp', raw, done.file);
  assert.equal(done.format, 'raw');
  assert(done.allocatedBytes < 3 * MIB);
});

test('a clone has what its parent has', async () => {
  const raw = await rawDisk(40, [1, 20, 39]);
  const parent = await imported(raw);
  await must('rbd', 'snap', 'protect', parent);
  const child = `${pool}/child`;
  await must('rbd', 'clone', '--object-size', '8M', parent, child);
  await must('rbd', 'resize', '--no-progress', '--size', '48M', child);
  await sh(
    `rbd bench --io-type write --io-size 64K --io-total 1M --io-pattern rand '${child}' >/dev/null`,
  );
  await must('rbd', 'snap', 'create', '--no-progress', `${child}@s`);
  const done = await exported(`${child}@s`);
  const wanted = await reference(`${child}@s`, folder);
  await assertSameDisk(done.file, wanted);
  await assertRecord(done, wanted);
  await must('rbd', 'snap', 'purge', '--no-progress', child);
  await must('rbd', 'rm', '--no-progress', child);
  await must('rbd', 'snap', 'unprotect', parent);
});

test('the snapshot counts, not what the image became', async () => {
  const raw = await rawDisk(24, [3]);
  const source = await imported(raw);
  const image = source.replace('@s', '');
  await sh(`rbd bench --io-type write --io-size 4M --io-total 16M '${image}' >/dev/null`);
  await must('rbd', 'resize', '--no-progress', '--allow-shrink', '--size', '8M', image);
  await must('rbd', 'rename', image, `${image}-renamed`);
  const ids = { ...(await specOf(`${image}-renamed@s`, folder)).ids };
  const done = await exported(source, { ids });
  await assertSameDisk(done.file, raw);
});

test('qcow2 bytes are copied as they are: compressed clusters, a size of no round number', async () => {
  const raw = await rawDisk(60, [0, 30]);
  await sh(
    `(yes siphon || true) | head -c 20000000 | dd of='${raw}' bs=1M seek=8 conv=notrunc status=none`,
  );
  for (const options of [
    ['-c'],
    ['-o', 'compat=0.10'],
    ['-c', '-o', 'compression_type=zstd,cluster_size=2M'],
  ]) {
    const qcow2 = `${folder}/disk.qcow2`;
    await must('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, qcow2);
    const source = await imported(qcow2);
    const done = await exported(source, { plan: { digests: [], declaredFormat: 'qcow2' } });
    await must('cmp', qcow2, done.file);
    await assertSameDisk(done.file, raw);
    assert.equal(done.sourceFormat, 'qcow2');
    assert.equal(done.virtualSizeBytes, 60 * MIB);
    await assertRecord(done, qcow2);
  }
});

test('an image in a namespace', async () => {
  await must('rbd', 'namespace', 'create', `${pool}/tenant`);
  const raw = await rawDisk(12, [2]);
  const source = await importSource(raw, `${pool}/tenant/image`, 's');
  const done = await exported(source);
  await assertSameDisk(done.file, raw);
  await must('rbd', 'snap', 'purge', '--no-progress', `${pool}/tenant/image`);
});

test('a user that may only read is enough, with a keyring of its own', async () => {
  const name = `reader-${pool}`;
  const keyring = `${folder}/keyring`;
  const caps = ['mon', 'profile rbd', 'osd', `profile rbd-read-only pool=${pool}`];
  await must('ceph', 'auth', 'get-or-create', `client.${name}`, ...caps, '-o', keyring);
  cleanup.after(() => must('ceph', 'auth', 'rm', `client.${name}`));
  const raw = await rawDisk(9, [4]);
  const ceph = { ...CEPH, users: { ...CEPH.users, fill: { name, keyring } } };
  await assertSameDisk((await exported(await imported(raw), { ceph })).file, raw);
});

test('digests and a signature of the openssl command make it verified; a digest alone reads the same', async () => {
  const raw = await rawDisk(30, [0, 9], 77);
  const source = await imported(raw);
  const key = `${folder}/key.pem`;
  const certificate = `${folder}/certificate.pem`;
  await sh(
    `openssl req -x509 -newkey rsa:2048 -nodes -keyout '${key}' -out '${certificate}' -days 2 -subj /CN=lab 2>&1`,
  );
  const uuid = '0c5a5ad8-30b1-4b04-9b6f-1c5f4d1c2a11';
  const plan = await planVerification({
    operator: { sha256: await opensslDigest('sha256', raw) },
    properties: {
      os_hash_algo: 'sha512',
      os_hash_value: await opensslDigest('sha512', raw),
      img_signature: await sh(
        `openssl dgst -sha512 -sign '${key}' -sigopt rsa_padding_mode:pss '${raw}' | base64`,
      ),
      img_signature_hash_method: 'SHA-512',
      img_signature_key_type: 'RSA-PSS',
      img_signature_certificate_uuid: uuid,
    },
    findCertificate: async () => must('cat', certificate),
    now: Date.now(),
  });
  const done = await exported(source, { plan });
  assert.deepEqual(done.verification, {
    kind: 'verified',
    by: [
      { what: 'digest', algorithm: 'sha256', from: 'operator' },
      { what: 'digest', algorithm: 'sha512', from: 'properties' },
      { what: 'signature', keyType: 'RSA-PSS', certificate: uuid },
    ],
  });
  const { digests, table, verification } = done;
  const { ceph, ids, name } = await specOf(source, folder);
  assert.deepEqual(await digestImage({ ceph, ids, name, plan }), { digests, verification, table });
});

test('progress counts the whole source, holes too, and is full only when all of it is digested', async () => {
  const size = 1024 * MIB;
  const raw = await rawDisk(1024, [0, 20, 40]);
  const digest = { algorithm: 'sha256', hex: await opensslDigest('sha256', raw) } as const;
  const plan = { digests: [{ ...digest, from: 'operator' }] } as const;
  const spec = await specOf(await imported(raw), folder, { plan });
  await rm(spec.partialPath, { force: true });
  const told: FillProgress[] = [];
  await exportImage(spec, { onProgress: (progress) => told.push(progress) });
  const allocatedBytes = 12 * MIB;
  const sizes = { totalBytes: size, allocatedBytes };
  assert.deepEqual(told[0], { doneBytes: 0, readBytes: 0, ...sizes });
  const { remainingMs, ...last } = told.at(-1) ?? assert.fail('nothing was told');
  assert.deepEqual(last, { doneBytes: size, readBytes: allocatedBytes, ...sizes });
  assert.equal(remainingMs, 0);
  // 1 GiB of zeros takes a second or more of SHA-256: that is seen to pass.
  const within = told.filter((one) => one.doneBytes > 2 * allocatedBytes && one.doneBytes < size);
  assert.ok(within.length >= 3, `${within.length} steps`);
  for (const [i, one] of told.entries()) assert.ok(one.doneBytes >= (told[i - 1]?.doneBytes ?? 0));
});
