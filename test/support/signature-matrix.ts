// Every type of key with every hash, signed by this machine's openssl: the good pass, and whatever is wrong in one thing does not.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { planVerification } from '../../src/trust/plan.ts';
import { certificateFolder } from '../../src/trust/trust-folder.ts';
import { hashJobs, judge, openHasher, type Verdict } from '../../src/trust/verify.ts';
import { OperatingError } from '../../src/wire/errors.ts';
import { SIGNATURE_KEY_TYPES, type SignatureKeyType } from '../../src/wire/verification-plan.ts';
import type { SourceProperties } from '../../src/wire/vocabulary.ts';
import { HASH_METHODS, makeSigner, type Signer, signedProperties, signFile } from './signers.ts';

/** A fill's own way: planned with the folder's certificates, hashed as it streams, judged. */
export async function verifyIn(
  folder: string,
  properties: SourceProperties,
  bytes: Buffer,
): Promise<Verdict> {
  const findCertificate = certificateFolder(folder);
  const plan = await planVerification({ properties, findCertificate, now: Date.now() });
  const outcomes = hashJobs(plan, true).map((job) => {
    const hasher = openHasher(job);
    for (const part of [bytes.subarray(0, 7), bytes.subarray(7)]) hasher.update(part);
    return hasher.finish();
  });
  return judge(plan, outcomes, 'the source');
}

const uuidOf = (type: SignatureKeyType, which: number): string =>
  `00000000-0000-4000-8000-0000000000${SIGNATURE_KEY_TYPES.indexOf(type)}${which}`;

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1]! ^= 1;
  return copy;
}

const fails = (code: 'corrupt' | 'mismatch', words: RegExp) => (error: unknown) => {
  assert(error instanceof OperatingError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, words);
  return true;
};
const notOfTheseBytes = fails('corrupt', /its signature .* is not of these bytes/);

/** Registers a test for each type of key. */
export function testMatrix(where: string): void {
  let folder = '';
  const image = randomBytes(5000);
  const flippedSignature = (text: string) =>
    flipped(Buffer.from(text, 'base64')).toString('base64');

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'siphon-signers-'));
    await writeFile(path.join(folder, 'image'), image);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const signerOf = async (type: SignatureKeyType, which: number): Promise<Signer> => {
    const signer = await makeSigner(folder, type, `${type}-${which}`);
    await copyFile(signer.certificate, path.join(folder, `${uuidOf(type, which)}.pem`));
    return signer;
  };

  for (const type of SIGNATURE_KEY_TYPES) {
    test(`${where}: ${type} with every hash`, async () => {
      const signer = await signerOf(type, 0);
      await signerOf(type, 1);
      for (const method of HASH_METHODS) {
        const signature = await signFile(signer, method, path.join(folder, 'image'));
        const said = signedProperties(type, method, signature, uuidOf(type, 0));
        const { verification } = await verifyIn(folder, said, image);
        const by = [{ what: 'signature', keyType: type, certificate: uuidOf(type, 0) }];
        assert.deepEqual(verification, { kind: 'verified', by });
        await assert.rejects(verifyIn(folder, said, flipped(image)), notOfTheseBytes);
        await assert.rejects(verifyIn(folder, said, image.subarray(1)), notOfTheseBytes);
        for (const wrong of [
          { img_signature: flippedSignature(signature) },
          { img_signature: randomBytes(64).toString('base64') },
          { img_signature_certificate_uuid: uuidOf(type, 1) },
          { img_signature_hash_method: HASH_METHODS.find((each) => each !== method) },
        ]) {
          const changed = { ...said, ...wrong } as SourceProperties;
          await assert.rejects(verifyIn(folder, changed, image), notOfTheseBytes);
        }
        for (const other of SIGNATURE_KEY_TYPES.filter((each) => each !== type)) {
          const claimed = { ...said, img_signature_key_type: other };
          const wrongKey = fails('mismatch', new RegExp(`the certificate's key is .*not ${other}`));
          await assert.rejects(verifyIn(folder, claimed, image), wrongKey);
        }
      }
    });
  }
}
