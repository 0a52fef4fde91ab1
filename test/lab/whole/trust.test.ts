// Who may sign images, on the installed siphond: chains, CRLs and rules by `siphon trust` and the config; and all that may be wrong
// with a signed image, of which nothing is left but what is in quarantine.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { before, describe, test } from 'node:test';
import type { JobsAnswer, StatusAnswer } from '../../../src/wire/api.ts';
import type { TrustAnswer } from '../../../src/wire/trust-api.ts';
import type { Base, SourceProperties } from '../../../src/wire/vocabulary.ts';
import { CA, type Holder, makeCrl, makeHolder, SIGNER } from '../../support/authorities.ts';
import { signedProperties, signFile } from '../../support/signers.ts';
import { becomes, must, run, sh, until } from '../support/host.ts';
import { fileCleanup, freshPool, importSource, rawFile, scratchFolder } from '../support/images.ts';
import { filesOfBases, siphon, siphonJson } from '../support/siphon.ts';

const UUID = '5b4fbcee-4fd5-4a31-9a5a-1a1d4b4e5f0a';
const RULES = '/etc/siphon/conf.d/80-trust.toml';
const TRUST = '/etc/siphon/trust';
const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
const cleanup = fileCleanup();
let pool = '';
let scratch = '';
let root: Holder;
let signer: Holder;
let image = '';
let signed: SourceProperties;
let count = 0;

before(async () => {
  pool = await freshPool(cleanup);
  scratch = await scratchFolder(cleanup);
  cleanup.after(async () => {
    await sh(`rm -rf ${RULES} ${TRUST}/anchors ${TRUST}/crls ${TRUST}/revoked ${TRUST}/*.pem`);
    await must('siphon', 'reload');
    await must('siphon', 'evict', '--quarantined');
  });
  root = await makeHolder(scratch, 'root', { extensions: CA(0) });
  signer = await makeHolder(scratch, 'signer', { issuer: root, extensions: SIGNER, serial: 7 });
  image = await rawFile(`${scratch}/image`, 6, [0, 2, 5], 512);
  await must('siphon', 'trust', 'add', signer.certificate, '--uuid', UUID);
  signed = await signedBy(signer, image);
});

const signedBy = async (by: Holder, file: string, uuid = UUID): Promise<SourceProperties> => {
  const signature = await signFile({ ...by, type: 'ECC_SECP384R1' }, 'SHA-256', file);
  return signedProperties('ECC_SECP384R1', 'SHA-256', signature, uuid);
};
/** Of a file; '': of nothing. */
async function source(file: string): Promise<string> {
  const at = `${pool}/i${(count += 1)}`;
  if (file !== '') return await importSource(file, at);
  await must('rbd', 'create', '--size', '0', at);
  await must('rbd', 'snap', 'create', '--no-progress', `${at}@snap`);
  return `rbd:${at}@snap`;
}

async function rules(text: string): Promise<void> {
  await must('mkdir', '-p', '/etc/siphon/conf.d');
  await writeFile(RULES, text);
  await must('siphon', 'reload');
}

/** A fill with these properties. */
async function warm(from: string, properties: SourceProperties) {
  if (Object.keys(properties).length === 0) return await siphon('warm', '--json', from);
  const file = `${scratch}/properties.json`;
  await writeFile(file, JSON.stringify(properties));
  return await siphon('warm', '--json', '--properties', file, from);
}

/** Outside quarantine. */
const visible = async () => ({
  files: await filesOfBases(),
  bases: (await siphonJson<Base[]>('list')).map((each) => each.id),
});

/** Refused before a byte moved: no job, no file. */
async function refusedAtOnce(from: string, said: SourceProperties, code: number, words: RegExp) {
  const left = async () => ({
    ...(await visible()),
    jobs: (await siphonJson<JobsAnswer['jobs']>('jobs')).map((each) => each.id),
  });
  const before = await left();
  const ran = await warm(from, said);
  assert.equal(ran.code, code, ran.stderr);
  assert.match(ran.stderr, words);
  assert.deepEqual(await left(), before);
}

const status = () => siphonJson<StatusAnswer>('status');

describe('rules', () => {
  test('an image without what they ask for is refused at once, and one that is here is told', async () => {
    const from = await source(image);
    assert.equal((await warm(from, {})).code, 0);
    const { trust } = await status();
    assert.ok(trust.unstated > 0 && trust.unverified >= trust.unstated);
    await rules(`[[trust.rules]]\npools = ["${pool}"]\nrequire = "signature"\n`);
    await refusedAtOnce(await source(image), {}, 5, /trust rule 1 wants a signature/);
    const digest = { os_hash_algo: 'sha256', os_hash_value: 'ab'.repeat(32) };
    await refusedAtOnce(from, digest, 5, /it carries only a digest/);
    await becomes(async () => (await status()).trust.refused, [{ rule: 1, bases: 1 }]);
    const check = await siphon('check');
    assert.deepEqual([check.code, check.stdout.includes('refused now by trust rule 1')], [1, true]);
    const [base] = await verified(await warm(from, signed));
    assert.equal(base?.verification.kind, 'verified');
    assert.deepEqual((await status()).trust.refused, []);
    await rules('[[trust.rules]]\nrequire = "none"\n');
    assert.equal((await status()).trust.unstated, 0);
  });

  test('a disk that looks like another format is taken where it is declared raw, and a rule says so', async () => {
    const file = await rawFile(`${scratch}/luks`, 4, [1]);
    await sh(`printf 'LUKS\\xba\\xbe' | dd of=${file} conv=notrunc status=none`);
    const from = await source(file);
    const raw = { disk_format: 'raw' };
    const refused = await warm(from, raw);
    assert.deepEqual(
      [refused.code, /bytes are luks.*allow_foreign_raw/.test(refused.stderr)],
      [5, true],
    );
    await rules('[[trust.rules]]\nrequire = "none"\nallow_foreign_raw = true\n');
    assert.equal((await warm(from, {})).code, 5);
    assert.equal((await warm(from, raw)).code, 0);
    await rules('[[trust.rules]]\nrequire = "none"\nformats = ["qcow2"]\n');
    await refusedAtOnce(await source(image), raw, 5, /trust rule 1 takes qcow2, and it is raw/);
    const undeclared = await warm(await source(image), {});
    assert.deepEqual([undeclared.code, /takes qcow2/.test(undeclared.stderr)], [5, true]);
    await rules('');
  });
});

async function verified(ran: { code: number; stdout: string; stderr: string }): Promise<Base[]> {
  assert.equal(ran.code, 0, ran.stderr);
  return JSON.parse(ran.stdout) as Base[];
}

type Wrong = readonly [name: string, code: number, words: RegExp, make: () => Promise<Fault>];
interface Fault {
  readonly file?: string;
  readonly properties?: SourceProperties;
}

async function changed(command: string): Promise<Fault> {
  const file = `${scratch}/changed`;
  await must('cp', '--sparse=always', image, file);
  await sh(command.replaceAll('FILE', file));
  return { file };
}
/** One bit. */
const flip = (at: number) =>
  changed(`python3 - <<'E'
f = open('FILE', 'r+b'); f.seek(${at}); b = f.read(1); f.seek(${at}); f.write(bytes([b[0] ^ 4]))
E`);
const MIB = 2 ** 20;
const NOT_OF = /its signature \(ECC_SECP384R1, certificate .*\) is not of these bytes/;

async function other(wish: Parameters<typeof makeHolder>[2], uuid: string): Promise<Fault> {
  const by = await makeHolder(scratch, `by-${uuid}`, wish);
  await must('siphon', 'trust', 'add', by.certificate, '--uuid', uuid, '--replace');
  return { properties: await signedBy(by, image, uuid) };
}

/** Made while the clock was another, for nine days. */
async function ofAnotherTime(offset: string, uuid: string): Promise<Fault> {
  const certificate = `${scratch}/${uuid}.pem`;
  const made = `req -x509 -new -key ${signer.key} -subj /CN=x -days 9 -out ${certificate}`;
  await sh(`LD_PRELOAD=${FAKETIME} FAKETIME=${offset} openssl ${made}`);
  await must('siphon', 'trust', 'add', certificate);
  return { properties: await signedBy(signer, image, uuid) };
}

const uuidOf = (at: number) => UUID.replace(/..$/, String(at + 10));

const WRONGS: readonly Wrong[] = [
  ['a bit at the start', 9, NOT_OF, () => flip(0)],
  ['a bit in the middle', 9, NOT_OF, () => flip(2.5 * MIB)],
  ['the last bit', 9, NOT_OF, () => flip(6 * MIB + 511)],
  ['a bit in a hole', 9, NOT_OF, () => flip(4 * MIB + 7)],
  ['a sector less', 9, NOT_OF, () => changed('truncate -s -512 FILE')],
  ['a sector more', 9, NOT_OF, () => changed('truncate -s +512 FILE')],
  ['nothing at all', 5, /it is empty/, async () => ({ file: '' })],
  [
    'another key',
    9,
    NOT_OF,
    async () => ({
      properties: await signedBy(await makeHolder(scratch, 'x', { extensions: SIGNER }), image),
    }),
  ],
  [
    'the right key on another curve than is named',
    10,
    /key is ec secp384r1, not ECC_SECP521R1/,
    async () => ({ properties: { ...signed, img_signature_key_type: 'ECC_SECP521R1' } }),
  ],
  [
    'a certificate that is over',
    5,
    /the certificate expired at/,
    () => ofAnotherTime('-30d', uuidOf(1)),
  ],
  [
    'a certificate that is not valid yet',
    5,
    /is not valid before/,
    () => ofAnotherTime('+30d', uuidOf(2)),
  ],
  [
    'an issuer between that nobody trusts',
    5,
    /no chain to an anchor/,
    async () => {
      const extensions = CA(0);
      const issuer = await makeHolder(scratch, 'stranger', { extensions });
      return await other({ issuer, extensions: SIGNER }, uuidOf(3));
    },
  ],
  [
    'a chain that is longer than the path length',
    5,
    /allows for 0 authorities below it/,
    async () => {
      const issuer = await makeHolder(scratch, 'between', {
        issuer: root,
        extensions: CA(0),
      });
      await must('cp', issuer.certificate, `${TRUST}/between.pem`);
      return await other({ issuer, extensions: SIGNER }, uuidOf(4));
    },
  ],
  [
    'an authority that states no path length',
    5,
    /states no path length/,
    async () => {
      const issuer = await makeHolder(scratch, 'endless', { extensions: CA() });
      await must('siphon', 'trust', 'add', issuer.certificate, '--anchor');
      return await other({ issuer, extensions: SIGNER }, uuidOf(5));
    },
  ],
  [
    'a certificate that nobody has',
    4,
    /no such certificate/,
    async () => ({ properties: { ...signed, img_signature_certificate_uuid: uuidOf(6) } }),
  ],
  [
    'what is not base64',
    2,
    /plan verification: img_signature: it is not base64/,
    async () => ({ properties: { ...signed, img_signature: '///' } }),
  ],
  [
    'a hash that is none',
    5,
    /'SHA-1' is not supported/,
    async () => ({ properties: { ...signed, img_signature_hash_method: 'SHA-1' } }),
  ],
  [
    'a type of key that is none',
    5,
    /'ECC_SECP256R1' is not supported/,
    async () => ({ properties: { ...signed, img_signature_key_type: 'ECC_SECP256R1' } }),
  ],
  [
    'half of the properties',
    2,
    /img_signature_hash_method, img_signature_key_type missing/,
    async () => {
      const { img_signature = '', img_signature_certificate_uuid = '' } = signed;
      return { properties: { img_signature, img_signature_certificate_uuid } };
    },
  ],
];

describe('with an anchor', () => {
  before(async () => {
    await rules('trust.path_length = "required"\n[[trust.rules]]\nrequire = "signature"\n');
    await must('siphon', 'trust', 'add', root.certificate, '--anchor');
  });

  test('a signer with a chain to it signs', async () => {
    const [base] = await verified(await warm(await source(image), signed));
    const by = [{ what: 'signature', keyType: 'ECC_SECP384R1', certificate: UUID }];
    assert.deepEqual(base?.verification, { kind: 'verified', by });
    const { certificates } = await siphonJson<TrustAnswer>('trust', 'list');
    const chain = ['CN=signer', 'CN=root'];
    const own = certificates.find((each) => each.uuid === UUID);
    assert.deepEqual(own?.verdict, { isTrusted: true, chain });
  });

  for (const [name, code, words, make] of WRONGS) {
    test(`${name}: refused, and nothing is left`, async () => {
      const { file = image, properties = signed } = await make();
      const from = await source(file);
      if (code !== 9 && file === image) return refusedAtOnce(from, properties, code, words);
      const before = await visible();
      const ran = await warm(from, properties);
      assert.equal(ran.code, code, ran.stderr);
      assert.match(ran.stderr, words);
      assert.deepEqual(await visible(), before);
    });
  }

  test('a CRL refuses, an overdue one is told, and a revoked key is refused', async () => {
    const from = await source(image);
    const list = `${scratch}/list.crl`;
    await writeFile(list, await makeCrl(scratch, root, { revoked: [8], seconds: 1 }));
    await must('siphon', 'trust', 'add', list, '--crl');
    await until('it is told as overdue', async () => {
      const { stdout } = await siphon('check');
      return /the CRL of CN=root is overdue since/.test(stdout);
    });
    assert.equal((await warm(from, signed)).code, 0);
    await writeFile(list, await makeCrl(scratch, root, { revoked: [8, 7], days: 9 }));
    await must('siphon', 'trust', 'add', list, '--crl', '--replace');
    const revoked = await source(image);
    await refusedAtOnce(
      revoked,
      signed,
      5,
      /the certificate was revoked by its issuer \(CN=root\)/,
    );
    await must('rm', '-r', `${TRUST}/crls`);
    const { certificates } = await siphonJson<TrustAnswer>('trust', 'list');
    const key = certificates.find((each) => each.uuid === UUID)?.keyId ?? '';
    await must('siphon', 'trust', 'revoke', key);
    await refusedAtOnce(revoked, signed, 5, /has a key that was revoked here/);
    await must('rm', '-r', `${TRUST}/revoked`);
    assert.equal((await warm(revoked, signed)).code, 0);
  });

  test('only root changes the folder, and the log tells what has changed', async () => {
    for (const args of [
      ['revoke', UUID],
      ['add', signer.certificate, '--anchor'],
    ]) {
      const ran = await run('runuser', ['-u', 'siphon', '--', 'siphon', 'trust', ...args]);
      assert.equal(ran.code, 12, ran.stderr);
      assert.match(ran.stderr, /run this as root/);
    }
    assert.equal((await run('runuser', ['-u', 'siphon', '--', 'siphon', 'trust', 'list'])).code, 0);
    const name = `${TRUST}/${uuidOf(20)}.pem`;
    await must('siphon', 'trust', 'add', signer.certificate, '--uuid', uuidOf(20));
    assert.match(await readFile(name, 'utf8'), /BEGIN CERTIFICATE/);
    await until('it is in the log', async () =>
      (await sh('journalctl -u siphond -n 50 -o cat')).includes(`"added":["${name}"]`),
    );
  });
});
