// What the trust folder has for revocation's reach: trust as it is now, certificates by UUID, and whom a name in it means.

import path from 'node:path';
import type { Certificate } from './certificate.ts';
import type { Trust } from './chain.ts';
import { type KeyFile, manifestKeyFiles } from './manifest-folder.ts';
import { toUuid } from './plan-signature.ts';
import {
  ANCHORS,
  filesIn,
  lookAtTrust,
  parsedCertificates,
  type TrustFile,
  type TrustSettings,
} from './trust-folder.ts';

export interface ReachFolder {
  readonly trust: Trust;
  readonly isCrlBroken: boolean;
  readonly certificates: ReadonlyMap<string, readonly [Certificate, ...Certificate[]]>;
}

/** A file, and what is revoked where it is meant. */
export interface NamedKey {
  readonly file: string;
  /** Of a signer's certificate. */
  readonly uuid?: string;
  readonly keyId: string;
  /** For people. */
  readonly what: string;
}

/** @throws OperatingError where the folder, or a file of it, cannot be read: then nothing is told */
export async function readReachFolder(settings: TrustSettings): Promise<ReachFolder> {
  const [{ trust, broken }, own] = await Promise.all([
    lookAtTrust(settings),
    filesIn(settings.folder, '.pem'),
  ]);
  const signers = own.flatMap(signerIn).map(({ uuid, all }) => [uuid, all] as const);
  return { trust, isCrlBroken: broken !== undefined, certificates: new Map(signers) };
}

/** All by which somebody may sign, or issue. @throws OperatingError as {@link readReachFolder} */
export async function readNamedKeys({
  folder,
}: Pick<TrustSettings, 'folder'>): Promise<readonly NamedKey[]> {
  const [own, anchors, { keys }] = await Promise.all([
    filesIn(folder, '.pem'),
    filesIn(path.join(folder, ANCHORS)),
    manifestKeyFiles(folder),
  ]);
  const signers = own.flatMap(signerIn).map(({ named }) => named);
  return [...signers, ...[...own, ...anchors].flatMap(authorityIn), ...keys.map(keyNamed)];
}

function signerIn(file: TrustFile) {
  const uuid = uuidOfFile(file.file);
  const found = parsedCertificates(file.bytes);
  if (uuid === undefined || found.kind === 'none') return [];
  const [{ keyId, subject }] = found.all;
  return [{ uuid, all: found.all, named: { file: file.file, uuid, keyId, what: subject } }];
}

function authorityIn({ file, bytes }: TrustFile): NamedKey[] {
  const found = parsedCertificates(bytes);
  if (uuidOfFile(file) !== undefined || found.kind === 'none') return [];
  const [{ keyId, subject }] = found.all;
  return [{ file, keyId, what: subject }];
}

const keyNamed = ({ file, keyId, key }: KeyFile): NamedKey => {
  return { file, keyId, what: `manifest key (${key})` };
};

/** Only a name as a plan looks for it. */
export function uuidOfFile(file: string): string | undefined {
  const name = path.basename(file, '.pem');
  return toUuid(name) === name ? name : undefined;
}

const KEY_ID = /^[0-9a-f]{64}$/;

/** What a UUID, the id of a key or a file's name (with its folder, or without; with `.pem`, or without) is in `revoked/`. */
export function tokenOf(
  text: string,
  named: readonly NamedKey[],
): { readonly token: string; readonly known: readonly NamedKey[] } | undefined {
  const lower = text.toLowerCase();
  const token = toUuid(text) ?? (KEY_ID.test(lower) ? lower : undefined);
  if (token !== undefined)
    return { token, known: named.filter((each) => each.uuid === token || each.keyId === token) };
  const meant = named.filter(({ file }) => {
    return [file, path.basename(file), path.basename(file, '.pem')].includes(text);
  });
  const tokens = new Set(meant.map((each) => each.uuid ?? each.keyId));
  const [only] = tokens;
  return only === undefined || tokens.size > 1 ? undefined : { token: only, known: meant };
}
