// Which certificates are trusted: chains made by openssl, what is wrong in each in one thing, and what `openssl verify` says of them.

import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseCertificates } from '../../../src/trust/certificate.ts';
import { planSignature } from '../../../src/trust/plan-signature.ts';
import { certificateFolder, readTrust } from '../../../src/trust/trust-folder.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { SIGNATURE_KEY_TYPES } from '../../../src/wire/verification-plan.ts';
import {
  CA,
  type Holder,
  makeCrl,
  makeHolder,
  opensslTrusts,
  SIGNER,
  type Wish,
} from '../../support/authorities.ts';
import { signedProperties } from '../../support/signers.ts';

const UUID = 'fd0cb2f1-8375-44c9-b1f4-3e1f4c4a8ef0';
const SIGNED = signedProperties('ECC_SECP384R1', 'SHA-256', 'MAA=', UUID);
const DAY = 86_400_000;
let scratch = '';
let count = 0;

before(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'siphon-chains-'));
});
after(() => rm(scratch, { recursive: true, force: true }));

interface Folder {
  readonly leaf: Holder;
  readonly more?: readonly Holder[];
  readonly anchors?: readonly Holder[];
  readonly between?: readonly Holder[];
  readonly crls?: readonly Buffer[];
  readonly revoked?: readonly string[];
}
interface Asked {
  readonly afterDays?: number;
  readonly isChainNeeded?: boolean;
  readonly isPathLengthNeeded?: boolean;
  readonly keyType?: (typeof SIGNATURE_KEY_TYPES)[number];
}

const made = (name: string, wish: Wish) => makeHolder(scratch, `${name}-${count++}`, wish);
const textOf = async (holders: readonly Holder[]) =>
  (await Promise.all(holders.map((each) => readFile(each.certificate, 'utf8')))).join('');

/** A trust folder, and what planning says of a signature by the leaf: its warnings, or the refusal. */
async function ask(given: Folder, asked: Asked = {}): Promise<string[] | string> {
  const folder = path.join(scratch, `trust-${count++}`);
  for (const name of ['anchors', 'crls', 'revoked'])
    await mkdir(path.join(folder, name), { recursive: true });
  await writeFile(
    path.join(folder, `${UUID}.pem`),
    await textOf([given.leaf, ...(given.more ?? [])]),
  );
  for (const each of given.anchors ?? [])
    await copyFile(each.certificate, path.join(folder, 'anchors', `${each.name}.pem`));
  for (const each of given.between ?? [])
    await copyFile(each.certificate, path.join(folder, `${each.name}.pem`));
  for (const [at, crl] of (given.crls ?? []).entries())
    await writeFile(path.join(folder, 'crls', `${at}.crl`), crl);
  for (const each of given.revoked ?? []) await writeFile(path.join(folder, 'revoked', each), '');
  const warnings: string[] = [];
  const { keyType = 'ECC_SECP384R1', isChainNeeded = false, isPathLengthNeeded = false } = asked;
  try {
    await planSignature(
      { ...SIGNED, img_signature_key_type: keyType },
      {
        findCertificate: certificateFolder(folder),
        readTrust: () => readTrust({ folder, isChainNeeded, isPathLengthNeeded }),
        now: Date.now() + (asked.afterDays ?? 0) * DAY,
        onWarning: (what) => warnings.push(what),
      },
    );
    return warnings;
  } catch (error) {
    assert(error instanceof OperatingError, String(error));
    assert(['refused', 'corrupt'].includes(error.code), error.message);
    return error.message;
  }
}

async function opensslAgrees(given: Folder, isTrusted: boolean, more: string[] = []) {
  const [anchors, between] = [path.join(scratch, 'anchors'), path.join(scratch, 'between')];
  await writeFile(anchors, await textOf(given.anchors ?? []));
  const all = [given.leaf, ...(given.more ?? []), ...(given.between ?? [])];
  await writeFile(between, await textOf(all));
  const said = await opensslTrusts(given.leaf.certificate, anchors, between, more);
  assert.equal(said, isTrusted, 'openssl verify');
}

const root = (extensions = CA(), more: Partial<Wish> = {}) => made('root', { extensions, ...more });
const under = (issuer: Holder, extensions = CA(), more: Partial<Wish> = {}) =>
  made('between', { issuer, extensions, ...more });
const signer = (issuer: Holder, more: Partial<Wish> = {}) =>
  made('signer', { issuer, extensions: SIGNER, ...more });

describe('without anchors', () => {
  test('what the folder holds is trusted, whoever issued it, between its dates', async () => {
    const leaf = await signer(await root());
    assert.deepEqual(await ask({ leaf }), []);
    assert.match(String(await ask({ leaf }, { afterDays: 101 })), /the certificate expired at 20/);
    assert.match(String(await ask({ leaf }, { afterDays: -2 })), /is not valid before 20/);
    assert.match(
      String(await ask({ leaf }, { isChainNeeded: true })),
      /needs a chain .* there is none/,
    );
  });

  test('a CRL of its issuer counts, though nobody knows the issuer', async () => {
    const issuer = await root();
    const leaf = await signer(issuer, { serial: 77 });
    assert.deepEqual(
      await ask({ leaf, crls: [await makeCrl(scratch, issuer, { revoked: [78] })] }),
      [],
    );
    const revoked = await ask({ leaf, crls: [await makeCrl(scratch, issuer, { revoked: [77] })] });
    assert.match(String(revoked), /was revoked by its issuer/);
  });
});

describe('with anchors', () => {
  test('a chain of one, of two, of three; what stands between comes with the signer, or lies in the folder', async () => {
    const anchor = await root();
    const [one, direct] = [await under(anchor), await signer(anchor)];
    const [two, leaf] = [await under(one), await signer(one)];
    const deep = await signer(two);
    for (const given of [
      { leaf: direct },
      { leaf, more: [one] },
      { leaf, between: [one] },
      { leaf: deep, more: [two], between: [one] },
      { leaf: deep, more: [one, two, anchor] },
    ]) {
      assert.deepEqual(await ask({ ...given, anchors: [anchor] }), []);
      await opensslAgrees({ ...given, anchors: [anchor] }, true);
    }
    for (const given of [{ leaf }, { leaf: deep, more: [one] }]) {
      assert.match(
        String(await ask({ ...given, anchors: [anchor] })),
        /has no chain to an anchor: it/,
      );
      await opensslAgrees({ ...given, anchors: [anchor] }, false);
    }
    const cut = String(await ask({ leaf: deep, more: [two], anchors: [anchor] }));
    assert.match(cut, /no chain to an anchor: its issuer CN=between-\d+ is none/);
  });

  test('an anchor may be an authority that another issued, or the signer', async () => {
    const top = await root();
    const one = await under(top);
    const leaf = await signer(one);
    for (const anchors of [[one], [leaf]]) {
      assert.deepEqual(await ask({ leaf, anchors }), []);
      await opensslAgrees({ leaf, anchors }, true);
    }
    const own = await made('own', { extensions: SIGNER });
    assert.deepEqual(await ask({ leaf: own, anchors: [own] }), []);
    assert.match(String(await ask({ leaf: own, anchors: [leaf] })), /no chain to an anchor/);
  });

  test('an issuer of the right name and another key is no issuer', async () => {
    const [good, forger] = [await root(), await root(CA(), { subject: 'forged' })];
    const twin = await root(CA(), { subject: good.name });
    for (const leaf of [await signer(forger), await signer(twin)]) {
      assert.match(String(await ask({ leaf, anchors: [good] })), /no chain to an anchor/);
      await opensslAgrees({ leaf, anchors: [good] }, false);
    }
    const leaf = await signer(good);
    assert.deepEqual(await ask({ leaf, anchors: [twin, good] }), [], 'two of one name');
  });

  test('each of a chain counts between its dates only', async () => {
    const [long, short] = [await root(CA(), { days: 50 }), await root(CA(), { days: 5 })];
    const at = ['-attime', String(Math.floor((Date.now() + 6 * DAY) / 1000))];
    const between = await under(long, CA(), { days: 5 });
    const late = [
      { leaf: await signer(short), anchors: [short] },
      { leaf: await signer(between), more: [between], anchors: [long] },
    ];
    for (const given of late) {
      assert.deepEqual(await ask(given), []);
      assert.match(String(await ask(given, { afterDays: 6 })), /its issuer CN=.* expired at/);
      await opensslAgrees(given, false, at);
    }
    const leaf = await signer(long, { days: 5 });
    assert.match(
      String(await ask({ leaf, anchors: [long] }, { afterDays: 6 })),
      /the certificate expired/,
    );
  });

  const AUTHORITIES: readonly [
    what: string,
    extensions: string[],
    words: RegExp,
    openssl: boolean,
  ][] = [
    ['is none', [...SIGNER], /no authority \(its basic constraints lack CA:TRUE/, false],
    ['does not say', ['keyUsage=keyCertSign'], /no authority/, false],
    ['may not issue', ['basicConstraints=CA:TRUE', 'keyUsage=cRLSign'], /lacks keyCertSign/, false],
    // RFC 5280 wants it said (4.2.1.3), and OpenStack's verifier, too.
    ['has no key usage', ['basicConstraints=CA:TRUE'], /lacks keyCertSign/, true],
    [
      'says strange things',
      [...CA(), '1.2.3.4=critical,ASN1:UTF8String:x'],
      /not understood \(1\.2\.3\.4\)/,
      false,
    ],
  ];
  for (const [what, extensions, words, isOpenssl] of AUTHORITIES) {
    test(`an authority that ${what} is none, as an anchor and between`, async () => {
      const anchor = await root();
      const bad = await under(anchor, extensions);
      const leaf = await signer(bad);
      const given = { leaf, more: [bad], anchors: [anchor] };
      assert.match(String(await ask(given)), new RegExp(`its issuer CN=between-.*${words.source}`));
      await opensslAgrees(given, isOpenssl);
      assert.match(String(await ask({ leaf, anchors: [bad] })), words);
    });
  }

  test('the path length of each authority, the anchor too, holds; none is no limit, unless it is asked for', async () => {
    const chains = [
      { lengths: [0], isGood: true },
      { lengths: [0, 0], isGood: false },
      { lengths: [1, 0], isGood: true },
      { lengths: [1, 1, 0], isGood: false },
      { lengths: [undefined, 0, undefined], isGood: false },
      { lengths: [undefined, undefined, undefined], isGood: true },
    ];
    for (const { lengths, isGood } of chains) {
      const holders: Holder[] = [];
      for (const length of lengths) {
        const issuer = holders.at(-1);
        holders.push(issuer ? await under(issuer, CA(length)) : await root(CA(length)));
      }
      const [anchor, ...more] = holders as [Holder, ...Holder[]];
      const given = { leaf: await signer(holders.at(-1) as Holder), more, anchors: [anchor] };
      const said = await ask(given);
      if (isGood) assert.deepEqual(said, [], String(lengths));
      else assert.match(String(said), /allows for \d authorities below it \(its path length\)/);
      await opensslAgrees(given, isGood);
      const strictly = await ask(given, { isPathLengthNeeded: true });
      if (lengths.includes(undefined)) assert.match(String(strictly), /path length/);
      else assert.deepEqual(strictly, said);
    }
  });

  test('a chain that is too long', async () => {
    const holders = [await root()];
    for (let at = 0; at < 7; at += 1) holders.push(await under(holders.at(-1) as Holder));
    const [anchor, ...more] = holders as [Holder, ...Holder[]];
    const of = async (issuer: Holder) =>
      ask({ leaf: await signer(issuer), more, anchors: [anchor] });
    assert.deepEqual(await of(holders[6] as Holder), []);
    assert.match(String(await of(holders[7] as Holder)), /no chain to an anchor/);
  });

  test('a signer that is for other things, and one that was signed by SHA-1', async () => {
    const anchor = await root();
    const other = { extensions: ['keyUsage=keyEncipherment'] };
    const said = await ask({ leaf: await signer(anchor, other), anchors: [anchor] });
    assert.match(String(said), /not for signing data \(its key usage lacks digitalSignature/);
    assert.deepEqual(
      await ask({ leaf: await signer(anchor, { extensions: [] }), anchors: [anchor] }),
      [],
    );
    const weak = await signer(anchor, { hash: 'sha1' });
    assert.match(String(await ask({ leaf: weak, anchors: [anchor] })), /signed by MD5 or SHA-1/);
    assert.deepEqual(
      await ask({ leaf: weak, anchors: [weak] }),
      [],
      'its own signature means nothing',
    );
  });

  test('authorities and signers of every type of key', async () => {
    for (const type of SIGNATURE_KEY_TYPES) {
      const anchor = await root(CA(), { type });
      const leaf = await signer(anchor, { type, serial: 5 });
      const crls = [await makeCrl(scratch, anchor, { revoked: [6] })];
      assert.deepEqual(await ask({ leaf, anchors: [anchor], crls }, { keyType: type }), []);
      const revoked = [await makeCrl(scratch, anchor, { revoked: [5] })];
      const said = await ask({ leaf, anchors: [anchor], crls: revoked }, { keyType: type });
      assert.match(String(said), /was revoked by its issuer/);
    }
  });
});

describe('CRLs', () => {
  test('a serial number in the list of its issuer is refused: of the signer, and of what stands between', async () => {
    const anchor = await root();
    const between = await under(anchor, CA(), { serial: 21 });
    const given = {
      leaf: await signer(between, { serial: 22 }),
      more: [between],
      anchors: [anchor],
    };
    const crl = (issuer: Holder, ...revoked: number[]) => makeCrl(scratch, issuer, { revoked });
    const harmless = [await crl(anchor, 22, 1), await crl(between, 21, 2)];
    assert.deepEqual(await ask({ ...given, crls: harmless }), []);
    const own = await ask({ ...given, crls: [await crl(between, 22)] });
    assert.match(String(own), /the certificate was revoked by its issuer \(CN=between/);
    const others = await ask({ ...given, crls: [await crl(anchor, 20, 21)] });
    assert.match(String(others), /its issuer CN=between-\d+ was revoked by its issuer \(CN=root/);
    const both = await ask({ ...given, crls: [...harmless, await crl(between, 22)] });
    assert.match(String(both), /was revoked/, 'any of several');
  });

  test('an overdue one holds, and is told', async () => {
    const anchor = await root();
    const given = { leaf: await signer(anchor, { serial: 31 }), anchors: [anchor] };
    const crls = [await makeCrl(scratch, anchor, { days: 3 })];
    assert.deepEqual(await ask({ ...given, crls }), []);
    const told = [`the CRL of CN=${anchor.name} is overdue`];
    assert.deepEqual(await ask({ ...given, crls }, { afterDays: 4 }), told);
    const newer = [...crls, await makeCrl(scratch, anchor, { days: 30 })];
    assert.deepEqual(await ask({ ...given, crls: newer }, { afterDays: 4 }), []);
    const revoking = [await makeCrl(scratch, anchor, { days: 3, revoked: [31] })];
    assert.match(String(await ask({ ...given, crls: revoking }, { afterDays: 4 })), /was revoked/);
  });

  test('one that the issuer did not sign, or may not, or that says what is not understood, refuses', async () => {
    const anchor = await root();
    const given = { leaf: await signer(anchor), anchors: [anchor] };
    const twin = await root(CA(), { subject: anchor.name });
    const plain = { extensions: ['authorityKeyIdentifier = issuer:always'] };
    const forged = await makeCrl(scratch, twin, plain);
    assert.match(String(await ask({ ...given, crls: [forged] })), /whose CRL is not signed by it/);
    const ofOtherKey = await makeCrl(scratch, twin, {});
    assert.deepEqual(await ask({ ...given, crls: [ofOtherKey] }), [], 'it says of which key it is');
    const good = await makeCrl(scratch, anchor, {});
    assert.deepEqual(await ask({ ...given, crls: [forged, good] }), []);
    const partial = { extensions: ['issuingDistributionPoint = critical,@point'] };
    const strange = await ask({ ...given, crls: [await makeCrl(scratch, anchor, partial)] });
    assert.match(String(strange), /critical extension that is not understood \(2\.5\.29\.28\)/);
    const dumb = await root(['basicConstraints=CA:TRUE', 'keyUsage=keyCertSign']);
    const crls = [await makeCrl(scratch, dumb, { extensions: plain.extensions })];
    const may = await ask({ leaf: await signer(dumb), anchors: [dumb], crls });
    assert.match(String(may), /whose CRL is not signed by it/);
    const flipped = Buffer.from(good);
    flipped[flipped.length - 9]! ^= 1;
    assert.match(String(await ask({ ...given, crls: [flipped] })), /not signed by it/);
    assert.match(
      String(await ask({ ...given, crls: [Buffer.from('rot')] })),
      /0\.crl: it is no CRL/,
    );
  });
});

test('what was revoked here: a certificate, its key, the key of an authority', async () => {
  const anchor = await root();
  const leaf = await signer(anchor);
  const keyOf = async (holder: Holder) => {
    const found = parseCertificates(await readFile(holder.certificate));
    assert(found.kind === 'certificates');
    return found.all[0].keyId;
  };
  for (const anchors of [[], [anchor]]) {
    assert.match(String(await ask({ leaf, anchors, revoked: [UUID] })), /was revoked here/);
    const key = await keyOf(leaf);
    assert.match(String(await ask({ leaf, anchors, revoked: [key] })), new RegExp(`key .*${key}`));
  }
  const given = { leaf, anchors: [anchor], revoked: [await keyOf(anchor)] };
  assert.match(String(await ask(given)), /its issuer CN=root.* has a key that was revoked here/);
});
