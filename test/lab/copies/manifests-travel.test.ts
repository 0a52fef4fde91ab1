// A signed disk's manifest goes along with what is made of its set: published images, exports and imports; and a restore takes none away.
// Each copy is filled from by a host whose rule wants a manifest.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import type { ManifestFacts, SourceAnswer } from '../../../src/wire/manifest-api.ts';
import type { PublishResult } from '../../../src/wire/publish-api.ts';
import type { Base, SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { opensslKey } from '../../support/manifests.ts';
import { defineDomain } from '../support/domains.ts';
import { must, run, sh } from '../support/host.ts';
import { fileCleanup, freshPool, removeImage, scratchFolder } from '../support/images.ts';
import { answering, siphon, siphonJson } from '../support/siphon.ts';

const KEYS = '/etc/siphon/trust/manifest-keys';
const NAME = 'travels';
const DISK = `vms/${NAME}-a`;
const cleanup = fileCleanup();
const key = opensslKey('ed25519');
let pool = '';
let folder = '';
let set: SnapshotSet;

before(async () => {
  await answering();
  pool = await freshPool(cleanup);
  folder = await scratchFolder(cleanup);
  await writeFile(`${folder}/key`, key.pem, { mode: 0o600 });
  await writeFile(`${folder}/pub.pem`, key.publicKey.export({ type: 'spki', format: 'pem' }));
  cleanup.after(() => run('rm', ['-rf', KEYS]));
  await must('install', '-d', '-m', '755', KEYS);
  await must('install', '-m', '644', `${folder}/pub.pem`, KEYS);
  await sh(`truncate -s 20M ${folder}/disk; head -c 5M /dev/urandom |
    dd of=${folder}/disk bs=1M seek=7 conv=notrunc iflag=fullblock status=none
    rbd import --no-progress ${folder}/disk ${DISK}`);
  cleanup.after(() => removeImage(DISK));
  await defineDomain(cleanup, { name: NAME, disks: [{ kind: 'rbd', image: DISK }] });
  [set] = (await siphonJson<SnapshotSet[]>('snapshot', 'create', NAME)) as [SnapshotSet];
  cleanup.after(() => siphon('snapshot', 'delete', set.id));
  await siphonJson('sign', `rbd:${DISK}@siphon.${set.id}`, '--key', `${folder}/key`);
});

const manifestKeys = async (at: string): Promise<string> =>
  (await run('rados', ['-p', at, 'listomapkeys', 'siphon.manifests'])).stdout;

/** A fill of it keeps to the manifest, and gives the disk. */
async function assertSigned(source: string): Promise<void> {
  const { manifest } = await siphonJson<SourceAnswer>('describe', source);
  assert.equal(manifest?.keyId, key.id, manifest?.problem ?? 'there is none');
  const [base] = await siphonJson<Base[]>('warm', source);
  assert.deepEqual(base?.verification, {
    kind: 'verified',
    by: [{ what: 'manifest', keyId: key.id }],
  });
  const file = await must('siphon', 'path', source);
  await must('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'qcow2', `${folder}/disk`, file);
  assert.equal((await siphon('evict', source)).code, 0);
}

const publish = (...words: readonly string[]) =>
  siphonJson<PublishResult & { manifests?: ManifestFacts[] }>(
    'publish',
    set.id,
    '--to',
    pool,
    ...words,
  );

test('a published image has it, a clone and a copy', async () => {
  const { images } = await publish('--name', 'clone', '--wait');
  assert.equal(images[0]?.hasManifest, true);
  await assertSigned(`rbd:${pool}/clone@snap`);
  const said = await must('siphon', 'publish', set.id, '--to', pool, '--name', 'told', '--wait');
  assert.match(said, /told@snap .*, with the manifest of its disk/);
});

test('a taken name: nothing is left of it', async () => {
  const before = await manifestKeys(pool);
  const refused = await siphon('publish', set.id, '--to', pool, '--name', 'clone', '--no-fallback');
  assert.equal(refused.code, 5, refused.stderr);
  assert.equal(await manifestKeys(pool), before);
});

test('publish --sign signs each image anew; a key that is none is told before anything is made', async () => {
  await writeFile(`${folder}/none`, 'no key');
  const words = ['publish', set.id, '--to', pool, '--name', 'none', '--sign', `${folder}/none`];
  const refused = await siphon(...words);
  assert.deepEqual([refused.code, /no private key/.test(refused.stderr)], [2, true]);
  const files = await siphon('publish', set.id, '--to', 'file', '--sign', `${folder}/key`);
  assert.deepEqual([files.code, /files carry no manifest/.test(files.stderr)], [2, true]);
  const other = opensslKey('p256');
  await writeFile(`${folder}/other`, other.pem, { mode: 0o600 });
  const { manifests } = await publish('--name', 'signed', '--sign', `${folder}/other`, '--wait');
  assert.deepEqual(manifests?.[0]?.keyIds, [other.id]);
  assert.equal(manifests[0].name, 'signed');
  const { manifest } = await siphonJson<SourceAnswer>('describe', `rbd:${pool}/signed@snap`);
  assert.match(manifest?.problem ?? '', /key/, 'a key that this host does not know');
  assert.deepEqual(manifest?.facts?.keyIds, [other.id]);
  await publish('--name', 'both', '--sign', `${folder}/key`, '--wait');
  await assertSigned(`rbd:${pool}/both@snap`);
});

test('an export has it, and its import', async () => {
  const file = `${folder}/export`;
  await must('siphon', 'export', set.id, '--to', file);
  const copy = await siphonJson<SnapshotSet>('import', file, '--to', pool, '--name', 'imported');
  cleanup.after(() => siphon('snapshot', 'delete', copy.id));
  await assertSigned(`rbd:${pool}/imported@siphon.${copy.id}`);
  const [disk] = copy.disks;
  const ofIt = (await manifestKeys(pool)).split('\n').filter((name) => {
    return name.startsWith(`${disk?.imageId}@`);
  });
  assert.ok(
    ofIt.every((name) => name.startsWith(`${disk?.imageId}@${disk?.snapId}`)),
    'under no other id',
  );
});

test('a disk that is restored by itself is written to: its snapshot gets the file', async () => {
  await siphonJson('restore', set.id, '--clone', 'vda', '--to', `${pool}/rescued`);
  await must('rbd', 'snap', 'create', '--no-progress', `${pool}/rescued@snap`);
  const [from, to] = [`rbd:${DISK}@siphon.${set.id}`, `rbd:${pool}/rescued@snap`];
  const none = await siphon('describe', to, '--save-manifest', `${folder}/m`);
  assert.deepEqual([none.code, /it has no manifest/.test(none.stderr)], [4, true]);
  await must('siphon', 'describe', from, '--save-manifest', `${folder}/m`);
  await must('siphon', 'describe', to, '--manifest', `${folder}/m`);
  await assertSigned(to);
});

test('a restore takes none away: of the set, whose disk is in the trash, or is written over', async () => {
  await sh(`qemu-io -f raw -c 'write -q -P 7 0 1M' rbd:${DISK}`);
  await siphonJson('restore', set.id);
  const file = `${folder}/restored`;
  await must('siphon', 'export', set.id, '--to', file);
  const copy = await siphonJson<SnapshotSet>('import', file, '--to', pool, '--name', 'trashed');
  cleanup.after(() => siphon('snapshot', 'delete', copy.id));
  await assertSigned(`rbd:${pool}/trashed@siphon.${copy.id}`);
  await must('siphon', 'restore', '--undo', set.id);
  await siphonJson('restore', set.id, '--rollback');
  await assertSigned(`rbd:${DISK}@siphon.${set.id}`);
});
