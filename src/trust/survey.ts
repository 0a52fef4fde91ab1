// All that the trust folder holds, told: what is trusted and why, what is not, and what is wrong with the rest.

import path from 'node:path';
import { OperatingError } from '../wire/errors.ts';
import type { TrustAnswer, TrustCertificate, TrustCrl, TrustProblem } from '../wire/trust-api.ts';
import type { Certificate } from './certificate.ts';
import { judgeChain, type Trust } from './chain.ts';
import type { Crl } from './crl.ts';
import { manifestKeyFiles } from './manifest-folder.ts';
import { uuidOfFile } from './reach-folder.ts';
import { describeKey } from './signature.ts';
import {
  ANCHORS,
  CRLS,
  filesIn,
  namesIn,
  parsedCertificates,
  parsedCrls,
  REVOKED,
  readTrust,
  type TrustFile,
  type TrustSettings,
} from './trust-folder.ts';

export type Survey = Omit<TrustAnswer, 'rules'>;

/** @throws OperatingError where the folder, or a file of it, cannot be read */
export async function surveyTrust(settings: TrustSettings, now: number): Promise<Survey> {
  const { folder } = settings;
  const trust = await trustOrWhy(settings);
  const files = await readFiles(folder);
  const revoked = await namesIn(path.join(folder, REVOKED));
  return {
    folder,
    isChainNeeded: settings.isChainNeeded || files.anchors.length > 0,
    certificates: files.own.flatMap((each) => certificatesOf(each, trust, now)),
    anchors: files.anchors.flatMap((each) => certificatesOf(each)),
    crls: files.crls.flatMap((each) => crlsOf(each, now)),
    manifestKeys: files.manifestKeys.keys.map((each) => {
      return { ...each, isRevoked: revoked.includes(each.keyId) };
    }),
    revoked,
    problems: problemsIn(files, now),
  };
}

/** What is wrong in the folder, and should be mended. @throws OperatingError as {@link surveyTrust} */
export async function trustProblems(
  { folder }: TrustSettings,
  now: number,
): Promise<readonly TrustProblem[]> {
  return problemsIn(await readFiles(folder), now);
}

interface Files {
  readonly own: readonly TrustFile[];
  readonly anchors: readonly TrustFile[];
  readonly crls: readonly TrustFile[];
  readonly manifestKeys: Awaited<ReturnType<typeof manifestKeyFiles>>;
}

async function readFiles(folder: string): Promise<Files> {
  const [own, anchors, crls, manifestKeys] = await Promise.all([
    filesIn(folder, '.pem'),
    filesIn(path.join(folder, ANCHORS)),
    filesIn(path.join(folder, CRLS)),
    manifestKeyFiles(folder),
  ]);
  return { own, anchors, crls, manifestKeys };
}

function problemsIn({ own, anchors, crls, manifestKeys }: Files, now: number): TrustProblem[] {
  const late = crls.flatMap((each) => crlsOf(each, now)).filter((each) => each.isOverdue);
  return [
    ...[...own, ...anchors].flatMap(certificateProblem),
    ...crls.flatMap(crlProblems),
    ...late.map(overdue),
    ...manifestKeys.problems,
  ];
}

type TrustOrWhy = Trust | { readonly why: string };

async function trustOrWhy(settings: TrustSettings): Promise<TrustOrWhy> {
  try {
    return await readTrust(settings);
  } catch (error) {
    // What keeps plans from being made is told of each certificate.
    if (error instanceof OperatingError) return { why: error.message };
    throw error;
  }
}

/** One for each file: the certificate that it is about. */
function certificatesOf(
  { file, bytes }: TrustFile,
  trust?: TrustOrWhy,
  now = 0,
): TrustCertificate[] {
  const found = parsedCertificates(bytes);
  if (found.kind === 'none') return [];
  const [one, ...more] = found.all;
  const uuid = trust && uuidOfFile(file);
  const told = { file, ...certificateFacts(one) };
  if (trust === undefined || uuid === undefined) return [told];
  return [{ ...told, uuid, verdict: verdictOf(uuid, one, more, trust, now) }];
}

export function certificateFacts(certificate: Certificate): Omit<TrustCertificate, 'file'> {
  const { subject, issuer, keyId, fromMs, toMs, x509 } = certificate;
  return { subject, issuer, key: describeKey(x509.publicKey), keyId, fromMs, toMs };
}

function verdictOf(
  uuid: string,
  one: Certificate,
  more: readonly Certificate[],
  trust: TrustOrWhy,
  now: number,
): NonNullable<TrustCertificate['verdict']> {
  if ('why' in trust) return { isTrusted: false, why: trust.why };
  if (trust.revoked.has(uuid)) return { isTrusted: false, why: 'the certificate was revoked here' };
  const verdict = judgeChain(one, more, trust, now);
  if (verdict.kind === 'refused') return { isTrusted: false, why: verdict.why };
  return { isTrusted: true, chain: verdict.chain.map((each) => each.subject) };
}

function crlsOf({ file, bytes }: TrustFile, now: number): TrustCrl[] {
  const found = parsedCrls(bytes);
  return found.kind === 'none' ? [] : found.all.map((each) => ({ file, ...crlFacts(each, now) }));
}

export function crlFacts(crl: Crl, now: number): Omit<TrustCrl, 'file'> {
  const { issuer, thisUpdateMs, nextUpdateMs, revoked } = crl;
  const isOverdue = nextUpdateMs !== undefined && nextUpdateMs < now;
  const next = nextUpdateMs === undefined ? {} : { nextUpdateMs };
  return { issuer, thisUpdateMs, ...next, isOverdue, revoked: revoked.size };
}

function certificateProblem({ file, bytes }: TrustFile): TrustProblem[] {
  const found = parsedCertificates(bytes);
  if (found.kind === 'certificates') return [];
  return [{ where: file, what: `it is no certificate: ${found.why}` }];
}

function crlProblems({ file, bytes }: TrustFile): TrustProblem[] {
  const found = parsedCrls(bytes);
  if (found.kind === 'none') {
    const what = `it is no CRL, and no signature is taken until it is gone: ${found.why}`;
    return [{ where: file, what }];
  }
  return found.all
    .filter((each) => each.strange.length > 0)
    .map((each) => ({
      where: file,
      what: `it has a critical extension that is not understood (${each.strange.join(', ')}): nothing by ${each.issuer} is taken`,
    }));
}

function overdue({ file, issuer, nextUpdateMs = 0 }: TrustCrl): TrustProblem {
  const since = new Date(nextUpdateMs).toISOString();
  return { where: file, what: `the CRL of ${issuer} is overdue since ${since}` };
}
