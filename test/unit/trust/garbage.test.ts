// Whatever stands in properties and in files of the trust folder: an answer, or an error that names it; no crash, and no hang.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { parseCertificates } from '../../../src/trust/certificate.ts';
import { judgeChain, NO_TRUST } from '../../../src/trust/chain.ts';
import { parseCrls } from '../../../src/trust/crl.ts';
import { planVerification } from '../../../src/trust/plan.ts';
import { toUuid } from '../../../src/trust/plan-signature.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { SIGNATURE_KEY_TYPES } from '../../../src/wire/verification-plan.ts';
import { DIGEST_ALGORITHMS, type SourceProperties } from '../../../src/wire/vocabulary.ts';
import { CA, makeCrl, makeHolder, SIGNER } from '../../support/authorities.ts';
import { bounded, changed, changes, RUNS, RUNS_NAME } from '../../support/mutations.ts';
import { HASH_METHODS } from '../../support/signers.ts';

let folder = '';
let certificate: Buffer;
let chain: Buffer;
let crl: Buffer;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'siphon-garbage-'));
  const root = await makeHolder(folder, 'root', { extensions: CA(1) });
  const signer = await makeHolder(folder, 'signer', { issuer: root, extensions: SIGNER });
  certificate = await readFile(signer.certificate);
  chain = Buffer.concat([certificate, await readFile(root.certificate)]);
  crl = await makeCrl(folder, root, { revoked: [1, 2, 300, 70_000] });
});
after(() => rm(folder, { recursive: true, force: true }));

const derOf = (pem: Buffer): Buffer =>
  Buffer.from(pem.toString().replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');

const garbage = fc.uint8Array({ maxLength: 600 });

function judgeAll(bytes: Uint8Array): void {
  const found = parseCertificates(bytes);
  if (found.kind === 'none') return assert.notEqual(found.why, '');
  const [one, ...more] = found.all;
  for (const isChainNeeded of [true, false]) {
    const trust = { ...NO_TRUST, anchors: more, intermediates: found.all, isChainNeeded };
    judgeChain(one, more, trust, Date.now());
  }
}

test(`certificates, PEM and DER, one and several: ${RUNS_NAME}`, () => {
  const made = fc.oneof(
    garbage,
    fc.tuple(fc.constantFrom(0, 1, 2), changes).map(([which, all]) => {
      return changed([certificate, derOf(certificate), chain][which] as Buffer, all);
    }),
  );
  fc.assert(
    fc.property(made, (bytes) => bounded(() => judgeAll(bytes))),
    RUNS,
  );
});

test(`CRLs: ${RUNS_NAME}`, () => {
  const made = fc.oneof(
    garbage,
    changes.map((all) => changed(crl, all)),
  );
  fc.assert(
    fc.property(made, (bytes) => {
      const found = bounded(() => parseCrls(bytes));
      if (found.kind === 'none') return assert.notEqual(found.why, '');
      for (const each of found.all) assert.ok(Number.isFinite(each.thisUpdateMs));
    }),
    RUNS,
  );
});

test('what is nested deep, repeated, or long is refused soon', () => {
  const begin = '-----BEGIN CERTIFICATE-----\n';
  const bombs = [
    Buffer.alloc(200_000, Buffer.from([0x30, 0x80])),
    nested(20_000),
    Buffer.from(begin.repeat(9000)),
    Buffer.from(`${begin}${'A'.repeat(200_000)}\n-----END CERTIFICATE-----\n`),
    Buffer.concat(Array.from({ length: 60 }, () => certificate)),
    Buffer.alloc(9 * 2 ** 20, 0x30),
  ];
  for (const each of bombs) {
    bounded(() => judgeAll(each));
    bounded(() => parseCrls(each));
  }
});

/** Sequences in sequences. */
function nested(depth: number): Buffer {
  const heads: Buffer[] = [];
  let length = 0;
  for (let at = 0; at < depth; at += 1) {
    const head = Buffer.from([0x30, 0x83, length >> 16, (length >> 8) & 255, length & 255]);
    heads.push(head);
    length += head.length;
  }
  return Buffer.concat(heads.toReversed());
}

const UUID = 'fd0cb2f1-8375-44c9-b1f4-3e1f4c4a8ef0';
const anyText = fc.oneof(
  fc.string({ maxLength: 60, unit: 'binary' }),
  fc.base64String({ maxLength: 80 }),
  fc.stringMatching(/^[0-9a-f]{30,130}$/),
  fc.constantFrom('', UUID, ...HASH_METHODS, ...SIGNATURE_KEY_TYPES, ...DIGEST_ALGORITHMS, 'raw'),
  fc.constantFrom('__proto__', 'constructor', '../../etc/shadow', '\0', '///', 'YQ==', 'None'),
);

test(`properties: ${RUNS_NAME}`, async () => {
  const optional = anyText.map((text) => text);
  const properties = fc.record(
    {
      disk_format: optional,
      checksum: optional,
      os_hash_algo: optional,
      os_hash_value: optional,
      img_signature: optional,
      img_signature_hash_method: optional,
      img_signature_key_type: optional,
      img_signature_certificate_uuid: optional,
    },
    { requiredKeys: [] },
  );
  const asked = new Set<string>();
  const findCertificate = async (uuid: string) => {
    asked.add(uuid);
    return certificate;
  };
  await fc.assert(
    fc.asyncProperty(properties, async (said) => {
      const request = { properties: said as SourceProperties, findCertificate, now: Date.now() };
      try {
        const plan = await planVerification(request);
        for (const { hex } of plan.digests) assert.match(hex, /^[0-9a-f]{32,128}$/);
      } catch (error) {
        assert(error instanceof OperatingError, String(error));
        assert.ok(
          ['usage', 'refused', 'mismatch', 'not-found'].includes(error.code),
          error.message,
        );
      }
    }),
    RUNS,
  );
  for (const uuid of asked) assert.match(uuid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});

test(`UUIDs: ${RUNS_NAME}`, () => {
  const near = fc
    .tuple(fc.constantFrom(UUID, UUID.replaceAll('-', ''), UUID.toUpperCase()), changes)
    .map(([text, all]) => changed(Buffer.from(text), all).toString());
  fc.assert(
    fc.property(fc.oneof(anyText, near, fc.uuid()), (text) => {
      const uuid = toUuid(text);
      if (uuid === undefined) return;
      assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
      assert.equal(uuid.replaceAll('-', ''), text.toLowerCase().replaceAll('-', ''));
    }),
    RUNS,
  );
});
