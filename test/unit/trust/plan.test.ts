// What a fill must check, decided from what the operator and the source's properties say.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { PlanRequest } from '../../../src/trust/plan.ts';
import { planVerification } from '../../../src/trust/plan.ts';
import { certificateFolder } from '../../../src/trust/trust-folder.ts';
import type { ErrorCode } from '../../../src/wire/errors.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { SourceProperties } from '../../../src/wire/vocabulary.ts';

const FIXTURES = path.join(import.meta.dirname, 'fixtures');
const UUID = 'fd0cb2f1-8375-44c9-b1f4-3e1f4c4a8ef0';
const NOW = Date.parse('2030-01-01T00:00:00Z');
const SHA256 = 'ab'.repeat(32);
const SHA512 = 'cd'.repeat(64);
const fixture = (name: string) => readFileSync(path.join(FIXTURES, name), 'utf8');

const SIGNED: SourceProperties = {
  img_signature: fixture('rsa-pss-sha256.b64'),
  img_signature_hash_method: 'SHA-256',
  img_signature_key_type: 'RSA-PSS',
  img_signature_certificate_uuid: UUID,
};

function plan(
  properties: SourceProperties,
  more: Partial<PlanRequest> = {},
  certificate = 'rsa.pem',
) {
  const findCertificate = async (uuid: string) =>
    uuid === UUID ? fixture(certificate) : undefined;
  return planVerification({ properties, findCertificate, now: NOW, ...more });
}

async function refuses(code: ErrorCode, words: RegExp, planned: Promise<unknown>): Promise<void> {
  await assert.rejects(planned, (error) => {
    assert(error instanceof OperatingError);
    assert.equal(error.code, code, error.message);
    assert.match(`${error.message} ${error.hint}`, words);
    return true;
  });
}

const MD5 = 'd41d8cd98f00b204e9800998ecf8427e';

test('nothing given, nothing planned', async () => {
  assert.deepEqual(await plan({}), { digests: [] });
  assert.deepEqual(await plan({ checksum: '', os_hash_algo: '', os_hash_value: '' }), {
    digests: [],
  });
  assert.deepEqual(await planVerification({ findCertificate: async () => undefined, now: NOW }), {
    digests: [],
  });
});

test('an image that is not active is not filled, whatever else is said of it', async () => {
  assert.deepEqual(await plan({ status: 'active' }), { digests: [] });
  await refuses('refused', /the image is deactivated.*--property/, plan({ status: 'deactivated' }));
  const operator = { sha256: SHA256 };
  await refuses('refused', /status is deleted/, plan({ status: 'deleted' }, { operator }));
});

test('digests of the operator and of the properties, in lower case', async () => {
  const operator = { sha256: SHA256.toUpperCase() };
  const planned = await plan({ os_hash_algo: 'sha512', os_hash_value: SHA512 }, { operator });
  assert.deepEqual(planned.digests, [
    { algorithm: 'sha256', hex: SHA256, from: 'operator' },
    { algorithm: 'sha512', hex: SHA512, from: 'properties' },
  ]);
});

test('a digest that is none, half a hash, or one that cannot be computed is not passed over', async () => {
  for (const sha256 of ['', 'ab', `${SHA256}0`, `${SHA256.slice(1)}g`]) {
    await refuses('usage', /64 hexadecimal/, plan({}, { operator: { sha256 } }));
  }
  await refuses('usage', /os_hash_value is missing/, plan({ os_hash_algo: 'sha512' }));
  await refuses('usage', /os_hash_algo is missing/, plan({ os_hash_value: SHA512 }));
  for (const os_hash_algo of ['blake2b', 'sha3_256', 'SHA-256', 'toString']) {
    const planned = plan({ os_hash_algo, os_hash_value: SHA256 });
    await refuses('refused', new RegExp(`'${os_hash_algo}' is not supported: sha256`), planned);
  }
  await refuses('usage', /checksum: a md5 digest is 32 hex/, plan({ checksum: SHA256 }));
  await refuses(
    'usage',
    /128 hexadecimal/,
    plan({ os_hash_algo: 'sha512', os_hash_value: SHA256 }),
  );
});

test('what Glance may carry: every algorithm of its own, and its older MD5', async () => {
  const lengths = { sha256: 64, sha512: 128, sha224: 56, sha384: 96, sha1: 40, md5: 32 };
  for (const [algorithm, length] of Object.entries(lengths)) {
    const os_hash_value = 'd'.repeat(length);
    const { digests } = await plan({ os_hash_algo: algorithm, os_hash_value });
    assert.deepEqual(digests, [{ algorithm, hex: os_hash_value, from: 'properties' }]);
  }
  const both = await plan({ os_hash_algo: 'sha512', os_hash_value: SHA512, checksum: MD5 });
  assert.deepEqual(
    both.digests.map((each) => [each.algorithm, each.from]),
    [
      ['sha512', 'properties'],
      ['md5', 'properties'],
    ],
  );
  const torn = { os_hash_algo: 'md5', os_hash_value: 'ab'.repeat(16), checksum: MD5 };
  await refuses('mismatch', /os_hash_value says (ab)+, checksum says d41d/, plan(torn));
});

test('two digests that cannot both be right are found out before a byte moves', async () => {
  const properties = { os_hash_algo: 'sha256', os_hash_value: SHA256 };
  assert.equal((await plan(properties, { operator: { sha256: SHA256 } })).digests.length, 2);
  await refuses(
    'mismatch',
    /the operator says/,
    plan(properties, { operator: { sha256: 'cd'.repeat(32) } }),
  );
});

test('the declared format', async () => {
  assert.equal((await plan({ disk_format: 'qcow2' })).declaredFormat, 'qcow2');
  assert.equal((await plan({ disk_format: 'raw' })).declaredFormat, 'raw');
  await refuses('refused', /'vmdk' is not supported/, plan({ disk_format: 'vmdk' }));
});

test('a signature is planned with its key', async () => {
  const { signature } = await plan(SIGNED);
  assert(signature);
  assert.equal(signature.hash, 'sha256');
  assert.equal(signature.certificate, UUID);
  assert.match(signature.publicKeyPem, /^-----BEGIN PUBLIC KEY-----/);
  const packed = {
    ...SIGNED,
    img_signature_certificate_uuid: UUID.replaceAll('-', '').toUpperCase(),
  };
  assert.equal((await plan(packed)).signature?.certificate, UUID, 'as OpenStack may write it');
});

test('half a signature names the missing half', async () => {
  for (const missing of Object.keys(SIGNED) as (keyof SourceProperties)[]) {
    const { [missing]: _, ...rest } = SIGNED;
    await refuses('usage', new RegExp(`: ${missing} missing`), plan(rest));
  }
});

test('what cannot be checked here is named', async () => {
  await refuses(
    'refused',
    /'SHA-1' is not/,
    plan({ ...SIGNED, img_signature_hash_method: 'SHA-1' }),
  );
  await refuses(
    'refused',
    /'toString' is not/,
    plan({ ...SIGNED, img_signature_hash_method: 'toString' }),
  );
  for (const type of ['RSA-PKCS1', 'ECC_SECP256R1', 'ecc_secp384r1', 'constructor']) {
    const planned = plan({ ...SIGNED, img_signature_key_type: type });
    await refuses('refused', new RegExp(`'${type}' is not supported: RSA-PSS, DSA,`), planned);
  }
  for (const img_signature of ['///', 'ab$d', 'YWJj\0', 'YQ=']) {
    await refuses('usage', /not base64/, plan({ ...SIGNED, img_signature }));
  }
});

test('only a UUID is looked for', async () => {
  const asked: string[] = [];
  const findCertificate = async (uuid: string) => {
    asked.push(uuid);
    return undefined;
  };
  for (const uuid of ['../../etc/shadow', `${UUID}/..`, `${UUID}\n`, 'x']) {
    const properties = { ...SIGNED, img_signature_certificate_uuid: uuid };
    await refuses('usage', /is not a UUID/, plan(properties, { findCertificate }));
  }
  assert.deepEqual(asked, []);
});

test('no certificate, no fill: and where to put it', async () => {
  const uuid = UUID.replace('f', 'a');
  const planned = plan({ ...SIGNED, img_signature_certificate_uuid: uuid });
  await refuses('not-found', new RegExp(`as ${uuid}\\.pem`), planned);
  const garbage = { findCertificate: async () => 'not a certificate' };
  await refuses('corrupt', /not an X\.509/, plan(SIGNED, garbage));
});

test('a certificate counts between its dates only', async () => {
  await refuses(
    'refused',
    /not valid before 20\d\d-/,
    plan(SIGNED, { now: Date.parse('2020-01-01') }),
  );
  await refuses('refused', /expired at 21\d\d-/, plan(SIGNED, { now: Date.parse('2200-01-01') }));
});

test('the key must be of the type and on the curve that the properties name', async () => {
  const ec = {
    ...SIGNED,
    img_signature: fixture('secp384r1-sha512.b64'),
    img_signature_key_type: 'ECC_SECP384R1',
  };
  assert.equal((await plan(ec, {}, 'secp384r1.pem')).signature?.keyType, 'ECC_SECP384R1');
  await refuses('mismatch', /key is ec prime256v1, not ECC_SECP384R1/, plan(ec, {}, 'p256.pem'));
  await refuses('mismatch', /key is rsa 2048, not ECC_SECP384R1/, plan(ec, {}, 'rsa.pem'));
  await refuses('mismatch', /key is ec secp384r1, not RSA-PSS/, plan(SIGNED, {}, 'secp384r1.pem'));
  const other = { ...ec, img_signature_key_type: 'ECC_SECP521R1' };
  await refuses('mismatch', /ec secp384r1, not ECC_SECP521R1/, plan(other, {}, 'secp384r1.pem'));
});

test('the trust folder gives UUID.pem, nothing where there is none, and says why it could not', async () => {
  assert.match(String(await certificateFolder(FIXTURES)('rsa')), /BEGIN CERTIFICATE/);
  assert.equal(await certificateFolder(FIXTURES)(UUID), undefined);
  await assert.rejects(
    certificateFolder(`${FIXTURES}/rsa.pem`)(UUID),
    /read certificate: .*ENOTDIR/,
  );
});
