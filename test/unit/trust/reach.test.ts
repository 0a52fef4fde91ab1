// Which bases lose what vouched for them when a certificate, a key or an authority is revoked: trust folders made by openssl, bases as
// the catalogue has them.

import assert from 'node:assert/strict';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { keyIdOf } from '../../../src/trust/manifest/keys.ts';
import type { TrustRule } from '../../../src/trust/policy.ts';
import { createReach, type ProvenBase, type Reached } from '../../../src/trust/reach.ts';
import { readNamedKeys, readReachFolder, tokenOf } from '../../../src/trust/reach-folder.ts';
import type { ProofLoss } from '../../../src/wire/trust-api.ts';
import { signatureId } from '../../../src/wire/verification-plan.ts';
import type { VerifiedBy } from '../../../src/wire/vocabulary.ts';
import { CA, type Holder, makeCrl, makeHolder, SIGNER } from '../../support/authorities.ts';

const UUID = '5b4fbcee-4fd5-4a31-9a5a-1a1d4b4e5f0a';
const OTHER = '5b4fbcee-4fd5-4a31-9a5a-1a1d4b4e5f0b';
const MANIFEST_KEY = 'ab'.repeat(32);
const DAY = 86_400_000;
let scratch = '';
let root: Holder;
let between: Holder;
let signer: Holder;
let other: Holder;
let count = 0;

before(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'siphon-reach-'));
  root = await makeHolder(scratch, 'root', { extensions: CA() });
  between = await makeHolder(scratch, 'between', { issuer: root, extensions: CA(), serial: 70 });
  signer = await makeHolder(scratch, 'signer', {
    issuer: between,
    extensions: SIGNER,
    serial: 71,
    days: 3,
  });
  other = await makeHolder(scratch, 'other', { issuer: root, extensions: SIGNER, serial: 72 });
});
after(() => rm(scratch, { recursive: true, force: true }));

const certificateOf = async (holder: Holder) =>
  new X509Certificate(await readFile(holder.certificate));
const keyId = async (holder: Holder) => keyIdOf((await certificateOf(holder)).publicKey);

interface Wish {
  readonly anchors?: readonly Holder[];
  readonly own?: Readonly<Record<string, Holder>>;
  readonly crls?: readonly Buffer[];
  readonly revoked?: readonly string[];
  readonly rules?: readonly TrustRule[];
  readonly afterDays?: number;
}

async function folderOf({
  anchors = [root],
  own = { [UUID]: signer, between },
  crls = [],
  revoked = [],
}: Wish) {
  const folder = path.join(scratch, `trust-${(count += 1)}`);
  for (const name of ['anchors', 'crls', 'revoked'])
    await mkdir(path.join(folder, name), { recursive: true });
  for (const each of anchors)
    await copyFile(each.certificate, path.join(folder, 'anchors', `${each.name}.pem`));
  for (const [name, each] of Object.entries(own))
    await copyFile(each.certificate, path.join(folder, `${name}.pem`));
  for (const [at, crl] of crls.entries())
    await writeFile(path.join(folder, 'crls', `${at}.crl`), crl);
  for (const each of revoked) await writeFile(path.join(folder, 'revoked', each), '');
  return { folder, isChainNeeded: false, isPathLengthNeeded: false };
}

async function reachOf(wish: Wish) {
  const now = Date.now() + (wish.afterDays ?? 0) * DAY;
  const found = await readReachFolder(await folderOf(wish));
  return createReach({ ...found, rules: wish.rules ?? [], now });
}

const BY_SIGNATURE: VerifiedBy = {
  what: 'signature',
  keyType: 'ECC_SECP384R1',
  certificate: UUID,
};
const BY_MANIFEST: VerifiedBy = { what: 'manifest', keyId: MANIFEST_KEY };
const BY_OPERATOR: VerifiedBy = { what: 'digest', algorithm: 'sha256', from: 'operator' };
const BY_PROPERTIES: VerifiedBy = { what: 'digest', algorithm: 'sha256', from: 'properties' };

async function base(
  by: readonly VerifiedBy[] = [BY_SIGNATURE],
  signers: readonly Holder[] = [signer],
): Promise<ProvenBase> {
  const signatures = await Promise.all(
    signers.map(async (each) => {
      const key = createPublicKey(await readFile(each.certificate));
      const publicKeyPem = key.export({ type: 'spki', format: 'pem' });
      const said = { keyType: 'ECC_SECP384R1', hash: 'sha256', signature: 'AAAA' } as const;
      return signatureId({ ...said, certificate: UUID, publicKeyPem });
    }),
  );
  return {
    name: { pool: 'images', namespace: '', image: 'debian', snap: 'v1' },
    sourceFormat: 'raw',
    verification: by.length === 0 ? { kind: 'unverified' } : { kind: 'verified', by },
    signatures,
  };
}

const rule = (require: TrustRule['require']): TrustRule => ({
  pools: [],
  images: [],
  require,
  formats: ['raw', 'qcow2'],
  allowForeignRaw: false,
});

/** `before`: what it had lost. */
async function judged(
  wish: Wish,
  of = base(),
  before: readonly ProofLoss[] = [],
): Promise<Reached> {
  return (await reachOf(wish)).of(await of, before);
}
const kindOf = async (...asked: Parameters<typeof judged>) => (await judged(...asked)).kind;

function lost(reached: Reached): Reached & { readonly kind: 'lost' } {
  assert(reached.kind === 'lost', JSON.stringify(reached));
  return reached;
}

describe('a base of one signature', () => {
  test('stands while nothing is revoked; also when the certificate is over, and cannot be told when it is gone', async () => {
    assert.equal(await kindOf({}), 'stands');
    assert.equal(await kindOf({ afterDays: 30 }), 'stands');
    assert.equal(await kindOf({ own: {} }), 'untold');
    assert.equal(await kindOf({ anchors: [other] }), 'untold');
    assert.equal(await kindOf({ own: { [UUID]: other } }), 'untold');
    assert.equal(await kindOf({ revoked: [OTHER] }), 'stands');
  });

  test('falls with its certificate, its key and each key above it', async () => {
    const tokens = [UUID, await keyId(signer), await keyId(between), await keyId(root)];
    for (const token of tokens) {
      const { why, losses } = lost(await judged({ revoked: [token] }));
      assert.match(why, new RegExp(`certificate ${UUID}.*revoked here`));
      assert.deepEqual(
        losses.map((each) => [each.by, each.isByChain]),
        [[token, tokens.indexOf(token) > 1]],
      );
    }
    assert.match(lost(await judged({ revoked: [await keyId(root)] })).why, /its issuer CN=root/);
  });

  test('falls by its own revocation, also where its certificate is gone', async () => {
    for (const token of [UUID, await keyId(signer)])
      assert.equal(await kindOf({ own: {}, revoked: [token] }), 'lost');
    assert.equal(await kindOf({ own: { [UUID]: other }, revoked: [await keyId(signer)] }), 'lost');
  });

  test('falls by a CRL of its issuer, and by one of the issuer’s issuer', async () => {
    const its = await makeCrl(scratch, between, { revoked: [71] });
    const above = await makeCrl(scratch, root, { revoked: [70] });
    assert.match(lost(await judged({ crls: [its] })).why, /as the CRL says/);
    assert.match(lost(await judged({ crls: [above] })).why, /its issuer CN=between was revoked/);
    assert.equal(
      await kindOf({ crls: [await makeCrl(scratch, between, { revoked: [1] })] }),
      'stands',
    );
    // Where the anchor went since, too: a CRL of which nobody knows who signed it can only refuse.
    assert.equal(await kindOf({ anchors: [other], crls: [above] }), 'lost');
    assert.equal(await kindOf({ anchors: [other], revoked: [await keyId(between)] }), 'lost');
  });

  test('what a CRL would say that cannot be relied on is not told', async () => {
    const forger = await makeHolder(scratch, 'forger', { subject: 'between', extensions: CA() });
    const extensions = ['issuingDistributionPoint = critical,@point'];
    const crls = [
      await makeCrl(scratch, forger, { revoked: [71], extensions: [] }),
      await makeCrl(scratch, between, { revoked: [71], extensions }),
      Buffer.from('garbage'),
    ];
    for (const crl of crls) assert.equal(await kindOf({ crls: [crl] }), 'untold');
    assert.equal(await kindOf({ crls, revoked: [UUID] }), 'lost');
  });

  test('a second way to an anchor holds it', async () => {
    const twin = await makeHolder(scratch, 'twin', { extensions: CA() });
    const crossed = { ...between, name: 'crossed', certificate: path.join(scratch, 'crossed.pem') };
    await crossSign(between, twin, crossed.certificate);
    const own = { [UUID]: signer, between, crossed };
    const anchors = [root, twin];
    assert.equal(await kindOf({ own, anchors, revoked: [await keyId(root)] }), 'stands');
    assert.equal(await kindOf({ own, anchors, revoked: [await keyId(between)] }), 'lost');
    const both = [await keyId(root), await keyId(twin)];
    assert.equal(await kindOf({ own, anchors, revoked: both }), 'lost');
  });

  test('one of another key under the same UUID holds it', async () => {
    const revoked = [await keyId(signer)];
    const two = base([BY_SIGNATURE], [signer, other]);
    assert.equal(await kindOf({ own: { [UUID]: other }, revoked }, two), 'stands');
  });
});

async function crossSign(whose: Holder, by: Holder, to: string): Promise<void> {
  const made = await makeHolder(scratch, `cross-${(count += 1)}`, {
    issuer: by,
    subject: whose.name,
    extensions: CA(),
    keyOf: whose,
  });
  await copyFile(made.certificate, to);
}

describe('what vouches for the same bytes', () => {
  const revoked = [UUID];

  test('is another proof that stands; and not a digest from beside the image', async () => {
    const of = (...more: VerifiedBy[]) => base([BY_SIGNATURE, ...more]);
    assert.equal(await kindOf({ revoked }, of(BY_MANIFEST)), 'stands');
    assert.equal(await kindOf({ revoked }, of(BY_OPERATOR)), 'stands');
    assert.equal(await kindOf({ revoked }, of(BY_PROPERTIES)), 'lost');
    assert.equal(await kindOf({ revoked: [UUID, MANIFEST_KEY] }, of(BY_MANIFEST)), 'lost');
    assert.equal(await kindOf({ revoked: [MANIFEST_KEY] }, of(BY_MANIFEST)), 'stands');
  });

  test('is not enough where the rules want more', async () => {
    const of = base([BY_SIGNATURE, BY_MANIFEST]);
    const rules = [rule(['signature'])];
    assert.match(
      lost(await judged({ revoked, rules }, of)).why,
      /revoked here \(trust rule 1 wants a signature/,
    );
    assert.equal(await kindOf({ revoked, rules: [rule(['signature', 'manifest'])] }, of), 'stands');
    // A rule alone takes nothing away from what is here.
    assert.equal(await kindOf({ rules }, base([BY_MANIFEST])), 'stands');
  });

  test('nothing is lost where nothing was proven', async () => {
    assert.equal(await kindOf({ revoked }, base([])), 'stands');
    assert.equal(await kindOf({ revoked }, base([BY_PROPERTIES])), 'stands');
  });
});

describe('what was lost before', () => {
  test('stands again with the revocation gone, and not because the certificate or the anchors are', async () => {
    const ca = await keyId(root);
    const byCa = lost(await judged({ revoked: [ca] })).losses;
    assert.equal(await kindOf({}, base(), byCa), 'stands');
    assert.equal(await kindOf({ anchors: [], revoked: [ca] }, base(), byCa), 'lost');
    assert.equal(await kindOf({ anchors: [] }, base(), byCa), 'untold');
    assert.equal(await kindOf({ own: {} }, base(), byCa), 'untold');
    const byUuid = lost(await judged({ revoked: [UUID] })).losses;
    assert.equal(await kindOf({}, base(), byUuid), 'stands');
    assert.equal(await kindOf({ anchors: [], own: { [UUID]: signer } }, base(), byUuid), 'stands');
    const crl = await makeCrl(scratch, between, { revoked: [71] });
    const byCrl = lost(await judged({ crls: [crl] })).losses;
    assert.equal(await kindOf({ own: {}, crls: [crl] }, base(), byCrl), 'untold');
    assert.equal(await kindOf({}, base(), byCrl), 'stands');
  });
});

describe('whom a name means', () => {
  test('a UUID, the id of a key, a file; and which proofs depend on it', async () => {
    const settings = await folderOf({});
    const named = await readNamedKeys(settings);
    const token = (text: string) => tokenOf(text, named)?.token;
    assert.equal(token(UUID.toUpperCase()), UUID);
    assert.equal(token(`${UUID}.pem`), UUID);
    assert.equal(token('between'), await keyId(between));
    assert.equal(token('root.pem'), await keyId(root));
    assert.equal(token(path.join(settings.folder, 'anchors/root.pem')), await keyId(root));
    assert.equal(token('nobody'), undefined);
    assert.deepEqual(tokenOf(OTHER, named), { token: OTHER, known: [] });
    const reach = await reachOf({});
    const its = await base();
    for (const each of [UUID, await keyId(signer), await keyId(between), await keyId(root)])
      assert.equal(reach.dependsOn(its, BY_SIGNATURE, each), true);
    assert.equal(reach.dependsOn(its, BY_SIGNATURE, await keyId(other)), false);
    assert.equal(reach.dependsOn(its, BY_MANIFEST, MANIFEST_KEY), true);
    assert.equal(reach.dependsOn(its, BY_OPERATOR, MANIFEST_KEY), false);
  });
});
