// What this release's openssl signs, of every type, siphon takes; and refuses what is not of the bytes.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import type { SignatureKeyType } from '../../../src/wire/verification-plan.ts';
import type { Base } from '../../../src/wire/vocabulary.ts';
import { testMatrix } from '../../support/signature-matrix.ts';
import { makeSigner, signedProperties, signFile } from '../../support/signers.ts';
import { must, sh } from '../support/host.ts';
import { fileCleanup, freshPool, importSource, rawFile, scratchFolder } from '../support/images.ts';
import { answering, siphon, siphonJson } from '../support/siphon.ts';

const release = process.env['SIPHON_LAB_RELEASE'] ?? '';
const FILLED: readonly SignatureKeyType[] = ['RSA-PSS', 'DSA', 'ECC_SECT571K1', 'ECC_SECP521R1'];
const cleanup = fileCleanup();
let pool = '';
let scratch = '';

before(async () => {
  await answering();
  pool = await freshPool(cleanup);
  scratch = await scratchFolder(cleanup);
});

testMatrix(release);

test(`${release}: fills that are signed with ${FILLED.join(', ')}`, async () => {
  for (const type of FILLED) {
    const uuid = await must('cat', '/proc/sys/kernel/random/uuid');
    const certificate = `/etc/siphon/trust/${uuid}.pem`;
    cleanup.after(() => must('rm', '-f', certificate));
    const signer = await makeSigner(scratch, type);
    await must('install', '-m', '644', signer.certificate, certificate);
    const file = await rawFile(`${scratch}/${type}`, 6, [1, 5], 512);
    const signature = await signFile(signer, 'SHA-384', file);
    const properties = `${scratch}/${type}.json`;
    const said = signedProperties(type, 'SHA-384', signature, uuid);
    await writeFile(properties, JSON.stringify(said));
    const image = type.toLowerCase();
    const good = await importSource(file, `${pool}/${image}`);
    const [base] = await siphonJson<Base[]>('warm', '--properties', properties, good);
    const by = [{ what: 'signature', keyType: type, certificate: uuid }];
    assert.deepEqual(base?.verification, { kind: 'verified', by });
    await sh(`printf x | dd of='${file}' bs=1 seek=3000000 conv=notrunc status=none`);
    const bad = await importSource(file, `${pool}/${image}-flipped`);
    const refused = await siphon('warm', '--properties', properties, bad);
    assert.equal(refused.code, 9, refused.stderr);
    assert.match(refused.stderr, /its signature .* is not of these bytes/);
  }
  await must('siphon', 'evict', '--quarantined');
});
