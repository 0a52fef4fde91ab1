// siphon trust: what may come into the trust folder, and how; what it says of what is there.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, beforeEach, describe, test } from 'node:test';
import { type AddWish, addTrust } from '../../../src/sidecar/trust/add.ts';
import { revokeTrust } from '../../../src/sidecar/trust/revoke.ts';
import { createTrustLook } from '../../../src/sidecar/trust/watch.ts';
import { surveyTrust } from '../../../src/trust/index.ts';
import { type ErrorCode, OperatingError } from '../../../src/wire/errors.ts';
import type { TrustAnswer, TrustChange } from '../../../src/wire/trust-api.ts';
import { CA, type Holder, makeCrl, makeHolder, SIGNER } from '../../support/authorities.ts';

const MAIN = path.join(import.meta.dirname, '../../../src/cli/main.ts');
const UUID = 'fd0cb2f1-8375-44c9-b1f4-3e1f4c4a8ef0';
let scratch = '';
let folder = '';
let root: Holder;
let signer: Holder;

before(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'siphon-trust-'));
  root = await makeHolder(scratch, 'root', { extensions: CA() });
  signer = await makeHolder(scratch, 'signer', { issuer: root, extensions: SIGNER, serial: 9 });
});
after(() => rm(scratch, { recursive: true, force: true }));
beforeEach(async () => {
  folder = await mkdtemp(path.join(scratch, 'trust-'));
  await writeFile(`${folder}.toml`, `trust.folder = "${folder}"\n`);
});

async function trust(...args: readonly string[]) {
  const argv = [MAIN, 'trust', ...args, '--config', `${folder}.toml`];
  const child = spawn(process.execPath, argv, { timeout: 60_000 });
  const read = Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  const [stdout, stderr, [code]] = await read;
  return { stdout, stderr, code: code as number | null };
}

const settings = () => ({ folder, isChainNeeded: false, isPathLengthNeeded: false });
const list = () => surveyTrust(settings(), Date.now());
const add = (from: string, wish: Partial<AddWish> = {}): Promise<TrustChange> =>
  addTrust(settings(), { file: from, as: 'signer', isReplaced: false, ...wish }, Date.now());
const revoke = (what: string) => revokeTrust(settings(), what, Date.now());
const ANCHOR = { as: 'anchor' } as const;
const CRL = { as: 'crl' } as const;

async function refuses(
  code: ErrorCode,
  words: RegExp,
  from: string,
  wish: Partial<AddWish> = {},
): Promise<void> {
  const before = await readdir(folder, { recursive: true });
  await assert.rejects(add(from, wish), (error) => {
    assert(error instanceof OperatingError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(`${error.message} ${error.hint}`, words);
    return true;
  });
  assert.deepEqual(await readdir(folder, { recursive: true }), before);
}

const file = (name: string) => path.join(scratch, name);

describe('siphon trust add', () => {
  test('a signer, by the UUID that is given, or by which its file is named; nothing is replaced unasked', async () => {
    const added = await add(signer.certificate, { uuid: UUID.replaceAll('-', '').toUpperCase() });
    assert.equal(added.file, path.join(folder, `${UUID}.pem`));
    const { mode } = await stat(added.file);
    assert.equal(mode & 0o777, 0o644);
    await refuses('refused', /there is one already/, signer.certificate, { uuid: UUID });
    await copyFile(root.certificate, file(`${UUID}.pem`));
    await refuses('refused', /there is one already.*--replace/, file(`${UUID}.pem`));
    await add(file(`${UUID}.pem`), { isReplaced: true });
    assert.match((await readFile(added.file)).toString(), /BEGIN CERTIFICATE/);
    assert.equal((await list()).certificates[0]?.subject, 'CN=root');
    assert.deepEqual(await readdir(folder), [`${UUID}.pem`], 'nothing else is left');
  });

  test('what is no certificate, holds a key, or has no UUID', async () => {
    await writeFile(file('rot'), 'rot');
    await refuses('corrupt', /no X\.509 certificate/, file('rot'), { uuid: UUID });
    await refuses('refused', /private key/, signer.key, { uuid: UUID });
    await refuses('usage', /its name is no UUID/, signer.certificate);
    await refuses('usage', /'x' is no UUID/, signer.certificate, { uuid: 'x' });
    await refuses('not-found', /ENOENT/, file('nothing'), { uuid: UUID });
    const both = [signer.certificate, root.certificate].map((each) => readFile(each));
    await writeFile(file('both.pem'), (await Promise.all(both)).join(''));
    await refuses('usage', /2 certificates in it, and each would be/, file('both.pem'), ANCHOR);
    assert.match((await add(file('both.pem'), { uuid: UUID })).what, /CN=signer/);
  });

  test('siphond can read what root adds, whatever root’s umask', async (t) => {
    const before = process.umask(0o077);
    t.after(() => process.umask(before));
    const { file: anchor } = await add(root.certificate, ANCHOR);
    const modes = await Promise.all([anchor, path.dirname(anchor)].map((each) => stat(each)));
    assert.deepEqual(
      modes.map(({ mode }) => mode & 0o777),
      [0o644, 0o755],
    );
  });

  test('an anchor: then certificates need a chain, and it is said of each', async () => {
    await add(signer.certificate, { uuid: UUID });
    const alone = await list();
    assert.deepEqual(
      [alone.isChainNeeded, alone.certificates[0]?.verdict],
      [false, { isTrusted: true, chain: ['CN=signer'] }],
    );
    const other = await makeHolder(scratch, 'other', { extensions: SIGNER });
    assert.match((await add(other.certificate, ANCHOR)).notes.join(), /it is no authority/);
    const { isChainNeeded, certificates } = await list();
    assert.equal(isChainNeeded, true);
    assert(certificates[0]?.verdict?.isTrusted === false);
    assert.match(certificates[0].verdict.why, /no chain to an anchor/);
    await add(root.certificate, ANCHOR);
    const { verdict } = (await list()).certificates[0] ?? {};
    assert.deepEqual(verdict, { isTrusted: true, chain: ['CN=signer', 'CN=root'] });
  });

  test('a CRL: signed by its issuer, as far as that is here, and never an older one', async () => {
    const made = async (name: string, issuer: Holder, days: number, revoked: number[] = []) => {
      await writeFile(file(name), await makeCrl(scratch, issuer, { days, revoked }));
      return file(name);
    };
    await refuses('corrupt', /no CRL/, root.certificate, CRL);
    const first = await add(await made('old.crl', root, 5), CRL);
    assert.match(first.notes.join(), /no certificate of its issuer is here/);
    await refuses('refused', /there is one already/, file('old.crl'), CRL);
    await add(root.certificate, ANCHOR);
    await add(signer.certificate, { uuid: UUID });
    const twin = await makeHolder(scratch, 'twin', { subject: 'root', extensions: CA() });
    await refuses('corrupt', /not signed by its issuer/, await made('twin.crl', twin, 5), CRL);
    // Times of CRLs are in seconds.
    const { thisUpdateMs = 0 } = (await list()).crls[0] ?? {};
    while (Date.now() < thisUpdateMs + 1000) await new Promise((done) => setImmediate(done));
    const newer = await add(await made('new.crl', root, 30, [9]), { ...CRL, isReplaced: true });
    assert.deepEqual([newer.file, newer.notes], [first.file, []]);
    await refuses('refused', /the one that is here is newer/, file('old.crl'), {
      ...CRL,
      isReplaced: true,
    });
    const { crls, certificates } = await list();
    assert.deepEqual(
      crls.map((each) => [each.issuer, each.revoked, each.isOverdue]),
      [['CN=root', 1, false]],
    );
    assert(certificates[0]?.verdict?.isTrusted === false);
    assert.match(certificates[0].verdict.why, /was revoked by its issuer/);
  });
});

test('siphon trust revoke: a certificate or a key, whether it is here or not, and for good', async () => {
  await add(signer.certificate, { uuid: UUID });
  const keyId = (await list()).certificates[0]?.keyId ?? '';
  const first = await revoke(keyId);
  assert.deepEqual([first.wasThere, first.what], [false, 'CN=signer']);
  assert.equal((await revoke(keyId)).wasThere, true);
  const { certificates, revoked } = await list();
  assert.deepEqual(revoked, [keyId]);
  assert(certificates[0]?.verdict?.isTrusted === false);
  assert.match(certificates[0].verdict.why, /a key that was revoked here/);
  const unknown = UUID.replace('f', 'a');
  const later = await revoke(unknown);
  assert.match(later.notes.join(), /refused if it comes/);
  await refuses('refused', /was revoked here/, signer.certificate, { uuid: unknown });
  await assert.rejects(revoke('../x'), /neither a UUID nor the id of a key/);
  assert.equal((await list()).revoked.length, 2);
});

test('siphon trust list names what is wrong', async () => {
  for (const name of ['anchors', 'crls']) await mkdir(path.join(folder, name));
  await writeFile(path.join(folder, 'anchors', 'x.pem'), 'rot');
  await writeFile(path.join(folder, 'crls', 'y'), await makeCrl(scratch, root, { days: 1 }));
  await writeFile(path.join(folder, 'crls', 'z'), 'rot');
  await copyFile(signer.certificate, path.join(folder, `${UUID}.pem`));
  const { problems, certificates } = await list();
  const told = problems.map(({ where, what }) => `${path.basename(where)}: ${what}`);
  assert.equal(told.length, 2);
  assert.match(told[0] ?? '', /^x\.pem: it is no certificate/);
  assert.match(told[1] ?? '', /^z: it is no CRL, and no signature is taken/);
  assert(certificates[0]?.verdict?.isTrusted === false);
  assert.match(certificates[0].verdict.why, /crls\/z: it is no CRL/);
  const late = await surveyTrust(settings(), Date.now() + 2 * 86_400_000);
  assert.match(late.problems.at(-1)?.what ?? '', /the CRL of CN=root is overdue since 20/);
});

test('the command: what it prints, and its exit codes', async () => {
  const rule = '[[trust.rules]]\npools = ["gold"]\nrequire = ["signature", "digest"]\n';
  await writeFile(`${folder}.toml`, `trust.folder = "${folder}"\n${rule}`);
  const added = await trust('add', signer.certificate, '--uuid', UUID);
  assert.match(added.stdout, /^CN=signer \(ec secp384r1\), until 20.* is in \/.*\.pem\n$/);
  const again = await trust('add', signer.certificate, '--uuid', UUID);
  assert.deepEqual([again.code, /siphon: trust: .* one already/.test(again.stderr)], [5, true]);
  const both = await trust('add', signer.certificate, '--anchor', '--crl');
  assert.deepEqual([both.code, /one of --uuid, --anchor and --crl/.test(both.stderr)], [2, true]);
  assert.equal((await trust('add', root.certificate, '--anchor')).code, 0);
  const told = await trust('list');
  assert.match(told.stdout, /^1 +pool gold +a signature or a digest$/m);
  assert.match(told.stdout, new RegExp(`${UUID} +CN=signer +ec secp384r1 .* yes, by CN=root `));
  const { rules } = JSON.parse((await trust('list', '--json')).stdout) as TrustAnswer;
  assert.deepEqual(rules, [{ about: 'pool gold', wants: 'a signature or a digest' }]);
  const wrong = await trust('revoke', 'x', '--json');
  assert.equal(wrong.code, 2);
  const { error } = JSON.parse(wrong.stderr) as { readonly error: { readonly code: string } };
  assert.equal(error.code, 'usage');
});

test('what changes in the folder is told, once', async () => {
  const told: unknown[] = [];
  const note = (fields: object) => told.push(fields);
  const look = createTrustLook(() => folder, { info: note, warn: note } as never);
  await look();
  await look();
  const pem = path.join(folder, `${UUID}.pem`);
  await copyFile(signer.certificate, pem);
  await look();
  await copyFile(root.certificate, pem);
  await look();
  await look();
  await rm(pem);
  await look();
  const change = { folder, added: [], removed: [], changed: [] };
  assert.deepEqual(told, [
    { folder, files: 0 },
    { ...change, added: [pem] },
    { ...change, changed: [pem] },
    { ...change, removed: [pem] },
  ]);
});
