// An export that fails says why, and leaves nothing.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { digestImage, exportImage } from '../../../src/rbd-export/index.ts';
import { must, sh, until } from '../support/host.ts';
import { bigSource, fileCleanup, freshPool, rawFile, scratchFolder } from '../support/images.ts';
import { assertRefused, CEPH, flipBit, opensslDigest, specOf } from './sources.ts';

const cleanup = fileCleanup();
const scratch = await scratchFolder(cleanup);
const pool = await freshPool(cleanup);
let count = 0;

/** An empty folder for one export. */
const emptyFolder = () => mkdtemp(`${scratch}/export-`);

async function imported(file: string): Promise<string> {
  const image = `${pool}/image${++count}`;
  await must('rbd', 'import', '--no-progress', file, image);
  await must('rbd', 'snap', 'create', '--no-progress', `${image}@s`);
  return `${image}@s`;
}

const small = await imported(await rawFile(`${scratch}/small.raw`, 12, [1, 7]));
const big = (await bigSource(`${pool}/big`, 256)).replace(/^rbd:/, '');

test('one flipped bit: corrupt, with both digests', async () => {
  const raw = await rawFile(`${scratch}/flip.raw`, 33, [0, 16, 32], 100);
  const sha256 = await opensslDigest('sha256', raw);
  await flipBit(raw);
  const folder = await emptyFolder();
  const plan = { digests: [{ algorithm: 'sha256', hex: sha256, from: 'operator' } as const] };
  const spec = await specOf(await imported(raw), folder, { plan });
  const found = await opensslDigest('sha256', raw);
  await assertRefused(
    exportImage(spec),
    'corrupt',
    new RegExp(`sha256 is ${found} as read, but the operator says ${sha256}`),
    folder,
  );
  await assert.rejects(digestImage(spec), { code: 'corrupt' });
});

test('a signature of other bytes: corrupt', async () => {
  const key = `${scratch}/ec.pem`;
  await sh(`openssl ecparam -name secp384r1 -genkey -noout -out '${key}'`);
  const signature = await sh(`echo other bytes | openssl dgst -sha384 -sign '${key}' | base64 -w0`);
  const publicKeyPem = await sh(`openssl ec -in '${key}' -pubout 2>/dev/null`);
  const folder = await emptyFolder();
  const expected = {
    keyType: 'ECC_SECP384R1',
    hash: 'sha384',
    signature,
    publicKeyPem,
    certificate: 'c',
  } as const;
  const spec = await specOf(small, folder, { plan: { digests: [], signature: expected } });
  await assertRefused(
    exportImage(spec),
    'corrupt',
    /its signature .* is not of these bytes/,
    folder,
  );
});

for (const way of ['removed', 'its snapshot removed']) {
  test(`the source ${way} while it is read, nothing to check it against: not-found`, async () => {
    const image = `${pool}/doomed${++count}`;
    const source = await bigSource(image, 128);
    const folder = await emptyFolder();
    const spec = await specOf(source, folder);
    let isRemoved = false;
    const onProgress = ({ doneBytes }: { doneBytes: number }) => {
      if (isRemoved || doneBytes === 0) return;
      isRemoved = true;
      execFileSync('rbd', ['snap', 'rm', '--no-progress', `${image}@snap`]);
      if (way === 'removed') execFileSync('rbd', ['rm', '--no-progress', image]);
    };
    const exporting = exportImage(spec, { onProgress });
    await assertRefused(exporting, 'not-found', /removed while it was read/, folder);
    assert(isRemoved);
  });
}

test('a full disk: exhausted, naming the file', async () => {
  const folder = await emptyFolder();
  await must('mount', '-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', folder);
  try {
    const spec = await specOf(big, folder);
    const words = new RegExp(`write: ${spec.partialPath}: ENOSPC`);
    await assertRefused(exportImage(spec), 'exhausted', words, folder);
  } finally {
    await must('umount', folder);
  }
});

test('cancelled while it reads, and before: nothing is left', async () => {
  const folder = await emptyFolder();
  const spec = await specOf(big, folder);
  const abort = new AbortController();
  const onProgress = ({ doneBytes }: { doneBytes: number }) => {
    if (doneBytes > 0) abort.abort();
  };
  await assertRefused(
    exportImage(spec, { signal: abort.signal, onProgress }),
    'cancelled',
    /./,
    folder,
  );
  await assertRefused(exportImage(spec, { signal: abort.signal }), 'cancelled', /./, folder);
});

test('cancelled while the zeros of a huge disk are hashed: soon', async () => {
  const image = `${pool}/huge`;
  await must('rbd', 'create', '--size', '4T', image);
  await must('rbd', 'snap', 'create', '--no-progress', `${image}@s`);
  const folder = await emptyFolder();
  const signal = AbortSignal.timeout(1500);
  const plan = {
    digests: [{ algorithm: 'sha256', hex: '0'.repeat(64), from: 'operator' }],
  } as const;
  const spec = await specOf(`${image}@s`, folder, { plan });
  await assertRefused(exportImage(spec, { signal }), 'cancelled', /./, folder);
});

test('a file that is there already is not touched', async () => {
  const folder = await emptyFolder();
  const spec = await specOf(small, folder);
  await writeFile(spec.partialPath, 'somebody else’s');
  await assertRefused(exportImage(spec), 'refused', /EEXIST/, folder, ['partial']);
  assert.equal(await must('cat', spec.partialPath), 'somebody else’s');
});

test('bytes that lean on another file, or are not what was declared: refused', async () => {
  const folder = await emptyFolder();
  const qcow2 = `${scratch}/backed.qcow2`;
  await must(
    'qemu-img',
    'create',
    '-q',
    '-f',
    'qcow2',
    '-u',
    '-b',
    '/etc/shadow',
    '-F',
    'raw',
    qcow2,
    '1M',
  );
  const backed = await specOf(await imported(qcow2), folder);
  await assertRefused(
    exportImage(backed),
    'refused',
    /names a backing file, "\/etc\/shadow"/,
    folder,
  );
  await must(
    'qemu-img',
    'create',
    '-q',
    '-f',
    'qcow2',
    '-o',
    `data_file=${scratch}/data,data_file_raw=on`,
    qcow2,
    '1M',
  );
  const split = await specOf(await imported(qcow2), folder);
  await assertRefused(exportImage(split), 'refused', /names a data file/, folder);
  const declared = await specOf(small, folder, { plan: { digests: [], declaredFormat: 'qcow2' } });
  await assertRefused(
    exportImage(declared),
    'refused',
    /not qcow2, but its disk_format is/,
    folder,
  );
  await must('qemu-img', 'create', '-q', '-f', 'vmdk', `${scratch}/disk.vmdk`, '8M');
  const vmdk = await specOf(await imported(`${scratch}/disk.vmdk`), folder);
  await assertRefused(exportImage(vmdk), 'refused', /its bytes are vmdk/, folder);
});

test('another cluster, no pool, no image, no snapshot, no user: told apart', async () => {
  const folder = await emptyFolder();
  const { ids } = await specOf(small, folder);
  const attempt = async (more: Partial<typeof ids>, ceph = CEPH) =>
    exportImage(await specOf(small, folder, { ids: { ...ids, ...more }, ceph }));
  const fsid = '00000000-0000-4000-8000-000000000000';
  await assertRefused(
    attempt({ fsid }),
    'mismatch',
    new RegExp(`is the cluster ${ids.fsid}, not ${fsid}`),
    folder,
  );
  await assertRefused(attempt({}, { ...CEPH, fsid }), 'mismatch', /not 00000000/, folder);
  const named = new RegExp(`open source: ${small.replace(/^(rbd:)?/, 'rbd:')}: `);
  await assertRefused(attempt({ poolId: 4711 }), 'not-found', named, folder);
  await assertRefused(attempt({ imageId: 'abcdef' }), 'not-found', named, folder);
  await assertRefused(attempt({ snapId: 4711 }), 'not-found', named, folder);
  await assertRefused(attempt({ namespace: 'nowhere' }), 'not-found', named, folder);
  const as = (name: string, keyring?: string) => {
    const fill = { name, ...(keyring === undefined ? {} : { keyring }) };
    return { ...CEPH, users: { ...CEPH.users, fill } };
  };
  await assertRefused(attempt({}, as('nobody')), 'denied', /connect: client\.nobody/, folder);
  await assertRefused(
    attempt({}, as('admin', '/nowhere/keyring')),
    'denied',
    /connect: client\.admin/,
    folder,
  );
});

test('a cluster that does not answer: unavailable, within its limit', async () => {
  const folder = await emptyFolder();
  const conf = `${scratch}/silent.conf`;
  await sh(
    `sed 's/^mon host.*/mon host = 10.77.0.99/; s/^mon_host.*/mon_host = 10.77.0.99/' /etc/ceph/ceph.conf > '${conf}'`,
  );
  const spec = await specOf(small, folder, { ceph: { ...CEPH, conf, timeoutMs: 1000 } });
  await assertRefused(exportImage(spec), 'unavailable', /ETIMEDOUT/, folder);
});

test('an export leaves nothing open in its process, however it ended', async () => {
  const folder = await emptyFolder();
  const good = await specOf(small, folder);
  const bad = { ...good, plan: { digests: [], declaredFormat: 'qcow2' } as const };
  const openFiles = async () => (await readdir('/proc/self/fd')).length;
  await exportImage({ ...good, partialPath: `${folder}/first` });
  const before = await openFiles();
  for (let i = 0; i < 3; i += 1) {
    await exportImage({ ...good, partialPath: `${folder}/${i}` });
    await assert.rejects(exportImage(bad), { code: 'refused' });
  }
  await until('as many open files as before', async () => (await openFiles()) <= before);
});
