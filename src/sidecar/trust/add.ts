// siphon trust add: what a file is, whether it may come in, and under which name.

import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import path from 'node:path';
import {
  ANCHORS,
  type Certificate,
  CRL_BYTES_MAX,
  CRLS,
  type Crl,
  certificateFacts,
  crlFacts,
  filesIn,
  hasPrivateKey,
  isSignedBy,
  parseCertificates,
  parseCrls,
  REVOKED,
  surveyTrust,
  type TrustSettings,
  toUuid,
} from '../../trust/index.ts';
import { codeOfErrno, type ErrorCode, OperatingError } from '../../wire/errors.ts';
import type { TrustChange } from '../../wire/trust-api.ts';
import { writeTrustFile } from './write.ts';

export interface AddWish {
  readonly file: string;
  readonly as: 'signer' | 'anchor' | 'crl';
  /** Of a signer; else the file's own name. */
  readonly uuid?: string;
  readonly isReplaced: boolean;
}

/** @throws OperatingError: it is not what it should be, or there is one already */
export async function addTrust(
  settings: TrustSettings,
  wish: AddWish,
  now: number,
): Promise<TrustChange> {
  const bytes = await readInput(wish.file);
  if (hasPrivateKey(bytes)) {
    const why = 'there is a private key in it, which belongs to the signer alone';
    throw failure(
      'refused',
      wish.file,
      why,
      'Give the certificate without it: openssl x509 -in FILE',
    );
  }
  if (wish.as === 'crl') return await addCrl(settings, wish, bytes, now);
  const found = parseCertificates(bytes);
  if (found.kind === 'none')
    throw failure('corrupt', wish.file, `it is no X.509 certificate: ${found.why}`);
  const add = wish.as === 'anchor' ? addAnchor : addSigner;
  return await add(settings, wish, found.all, now);
}

async function addSigner(
  settings: TrustSettings,
  wish: AddWish,
  all: readonly [Certificate, ...Certificate[]],
  now: number,
): Promise<TrustChange> {
  const uuid = toUuid(wish.uuid ?? path.basename(wish.file).replace(/\.[a-z]+$/i, ''));
  if (uuid === undefined) {
    const why = wish.uuid === undefined ? 'its name is no UUID' : `'${wish.uuid}' is no UUID`;
    throw failure(
      'usage',
      wish.file,
      why,
      'Say with --uuid by which images name it; or --anchor, --crl.',
    );
  }
  const before = await surveyTrust(settings, now);
  if (before.revoked.includes(uuid)) {
    const hint = `To trust it again, remove ${path.join(settings.folder, REVOKED, uuid)} first.`;
    throw failure('refused', uuid, 'it was revoked here', hint);
  }
  const target = path.join(settings.folder, `${uuid}.pem`);
  const change = await write(target, all.map((each) => each.x509.toString()).join(''), wish);
  const { certificates } = await surveyTrust(settings, now);
  const verdict = certificates.find((each) => each.uuid === uuid)?.verdict;
  const notes = verdict?.isTrusted === false ? [`it is not trusted: ${verdict.why}`] : [];
  return { ...change, what: whatIs(all[0]), notes };
}

async function addAnchor(
  { folder }: TrustSettings,
  wish: AddWish,
  [one, ...more]: readonly [Certificate, ...Certificate[]],
  now: number,
): Promise<TrustChange> {
  if (more.length > 0) {
    const why = `there are ${more.length + 1} certificates in it, and each would be trusted`;
    throw failure('usage', wish.file, why, 'Add them one by one.');
  }
  const isAuthority = one.authority?.isOne === true && one.usage?.signsCertificates === true;
  const notes = [
    ...(isAuthority ? [] : ['it is no authority: only what it signed itself is trusted by it']),
    ...(now > one.toMs ? [`it expired at ${new Date(one.toMs).toISOString()}`] : []),
  ];
  const target = path.join(folder, ANCHORS, `${nameFor(one.subject, one.fingerprint)}.pem`);
  return { ...(await write(target, one.x509.toString(), wish)), what: whatIs(one), notes };
}

async function addCrl(
  { folder }: TrustSettings,
  wish: AddWish,
  bytes: Uint8Array,
  now: number,
): Promise<TrustChange> {
  const found = parseCrls(bytes);
  if (found.kind === 'none') throw failure('corrupt', wish.file, `it is no CRL: ${found.why}`);
  const [crl, ...more] = found.all;
  if (more.length > 0) throw failure('usage', wish.file, 'there are several CRLs in it');
  if (crl.strange.length > 0) {
    const why = `it has a critical extension that is not understood (${crl.strange.join(', ')})`;
    throw failure('refused', wish.file, why);
  }
  const notes = [await signedBy(folder, wish.file, crl)].flat();
  const place = createHash('sha256').update(`${crl.issuerName} ${crl.authorityKey ?? ''}`);
  const name = nameFor(crl.issuer, place.digest('hex'));
  const target = path.join(folder, CRLS, `${name}.crl`);
  await assertNewer(target, wish, crl);
  const { isOverdue, revoked } = crlFacts(crl, now);
  const what = `CRL of ${crl.issuer}, ${revoked} revoked`;
  const late = isOverdue ? ['it is overdue'] : [];
  return { ...(await write(target, bytes, wish)), what, notes: [...notes, ...late] };
}

/** @throws OperatingError: certificates of its issuer are here, and none signed it */
async function signedBy(folder: string, file: string, crl: Crl): Promise<string[]> {
  const files = await Promise.all([filesIn(folder, '.pem'), filesIn(path.join(folder, ANCHORS))]);
  const issuers = files.flat().flatMap((each) => {
    const found = parseCertificates(each.bytes);
    return found.kind === 'none' ? [] : found.all.filter((e) => e.subjectName === crl.issuerName);
  });
  if (issuers.length === 0)
    return ['no certificate of its issuer is here, which would have signed it'];
  if (issuers.some((each) => isSignedBy(crl, each.x509.publicKey))) return [];
  throw failure('corrupt', file, `it is not signed by its issuer (${crl.issuer})`);
}

/** An older list would bring back what was revoked since. */
async function assertNewer(target: string, { file }: AddWish, crl: Crl): Promise<void> {
  const [there] = (await filesIn(path.dirname(target))).filter((each) => each.file === target);
  const found = there && parseCrls(there.bytes);
  if (found?.kind !== 'crls' || found.all[0].thisUpdateMs <= crl.thisUpdateMs) return;
  const since = new Date(found.all[0].thisUpdateMs).toISOString();
  throw failure('refused', file, `the one that is here is newer, of ${since}`);
}

async function write(
  file: string,
  bytes: string | Uint8Array,
  { isReplaced }: AddWish,
): Promise<Pick<TrustChange, 'file' | 'wasThere'>> {
  if (await writeTrustFile(file, bytes, isReplaced)) return { file, wasThere: false };
  throw failure('refused', file, 'there is one already', '--replace puts this one in its place.');
}

async function readInput(file: string): Promise<Buffer> {
  try {
    await using handle = await open(file);
    const { size } = await handle.stat();
    if (size <= CRL_BYTES_MAX) return await handle.readFile();
  } catch (cause) {
    const { errno } = cause as NodeJS.ErrnoException;
    if (errno === undefined) throw cause;
    throw new OperatingError({ code: codeOfErrno(-errno), op: OP, subject: file, cause });
  }
  throw failure('refused', file, `it is longer than ${CRL_BYTES_MAX} bytes`);
}

/** `root-ca-1a2b3c4d` */
function nameFor(subject: string, digest: string): string {
  const words = /CN=([^,]*)/.exec(subject)?.[1] ?? subject;
  const plain = words
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '');
  return `${plain.slice(0, 40) || 'nameless'}-${digest.slice(0, 8)}`;
}

function whatIs(certificate: Certificate): string {
  const { subject, key, toMs } = certificateFacts(certificate);
  return `${subject} (${key}), until ${new Date(toMs).toISOString().slice(0, 10)}`;
}

const OP = 'trust';

function failure(code: ErrorCode, subject: string, why: string, hint?: string): OperatingError {
  return new OperatingError({ code, op: OP, subject, why, ...(hint !== undefined && { hint }) });
}
