// Manifests: what one says is believed by the word of a key that counts, and whatever else it may be has a name.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { dsse } from '@sigstore/core';
import fc from 'fast-check';
import { PAYLOAD_TYPE } from '../../../../src/trust/manifest/envelope.ts';
import { keyIdOf, signBytes, whyNotOurs } from '../../../../src/trust/manifest/keys.ts';
import {
  readManifest,
  signManifest,
  trustManifest,
} from '../../../../src/trust/manifest/manifest.ts';
import { encodeStatement, whyNoClaim } from '../../../../src/trust/manifest/statement.ts';
import { manifestKeys } from '../../../../src/trust/manifest-folder.ts';
import { type ErrorCode, OperatingError } from '../../../../src/wire/errors.ts';
import { MANIFEST_BYTES_MAX } from '../../../../src/wire/verification-plan.ts';
import { CHUNK, keysOf, opensslKey, sparse, tableOf } from '../../../support/manifests.ts';

const RUNS = process.env['SIPHON_SOAK'] === undefined ? 1000 : 100_000;
const SOURCE = 'rbd:images/base@v1';
const content = sparse(10 * CHUNK + 7, [0, 3, 10]);
const table = tableOf(content);
const source = { subject: SOURCE, sizeBytes: content.length };
const ed = opensslKey('ed25519');
const ec = opensslKey('p256');
const text = signManifest(table, { name: 'base', version: '1.2' }, ed.privateKey);
const keys = keysOf([ed.publicKey]);

type Envelope = {
  payloadType: string;
  payload: string;
  signatures: { keyid: string; sig: string }[];
};

/** The envelope with a change of it. */
function changed(change: (envelope: Envelope) => unknown): Buffer {
  const envelope = JSON.parse(text) as Envelope;
  change(envelope);
  return Buffer.from(JSON.stringify(envelope));
}

/** With another statement, rightly signed. */
function restated(change: (statement: Statement) => unknown): Buffer {
  const statement = JSON.parse(encodeStatement(table, {}).toString()) as Statement;
  const other = change(statement) ?? statement;
  return sealed(Buffer.from(typeof other === 'string' ? other : JSON.stringify(other)));
}
interface Statement {
  [key: string]: unknown;
  subject: { digest: { sha256: string } }[];
  predicate: { sizeBytes: unknown; chunkBytes: unknown; table: string; [key: string]: unknown };
}

function sealed(payload: Buffer, key = ed): Buffer {
  const signature = signBytes(dsse.preAuthEncoding(PAYLOAD_TYPE, payload), key.privateKey);
  return changed((envelope) => {
    envelope.payload = payload.toString('base64');
    envelope.signatures = [{ keyid: key.id, sig: signature.toString('base64') }];
  });
}

function assertRefused(bytes: Uint8Array, code: ErrorCode, words: RegExp, by = keys): void {
  assert.throws(
    () => trustManifest(bytes, by, source),
    (error) => {
      assert.ok(error instanceof OperatingError, String(error));
      assert.deepEqual([error.code, error.subject], [code, SOURCE], error.message);
      assert.match(error.message, words);
      return true;
    },
  );
}

for (const key of [ed, ec]) {
  const kind = String(key.privateKey.asymmetricKeyType);
  test(`${kind}: what siphon signs by a key of openssl's is believed, and openssl agrees`, () => {
    const signed = signManifest(table, { name: 'base' }, key.privateKey);
    const manifest = trustManifest(Buffer.from(signed), keysOf([key.publicKey]), source);
    assert.deepEqual(manifest.table.bytes, table.bytes);
    assert.deepEqual([manifest.keyId, manifest.claims], [key.id, { name: 'base' }]);
    assert.equal(keyIdOf(key.privateKey), key.id);
    const { payload, signatures } = JSON.parse(signed) as Envelope;
    const folder = mkdtempSync(path.join(tmpdir(), 'siphon-'));
    try {
      const [file, sig, pem] = ['signed', 'sig', 'key.pem'].map((name) => path.join(folder, name));
      const type = `DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE}`;
      const bytes = Buffer.from(payload, 'base64');
      writeFileSync(file!, Buffer.concat([Buffer.from(`${type} ${bytes.length} `), bytes]));
      writeFileSync(sig!, Buffer.from(signatures[0]!.sig, 'base64'));
      writeFileSync(pem!, key.publicKey.export({ type: 'spki', format: 'pem' }));
      const how = kind === 'ec' ? ['-digest', 'sha256'] : [];
      const args = ['-verify', '-rawin', ...how, '-pubin', '-inkey', pem!, '-in', file!];
      const said = execFileSync('openssl', ['pkeyutl', ...args, '-sigfile', sig!]).toString();
      assert.match(said, /Verified Successfully/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}

test("the statement is in-toto's, and names the table by its digest", () => {
  const statement = JSON.parse(encodeStatement(table, { version: '2' }).toString()) as Statement;
  assert.equal(statement['_type'], 'https://in-toto.io/Statement/v1');
  assert.deepEqual(statement.subject, [{ digest: { sha256: table.sha256 } }]);
  const base64 = table.bytes.toString('base64');
  const [sizeBytes, chunkBytes] = [content.length, CHUNK];
  assert.deepEqual(statement.predicate, { version: '2', sizeBytes, chunkBytes, table: base64 });
});

test('nobody signs for it but a key that counts', () => {
  assertRefused(
    Buffer.from(text),
    'refused',
    new RegExp(`key ${ed.id}, which is not trusted`),
    keysOf([]),
  );
  assertRefused(
    Buffer.from(text),
    'refused',
    new RegExp(`${ed.id}, which is revoked`),
    keysOf([ed.publicKey], [ed.id]),
  );
  const forged = changed((envelope) => (envelope.signatures[0]!.keyid = ec.id));
  assertRefused(
    forged,
    'corrupt',
    new RegExp(`not the one of key ${ec.id}`),
    keysOf([ec.publicKey]),
  );
});

test('of several signatures a trusted good one is enough; a revoked key is named', () => {
  const other = JSON.parse(signManifest(table, { name: 'base', version: '1.2' }, ec.privateKey));
  const both = changed((envelope) => envelope.signatures.push(...(other as Envelope).signatures));
  for (const [trusted, keyId] of [
    [ed, ed.id],
    [ec, ec.id],
  ] as const)
    assert.equal(trustManifest(both, keysOf([trusted.publicKey]), source).keyId, keyId);
  const revoked = keysOf([ed.publicKey, ec.publicKey], [ed.id]);
  assert.equal(trustManifest(both, revoked, source).keyId, ec.id);
  assertRefused(both, 'refused', new RegExp(`${ed.id}, which is revoked`), keysOf([], [ed.id]));
});

test('another size, an impossible one, a swapped table', () => {
  const larger = { ...source, sizeBytes: content.length + 1 };
  assert.throws(
    () => trustManifest(Buffer.from(text), keys, larger),
    /of other content: of \d+ bytes/,
  );
  for (const sizeBytes of [0, -1, 1.5, 2 ** 53, 1e300, '1', null])
    assertRefused(
      restated((s) => void (s.predicate.sizeBytes = sizeBytes)),
      'corrupt',
      /sizeBytes/,
    );
  const impossible = restated((s) => void (s.predicate.sizeBytes = 0));
  assertRefused(impossible, 'corrupt', /not a manifest.*impossible size/);
  assertRefused(
    restated((s) => void (s.predicate.sizeBytes = 99)),
    'corrupt',
    /of other sizes/,
  );
  assertRefused(
    restated((s) => void (s.predicate.chunkBytes = 2 * CHUNK)),
    'corrupt',
    /of other sizes/,
  );
  const swapped = tableOf(sparse(content.length, [0, 4, 10])).bytes.toString('base64');
  assertRefused(
    restated((s) => void (s.predicate.table = swapped)),
    'corrupt',
    /its table is another/,
  );
  assertRefused(
    restated((s) => void (s.predicate.table = 'AAAA')),
    'corrupt',
    /its table: it is cut off/,
  );
  assertRefused(
    restated((s) => void (s.predicate.table += ' ')),
    'corrupt',
    /table is not base64/,
  );
});

test('what is no manifest is told to be none', () => {
  const none: readonly (readonly [Uint8Array, RegExp])[] = [
    [Buffer.alloc(0), /not JSON/],
    [Buffer.from('{}'), /no DSSE envelope/],
    [Buffer.from('[1]'), /no DSSE envelope/],
    [Buffer.from([0xff, 0xfe]), /not JSON/],
    [Buffer.from(text.slice(0, -1)), /not JSON/],
    [Buffer.from('['.repeat(100_000)), /deeper than 16/],
    [Buffer.from(`[${'0,'.repeat(100_000)}0]`), /more than 1000 values/],
    [Buffer.alloc(MANIFEST_BYTES_MAX + 1, 32), /more than \d+ bytes/],
    [changed((e) => (e.payloadType = 'text/plain')), /payloadType/],
    [changed((e) => (e.payload += '\n')), /payload is not base64/],
    [changed((e) => (e.signatures = [])), /signatures/],
    [changed((e) => (e.signatures = Array(9).fill(e.signatures[0]))), /signatures/],
    [changed((e) => (e.signatures[0]!.keyid = '')), /keyid/],
    [changed((e) => (e.signatures[0]!.sig = '?')), /signature is not base64/],
    [changed((e) => Object.assign(e, { more: 1 })), /no DSSE envelope/],
    [restated(() => 'x'), /its payload: it is not JSON/],
    [restated((s) => void (s['_type'] = 'https://in-toto.io/Statement/v0.1')), /_type/],
    [
      restated((s) => void (s['predicateType'] = 'https://slsa.dev/provenance/v1')),
      /predicateType/,
    ],
    [restated((s) => void s.subject.push(s.subject[0]!)), /subject/],
    [restated((s) => void (s.predicate['name'] = 'a\u001b[0m')), /predicate.name.*control/],
    [restated((s) => void (s.predicate['name'] = 'a'.repeat(257))), /predicate.name/],
    [restated((s) => void (s.predicate['extra'] = 1)), /predicate/],
  ];
  for (const [bytes, words] of none) {
    assertRefused(bytes, 'corrupt', words);
    assertRefused(bytes, 'corrupt', /not a manifest/);
  }
  assert.equal(whyNoClaim('1.2-rc1'), undefined);
  assert.match(String(whyNoClaim('a\nb')), /control character/);
});

test('any bit of it that is another is told', () => {
  const bytes = Buffer.from(text);
  fc.assert(
    fc.property(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 7 }), (at, bit) => {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1 << bit;
      assert.throws(() => trustManifest(flipped, keys, source), OperatingError);
    }),
    { numRuns: 500 },
  );
});

test('whatever comes, it is a manifest or an error that says why', () => {
  const bytes = Buffer.from(text);
  const mutated = fc
    .array(fc.tuple(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 })), { maxLength: 5 })
    .map((changes) => {
      const copy = Buffer.from(bytes);
      for (const [at, to] of changes) copy[at] = to;
      return copy;
    });
  const json = fc.json({ maxDepth: 20 }).map((found) => Buffer.from(found));
  const inner = fc.json().map((found) => sealed(Buffer.from(found)));
  const random = fc.uint8Array({ maxLength: 500 });
  fc.assert(
    fc.property(fc.oneof(mutated, json, inner, random), (given) => {
      try {
        readManifest(given, SOURCE);
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        assert.match(error.message, /not a manifest/);
      }
    }),
    { numRuns: RUNS },
  );
});

test('the trust folder: public keys of two kinds by their ids, and those that are revoked', async () => {
  const trust = mkdtempSync(path.join(tmpdir(), 'siphon-'));
  const folder = path.join(trust, 'manifest-keys');
  mkdirSync(folder);
  mkdirSync(path.join(trust, 'revoked'));
  const write = (name: string, what: string | Buffer) =>
    writeFileSync(path.join(folder, name), what);
  const pemOf = (key: typeof ed) => key.publicKey.export({ type: 'spki', format: 'pem' });
  const rejects = (words: RegExp) =>
    assert.rejects(manifestKeys(trust), { code: 'corrupt', message: words });
  try {
    write('owner.pem', pemOf(ed));
    write('second.pem', pemOf(ec));
    write('README', 'not a key');
    write(`../revoked/${ec.id}`, 'lost');
    const found = await manifestKeys(trust);
    assert.deepEqual([...found.trusted.keys()].toSorted(), [ed.id, ec.id].toSorted());
    assert.deepEqual([[...found.revoked], found.folder], [[ec.id], folder]);
    write('third.pem', pemOf(opensslKey('p384')));
    await rejects(/third\.pem.*secp384r1/);
    write('third.pem', ed.pem);
    await rejects(/it is a private key/);
    write('third.pem', 'hello');
    await rejects(/no public key in PEM/);
  } finally {
    rmSync(trust, { recursive: true });
  }
  assert.deepEqual((await manifestKeys(trust)).trusted.size, 0);
  assert.match(String(whyNotOurs(opensslKey('p384').publicKey)), /secp384r1/);
});
