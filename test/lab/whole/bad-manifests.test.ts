// Manifests that nobody attached by siphon: written straight into Ceph, signed by a key that counts or not. Each is refused by its name before a
// byte moves, and nothing is left. And sizes that are a multiple of nothing, which must pass.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import { dsse } from '@sigstore/core';
import { PAYLOAD_TYPE } from '../../../src/trust/manifest/envelope.ts';
import { signBytes } from '../../../src/trust/manifest/keys.ts';
import { encodeStatement } from '../../../src/trust/manifest/statement.ts';
import type { JobsAnswer } from '../../../src/wire/api.ts';
import type { SourceAnswer } from '../../../src/wire/manifest-api.ts';
import type { Base } from '../../../src/wire/vocabulary.ts';
import { opensslKey, sha256, sparse, tableOf } from '../../support/manifests.ts';
import { makeSigner, signedProperties, signFile } from '../../support/signers.ts';
import { must, sh } from '../support/host.ts';
import { fileCleanup, freshPool, importSource, rawFile, scratchFolder } from '../support/images.ts';
import { answering, filesOfBases, siphon, siphonJson } from '../support/siphon.ts';

const TRUST = '/etc/siphon/trust';
const UUID = '5b4fbcee-4fd5-4a31-9a5a-1a1d4b4e5f0c';
const CHUNK = 4 * 2 ** 20;
const cleanup = fileCleanup();
const owner = opensslKey('ed25519');
const gone = opensslKey('p256');
const stranger = opensslKey('ed25519');
type Key = ReturnType<typeof opensslKey>;
let pool = '';
let scratch = '';
let image = '';
let content: Buffer;
let source = '';

before(async () => {
  await answering();
  pool = await freshPool(cleanup);
  scratch = await scratchFolder(cleanup);
  cleanup.after(() => sh(`rm -rf ${TRUST}/manifest-keys ${TRUST}/revoked ${TRUST}/${UUID}.pem`));
  await must('install', '-d', '-m', '755', `${TRUST}/manifest-keys`);
  for (const [name, { publicKey }] of Object.entries({ owner, gone })) {
    const pem = publicKey.export({ type: 'spki', format: 'pem' });
    await writeFile(`${TRUST}/manifest-keys/${name}.pem`, pem, { mode: 0o644 });
  }
  await must('siphon', 'trust', 'revoke', gone.id);
  image = await rawFile(`${scratch}/image`, 9, [0, 8], 700);
  content = await readFile(image);
  source = await importSource(image, `${pool}/image`);
});

interface Statement {
  subject: { digest: { sha256: string } }[];
  predicate: Record<string, unknown>;
}

/** What a statement says of an image, changed. */
function statement(of = content, change: (it: Statement) => void = () => {}): Buffer {
  const it = JSON.parse(encodeStatement(tableOf(of, CHUNK), {}).toString()) as Statement;
  change(it);
  return Buffer.from(JSON.stringify(it));
}

function sealed(payload: Buffer, by: Key = owner, keyid = by.id): string {
  const signature = signBytes(dsse.preAuthEncoding(PAYLOAD_TYPE, payload), by.privateKey);
  const signatures = [{ keyid, sig: signature.toString('base64') }];
  return JSON.stringify({
    payloadType: PAYLOAD_TYPE,
    payload: payload.toString('base64'),
    signatures,
  });
}

/** As whoever may write the pool could. */
async function plant(envelope: string): Promise<void> {
  const { ids } = await siphonJson<SourceAnswer>('describe', source);
  const key = `${ids.imageId}@${ids.snapId}`;
  const generation = '0123456789abcdef';
  const sizeBytes = Buffer.byteLength(envelope);
  const digest = sha256(Buffer.from(envelope)).toString('hex');
  const named = { schema: 1, generation, parts: 1, sizeBytes, sha256: digest };
  const put = (name: string, value: string) =>
    must('rados', '-p', pool, 'setomapval', 'siphon.manifests', name, value);
  await put(`${key}/${generation}/000`, envelope);
  await put(key, JSON.stringify(named));
}

const swapped = sparse(9 * 2 ** 20 + 700, [1], 2 ** 20);

const WRONGS: readonly (readonly [
  name: string,
  code: number,
  words: RegExp,
  envelope: () => string,
])[] = [
  [
    'another table than the one that is named',
    9,
    /its table is another than the one that it names/,
    () =>
      sealed(
        statement(content, (it) => {
          it.predicate['table'] = tableOf(swapped, CHUNK).bytes.toString('base64');
        }),
      ),
  ],
  [
    'an impossible size',
    9,
    /predicate.sizeBytes: it is an impossible size/,
    () => sealed(statement(content, (it) => void (it.predicate['sizeBytes'] = -1))),
  ],
  [
    'another size than its table’s',
    9,
    /its table is of other sizes/,
    () => sealed(statement(content, (it) => void (it.predicate['sizeBytes'] = 512))),
  ],
  [
    'an image of another size',
    10,
    /its manifest is of other content: of 9437883 bytes/,
    () => sealed(statement(content.subarray(0, 9_437_883))),
  ],
  [
    'a revoked key',
    5,
    /is signed by key [0-9a-f]{64}, which is revoked/,
    () => sealed(statement(), gone),
  ],
  ['an unknown key', 5, /which is not trusted here/, () => sealed(statement(), stranger)],
  [
    'a signature by another key than it says',
    9,
    /signature is not the one of key/,
    () => sealed(statement(), stranger, owner.id),
  ],
  [
    'a signature that is not base64',
    9,
    /a signature is not base64/,
    () => sealed(statement()).replace(/"sig":"../, '"sig":"?'),
  ],
  ['nothing of a manifest', 9, /not a manifest/, () => '{}'],
];

const left = async () => ({
  files: await filesOfBases(),
  quarantined: await siphonJson<unknown[]>('list', '--quarantined'),
  bases: (await siphonJson<Base[]>('list')).map(({ id }) => id),
  jobs: (await siphonJson<JobsAnswer['jobs']>('jobs')).map(({ id }) => id),
});

for (const [name, code, words, envelope] of WRONGS) {
  test(`planted in Ceph, ${name}: refused at once, and nothing is left`, async () => {
    await plant(envelope());
    const before = await left();
    const ran = await siphon('warm', source);
    assert.equal(ran.code, code, ran.stderr);
    assert.match(ran.stderr, words);
    assert.ok(ran.stderr.includes(source.replace('rbd:', '')), ran.stderr);
    assert.deepEqual(await left(), before);
  });
}

test('planted in Ceph, of other content of the same size: found in its chunk, and kept in quarantine alone', async () => {
  await plant(sealed(statement(swapped)));
  const before = await left();
  const ran = await siphon('warm', source);
  assert.deepEqual(
    [ran.code, /its manifest .*chunk 0, at byte 0/.test(ran.stderr)],
    [9, true],
    ran.stderr,
  );
  const after = await left();
  assert.deepEqual([after.files, after.bases], [before.files, before.bases]);
  assert.equal(after.quarantined.length, before.quarantined.length + 1);
  await must('siphon', 'evict', '--quarantined');
  await plant(sealed(statement()));
  const [base] = await siphonJson<Base[]>('warm', source);
  assert.equal(base?.verification.kind, 'verified');
});

test('sizes that are a multiple of nothing pass, signed and by a manifest, and are padded to sectors', async () => {
  const signer = await makeSigner(scratch, 'ECC_SECP384R1');
  await must('install', '-m', '644', signer.certificate, `${TRUST}/${UUID}.pem`);
  await writeFile(`${scratch}/owner.key`, owner.pem, { mode: 0o600 });
  for (const sizeBytes of [1, 511, 513, 4095, 4097, CHUNK - 1, CHUNK + 1, 2 * CHUNK + 4097]) {
    const file = `${scratch}/${sizeBytes}.raw`;
    await sh(`head -c ${sizeBytes} /dev/urandom > ${file}`);
    const of = await importSource(file, `${pool}/s${sizeBytes}`);
    const signature = await signFile(signer, 'SHA-256', file);
    const said = signedProperties('ECC_SECP384R1', 'SHA-256', signature, UUID);
    await writeFile(`${scratch}/said.json`, JSON.stringify(said));
    await siphonJson('describe', of, '--properties', `${scratch}/said.json`);
    await siphonJson('sign', of, '--key', `${scratch}/owner.key`);
    const [base] = await siphonJson<Base[]>('warm', of);
    assert.equal(base?.verification.kind === 'verified' && base.verification.by.length, 2);
    assert.equal(base?.virtualSizeBytes, Math.ceil(sizeBytes / 512) * 512);
    const path = await must('siphon', 'path', of);
    await must('qemu-img', 'check', '-q', '-f', 'qcow2', path);
    await sh(`qemu-img convert -f qcow2 -O raw ${path} ${scratch}/back
      cmp -n ${sizeBytes} ${file} ${scratch}/back`);
  }
});
