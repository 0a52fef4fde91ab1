// The trust folder: certificates by UUID, anchors, CRLs and what was revoked, put there by the operator. Read anew for each plan.

import { createHash } from 'node:crypto';
import { open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';
import { type Certificates, parseCertificates } from './certificate.ts';
import type { Trust } from './chain.ts';
import { CRL_BYTES_MAX, type Crls, parseCrls } from './crl.ts';
import type { FindCertificate } from './plan-signature.ts';

/** What a folder holds beside the certificates by UUID. */
export const ANCHORS = 'anchors';
export const CRLS = 'crls';
export const REVOKED = 'revoked';

export interface TrustSettings {
  readonly folder: string;
  readonly isChainNeeded: boolean;
  readonly isPathLengthNeeded: boolean;
}

/** In one folder. */
const FILES_MAX = 2000;
/** Parsed before: by the digest of what was read, so that it is never older than the file. */
const PARSED_MAX = 4000;

/** Reads `FOLDER/UUID.pem`. The planner asks for UUIDs only. @throws OperatingError where there is a file that cannot be read */
export function certificateFolder(folder: string): FindCertificate {
  return (uuid) => readIfThere(path.join(folder, `${uuid}.pem`));
}

/**
 * What the folder says of trust. A file in `anchors/` that is none adds no trust; one in `crls/` that is none might take some away,
 * so that nothing is planned by signatures until it is gone.
 * @throws OperatingError `corrupt`, or whatever keeps it from being read
 */
export async function readTrust(settings: TrustSettings): Promise<Trust> {
  const { trust, broken } = await lookAtTrust(settings);
  if (broken !== undefined) throw broken;
  return trust;
}

/** The same; `broken`: of a CRL that is none, which is not in `trust`. @throws OperatingError: it cannot be read */
export async function lookAtTrust(
  settings: TrustSettings,
): Promise<{ readonly trust: Trust; readonly broken?: OperatingError }> {
  const { folder, isPathLengthNeeded } = settings;
  const anchors = await filesIn(path.join(folder, ANCHORS));
  const isChainNeeded = settings.isChainNeeded || anchors.length > 0;
  const between = isChainNeeded ? await filesIn(folder, '.pem') : [];
  const lists = (await filesIn(path.join(folder, CRLS))).map(({ file, bytes }) => {
    return { file, found: parsedCrls(bytes) };
  });
  const [broken] = lists.flatMap(({ file, found }) =>
    found.kind === 'none' ? [noCrl(file, found.why)] : [],
  );
  const revoked = await namesIn(path.join(folder, REVOKED));
  const trust = {
    anchors: anchors.flatMap(certificatesOf),
    intermediates: between.flatMap(certificatesOf),
    crls: lists.flatMap(({ found }) => (found.kind === 'crls' ? found.all : [])),
    revoked: new Set(revoked),
    isChainNeeded,
    isPathLengthNeeded,
  };
  return { trust, ...(broken && { broken }) };
}

function noCrl(file: string, what: string): OperatingError {
  const hint = 'siphon trust list tells what is there. Remove the file, or put a CRL in its place.';
  const why = `it is no CRL: ${what}`;
  return new OperatingError({ code: 'corrupt', op: 'read trust', subject: file, why, hint });
}

export interface TrustFile {
  readonly file: string;
  readonly bytes: Buffer;
}

const certificatesOf = ({ bytes }: TrustFile) => {
  const found = parsedCertificates(bytes);
  return found.kind === 'certificates' ? found.all : [];
};

/** The files of a folder, in the order of their names; none where there is no such folder. @throws OperatingError */
export async function filesIn(folder: string, suffix = ''): Promise<TrustFile[]> {
  const names = (await namesIn(folder)).filter((name) => name.endsWith(suffix));
  const files = names.map((name) => path.join(folder, name));
  const read: TrustFile[] = [];
  for (const file of files) {
    const bytes = await readIfThere(file);
    if (bytes !== undefined) read.push({ file, bytes });
  }
  return read;
}

/** What begins with a dot is not there yet. @throws OperatingError */
export async function namesIn(folder: string): Promise<string[]> {
  const entries = await orAbsent('read trust', folder, readdir(folder, { withFileTypes: true }));
  const names = (entries ?? [])
    .filter((each) => (each.isFile() || each.isSymbolicLink()) && !each.name.startsWith('.'))
    .map((each) => each.name);
  if (names.length <= FILES_MAX) return names.toSorted();
  const why = `it has more than ${FILES_MAX} files`;
  throw new OperatingError({ code: 'exhausted', op: 'read trust', subject: folder, why });
}

async function readIfThere(file: string): Promise<Buffer | undefined> {
  return await orAbsent('read certificate', file, readBounded(file));
}

/** Of a file that is longer than any may be, so much that it shows. */
async function readBounded(file: string): Promise<Buffer> {
  await using handle = await open(file);
  const { size } = await handle.stat();
  if (size <= CRL_BYTES_MAX) return await handle.readFile();
  return Buffer.alloc(CRL_BYTES_MAX + 1);
}

async function orAbsent<T>(op: string, subject: string, work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (cause) {
    const { code, errno } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new OperatingError({ code: codeOfErrno(-(errno ?? 0)), op, subject, cause });
  }
}

export const parsedCertificates = remembering<Certificates>(parseCertificates);
export const parsedCrls = remembering<Crls>(parseCrls);

function remembering<T>(parse: (bytes: Uint8Array) => T): (bytes: Uint8Array) => T {
  const parsed = new Map<string, T>();
  return (bytes) => {
    const key = createHash('sha256').update(bytes).digest('hex');
    const known = parsed.get(key) ?? parse(bytes);
    if (parsed.size >= PARSED_MAX) parsed.clear();
    parsed.set(key, known);
    return known;
  };
}
