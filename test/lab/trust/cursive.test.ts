// siphon and OpenStack's own verifier (Debian's python3-cursive) on random signatures and chains, good and bad: they agree, but where
// siphon is stricter by intent.

import assert from 'node:assert/strict';
import {
  constants,
  createPrivateKey,
  type KeyObject,
  randomInt,
  sign,
  X509Certificate,
} from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { parseCertificates } from '../../../src/trust/certificate.ts';
import { judgeChain, NO_TRUST } from '../../../src/trust/chain.ts';
import { planVerification } from '../../../src/trust/plan.ts';
import { hashJobs, judge, openHasher } from '../../../src/trust/verify.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { SignatureKeyType } from '../../../src/wire/verification-plan.ts';
import type { SourceProperties } from '../../../src/wire/vocabulary.ts';
import { CA, type Holder, makeHolder, SIGNER } from '../../support/authorities.ts';
import { HASH_METHODS, HASHES, type HashMethod, makeSigner } from '../../support/signers.ts';
import { type OpenStackVerifier, startVerifier } from './openstack.ts';

const COUNT = process.env['SIPHON_SOAK'] === '1' ? 5000 : 100;
const SEED = Number(process.env['SIPHON_SEED'] ?? randomInt(2 ** 31));
let folder = '';
let openstack: OpenStackVerifier;
let keys: readonly Key[] = [];
let authorities: readonly Authority[] = [];

interface Key {
  readonly type: SignatureKeyType;
  readonly uuid: string;
  readonly key: KeyObject;
  readonly der: Buffer;
}

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'siphon-cursive-'));
  openstack = await startVerifier();
  assert.ok(openstack.types.length >= 4, openstack.types.join(' '));
  const made: Key[] = [];
  for (const [at, name] of [...openstack.types, ...openstack.types].entries()) {
    const type = name as SignatureKeyType;
    const signer = await makeSigner(folder, type, `key-${at}`);
    const { raw: der } = new X509Certificate(await readFile(signer.certificate));
    made.push({ type, uuid: uuidOf(at), key: await privateKey(signer.key), der });
  }
  keys = made;
  authorities = await makeAuthorities();
});
after(async () => {
  openstack.end();
  await rm(folder, { recursive: true, force: true });
});

const uuidOf = (at: number) => `00000000-0000-4000-8000-${String(at).padStart(12, '0')}`;
const privateKey = async (file: string) => createPrivateKey(await readFile(file));

const WRONGS = [
  'nothing',
  'nothing',
  'nothing',
  'image',
  'cut image',
  'signature',
  'cut signature',
  'base64',
  'hash',
  'unknown hash',
  'type',
  'unknown type',
  'certificate',
  'unknown certificate',
  'property',
] as const;

const aCase = fc.record({
  by: fc.nat(),
  other: fc.nat(),
  method: fc.constantFrom(...HASH_METHODS),
  image: fc.uint8Array({ minLength: 1, maxLength: 2000 }),
  at: fc.nat(),
  wrong: fc.constantFrom(...WRONGS),
});
type Drawn = typeof aCase extends fc.Arbitrary<infer T> ? T : never;

const chosen = <T>(all: readonly T[], at: number): T => all[at % all.length] as T;

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  const place = at % (copy.length * 8);
  copy[place >> 3]! ^= 1 << (place & 7);
  return copy;
}

function signedBy({ type, key }: Key, method: HashMethod, image: Buffer): Buffer {
  const pss = {
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: constants.RSA_PSS_SALTLEN_MAX_SIGN,
  };
  return sign(HASHES[method], image, { key, ...(type === 'RSA-PSS' ? pss : {}) });
}

/** A signed image, wrong in one thing, or in none. */
function caseOf({ by, other, method, at, wrong, ...drawn }: Drawn) {
  const own = chosen(keys, by);
  const another = chosen(keys, other);
  const signed = Buffer.from(drawn.image);
  const right = signedBy(own, method, signed);
  const signature = {
    signature: flipped(right, at),
    'cut signature': right.subarray(0, at % right.length),
  };
  const images = { image: flipped(signed, at), 'cut image': signed.subarray(0, -1) };
  const bytes = wrong in signature ? signature[wrong as keyof typeof signature] : right;
  const image = wrong in images ? images[wrong as keyof typeof images] : signed;
  const base64 = bytes.toString('base64');
  const said: Record<string, string> = {
    img_signature: wrong === 'base64' ? base64.replace(/=+$/, '').slice(0, -3) : base64,
    img_signature_hash_method:
      wrong === 'hash' ? chosen(HASH_METHODS, at) : wrong === 'unknown hash' ? 'SHA-1' : method,
    img_signature_key_type:
      wrong === 'type' ? another.type : wrong === 'unknown type' ? 'RSA' : own.type,
    img_signature_certificate_uuid:
      wrong === 'certificate'
        ? another.uuid
        : wrong === 'unknown certificate'
          ? uuidOf(999)
          : own.uuid,
  };
  if (wrong === 'property') delete said[chosen(Object.keys(said), at)];
  return { properties: said as SourceProperties, image };
}

/** siphon's own verdict: `good`, or why not. */
async function siphonSays(properties: SourceProperties, image: Buffer): Promise<string> {
  const findCertificate = async (uuid: string) => keys.find((each) => each.uuid === uuid)?.der;
  try {
    const plan = await planVerification({ properties, findCertificate, now: Date.now() });
    const outcomes = hashJobs(plan, true).map((job) => {
      const hasher = openHasher(job);
      hasher.update(image);
      return hasher.finish();
    });
    const { verification } = judge(plan, outcomes, 'image');
    return verification.kind === 'verified' ? 'good' : verification.kind;
  } catch (error) {
    if (error instanceof OperatingError) return error.message;
    throw error;
  }
}

/** OpenStack does not compare the curve with the one that is named. */
const isOtherCurve = (why: string) => /the certificate's key is ec \w+, not ECC_/.test(why);

test(`${COUNT} signatures, seed ${SEED}`, async () => {
  const certificates = Object.fromEntries(
    keys.map((each) => [each.uuid, each.der.toString('base64')]),
  );
  let good = 0;
  await fc.assert(
    fc.asyncProperty(aCase, async (drawn) => {
      const { properties, image } = caseOf(drawn);
      const ours = await siphonSays(properties, image);
      const one = { what: 'signature', properties, certificates, image: image.toString('base64') };
      const theirs = await openstack.ask(one as Parameters<typeof openstack.ask>[0]);
      if (isOtherCurve(ours)) return;
      assert.equal(ours === 'good', theirs === 'good', `siphon: ${ours}\nOpenStack: ${theirs}`);
      if (ours === 'good') good += 1;
    }),
    { numRuns: COUNT, seed: SEED },
  );
  assert.ok(good > COUNT / 20 && good < COUNT, `${good} of ${COUNT} are good`);
});

interface Authority {
  readonly uuid: string;
  readonly der: Buffer;
  readonly isRoot: boolean;
  readonly isSigner: boolean;
}

const EXTENSIONS: readonly (readonly string[])[] = [
  CA(0),
  CA(1),
  CA(2),
  CA(2),
  CA(),
  ['basicConstraints=CA:TRUE,pathlen:2', 'keyUsage=digitalSignature'],
  ['basicConstraints=CA:FALSE', 'keyUsage=keyCertSign'],
  ['basicConstraints=CA:TRUE,pathlen:2'],
];

/** Trees of authorities, right and wrong, with a signer below each of them. */
async function makeAuthorities(): Promise<Authority[]> {
  const all: Authority[] = [];
  const add = async (holder: Holder, isRoot: boolean, isSigner: boolean) => {
    const { raw: der } = new X509Certificate(await readFile(holder.certificate));
    all.push({ uuid: uuidOf(2000 + all.length), der, isRoot, isSigner });
  };
  let level: Holder[] = [];
  for (let depth = 0; depth < 4; depth += 1) {
    const next: Holder[] = [];
    for (let at = 0; at < 8; at += 1) {
      // The first of each level is right, and its issuer is.
      const isRight = at === 0;
      const issuer =
        depth === 0 ? undefined : isRight ? level[0] : chosen(level, SEED + at * 3 + depth);
      const drawn = at < 5 ? chosen(EXTENSIONS, SEED + at) : chosen(EXTENSIONS, at);
      const extensions = isRight ? CA(3 - depth) : drawn;
      const name = `a-${depth}-${at}`;
      const wish = issuer === undefined ? { extensions } : { extensions, issuer };
      const holder = await makeHolder(folder, name, wish);
      next.push(holder);
      await add(holder, depth === 0, false);
      const signer = await makeHolder(folder, `${name}-s`, { issuer: holder, extensions: SIGNER });
      await add(signer, false, true);
    }
    level = next;
  }
  return all;
}

test(`${COUNT} chains, seed ${SEED}`, async () => {
  const certificates = Object.fromEntries(
    authorities.map((each) => [each.uuid, each.der.toString('base64')]),
  );
  const parsed = new Map(
    authorities.map(({ uuid, der }) => {
      const found = parseCertificates(der);
      assert(found.kind === 'certificates');
      return [uuid, found.all[0]] as const;
    }),
  );
  const issuers = authorities.filter((each) => !each.isSigner);
  const leaves = authorities.filter((each) => each.isSigner);
  const some = fc.record({ leaf: fc.nat(), left: fc.array(fc.nat(), { maxLength: 3 }) });
  let good = 0;
  await fc.assert(
    fc.asyncProperty(some, async ({ leaf, left }) => {
      const { uuid } = chosen(leaves, leaf);
      const missing = left.map((at) => chosen(issuers, at));
      const here = issuers.filter((each) => !missing.includes(each));
      const of = (isRoot: boolean) =>
        here.filter((each) => each.isRoot === isRoot).map((each) => parsed.get(each.uuid)!);
      const trust = {
        ...NO_TRUST,
        anchors: of(true),
        intermediates: of(false),
        isChainNeeded: true,
        isPathLengthNeeded: true,
      };
      const ours = judgeChain(parsed.get(uuid)!, [], trust, Date.now());
      const trusted = here.map((each) => each.uuid);
      const theirs = await openstack.ask({ what: 'chain', uuid, trusted, certificates });
      const why = ours.kind === 'refused' ? ours.why : 'good';
      assert.equal(why === 'good', theirs === 'good', `siphon: ${why}\nOpenStack: ${theirs}`);
      if (why === 'good') good += 1;
    }),
    { numRuns: COUNT, seed: SEED },
  );
  assert.ok(good > 0 && good < COUNT, `${good} of ${COUNT} are good`);
});
