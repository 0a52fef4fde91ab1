// What the hashes' outcomes mean, against signatures of the openssl command and of node:crypto.

import assert from 'node:assert/strict';
import { constants, createHash, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { hashJobs, judge, openHasher } from '../../../src/trust/verify.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { ExpectedSignature, VerificationPlan } from '../../../src/wire/verification-plan.ts';
import { DIGEST_ALGORITHMS } from '../../../src/wire/vocabulary.ts';

const read = (name: string) => readFileSync(path.join(import.meta.dirname, 'fixtures', name));
const IMAGE = read('image.bin');

/** Runs a plan over bytes, fed in two pieces. */
function check(plan: VerificationPlan, bytes: Buffer) {
  const outcomes = hashJobs(plan, true).map((job) => {
    const hasher = openHasher(job);
    for (const part of [bytes.subarray(0, 7), bytes.subarray(7)]) hasher.update(part);
    return hasher.finish();
  });
  return judge(plan, outcomes, 'the source');
}

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1]! ^= 1;
  return copy;
}

function isCorrupt(words: RegExp) {
  return (error: unknown) => {
    assert(error instanceof OperatingError);
    assert.equal(error.code, 'corrupt');
    assert.match(error.message, words);
    return true;
  };
}

function expected(
  certificate: string,
  signature: string,
  more: Pick<ExpectedSignature, 'keyType' | 'hash'>,
): ExpectedSignature {
  const { publicKey } = new X509Certificate(read(certificate));
  const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' });
  return { ...more, signature: read(signature).toString(), publicKeyPem, certificate: 'U' };
}

test('nothing to check: unverified, and no hash but where there is no table', () => {
  assert.deepEqual(check({ digests: [] }, IMAGE), {
    digests: {},
    verification: { kind: 'unverified' },
  });
  assert.deepEqual(hashJobs({ digests: [] }, false), [{ kind: 'digest', algorithm: 'sha256' }]);
});

test('digests: right, wrong, and one of two wrong', () => {
  const right = {
    algorithm: 'sha512',
    hex: createHash('sha512').update(IMAGE).digest('hex'),
    from: 'operator',
  } as const;
  const { verification } = check({ digests: [right] }, IMAGE);
  assert.deepEqual(verification, {
    kind: 'verified',
    by: [{ what: 'digest', algorithm: 'sha512', from: 'operator' }],
  });
  assert.throws(
    () => check({ digests: [right] }, flipped(IMAGE)),
    isCorrupt(/sha512 is \w{128} as read, but the operator says \w{128}/),
  );
  const wrong = { algorithm: 'sha256', hex: '0'.repeat(64), from: 'properties' } as const;
  const says = (who: string) => isCorrupt(new RegExp(`is \\w{64} as read, but ${who} says 0{64}`));
  const digests = [right, wrong];
  assert.throws(() => check({ digests }, IMAGE), says('the record beside the image'));
  const given = { digests, propertiesFrom: 'file' } as const;
  assert.throws(() => check(given, IMAGE), says('the properties file'));
});

test('every digest has to be right; MD5 and SHA-1 prove nothing', () => {
  for (const algorithm of DIGEST_ALGORITHMS) {
    const hex = createHash(algorithm).update(IMAGE).digest('hex');
    const plan = { digests: [{ algorithm, hex, from: 'properties' } as const] };
    const { digests, verification } = check(plan, IMAGE);
    assert.equal(digests[algorithm], hex);
    const isWeak = algorithm === 'md5' || algorithm === 'sha1';
    assert.equal(verification.kind, isWeak ? 'unverified' : 'verified');
    const words = new RegExp(`${algorithm} is \\w+ as read, but the record beside the image says`);
    assert.throws(() => check(plan, flipped(IMAGE)), isCorrupt(words));
  }
});

for (const signature of [
  expected('rsa.pem', 'rsa-pss-sha256.b64', { keyType: 'RSA-PSS', hash: 'sha256' }),
  expected('secp384r1.pem', 'secp384r1-sha512.b64', { keyType: 'ECC_SECP384R1', hash: 'sha512' }),
]) {
  test(`${signature.keyType} as the openssl command signs it`, () => {
    const plan = { digests: [], signature };
    assert.deepEqual(check(plan, IMAGE).verification, {
      kind: 'verified',
      by: [{ what: 'signature', keyType: signature.keyType, certificate: 'U' }],
    });
    assert.throws(
      () => check(plan, flipped(IMAGE)),
      isCorrupt(/signature \(.*certificate U\) is not of these bytes/),
    );
    const broken = flipped(Buffer.from(signature.signature, 'base64')).toString('base64');
    assert.throws(
      () => check({ digests: [], signature: { ...signature, signature: broken } }, IMAGE),
      isCorrupt(/signature/),
    );
  });
}

test('RSA-PSS of every hash, with the shortest and the longest salt; PKCS#1 v1.5 is none', () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' });
  const planFor = (hash: ExpectedSignature['hash'], bytes: Buffer) =>
    ({
      digests: [],
      signature: {
        keyType: 'RSA-PSS',
        hash,
        signature: bytes.toString('base64'),
        publicKeyPem,
        certificate: 'U',
      },
    }) as const;
  for (const hash of ['sha224', 'sha256', 'sha384', 'sha512'] as const) {
    for (const saltLength of [
      0,
      constants.RSA_PSS_SALTLEN_DIGEST,
      constants.RSA_PSS_SALTLEN_MAX_SIGN,
    ]) {
      const key = { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
      assert.equal(
        check(planFor(hash, sign(hash, IMAGE, key)), IMAGE).verification.kind,
        'verified',
      );
    }
  }
  assert.throws(
    () => check(planFor('sha256', sign('sha256', IMAGE, privateKey)), IMAGE),
    isCorrupt(/signature/),
  );
});
