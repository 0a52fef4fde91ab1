// The keys of manifests that an operator trusts: `TRUST/manifest-keys/*.pem`, but for those that are revoked.

import { createPublicKey, type KeyObject } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';
import { type KeyId, keyIdOf, type ManifestKeys, whyNotOurs } from './manifest/keys.ts';
import { describeKey } from './signature.ts';
import { namesIn, REVOKED } from './trust-folder.ts';

/** What the folder holds is few, and small. */
const KEYS_MAX = 1000;
const OP = 'read manifest keys';
export const FOLDER = 'manifest-keys';

export interface KeyFile {
  readonly file: string;
  readonly keyId: KeyId;
  /** `ed25519`, `ec prime256v1` */
  readonly key: string;
}

/** @throws OperatingError as {@link manifestKeys} */
export async function manifestKeys(trustFolder: string): Promise<ManifestKeys> {
  const found = await keysIn(trustFolder);
  const trusted = new Map(found.map(({ key }) => [keyIdOf(key), key]));
  const revoked = new Set(await namesIn(path.join(trustFolder, REVOKED)));
  return { trusted, revoked, folder: path.join(trustFolder, FOLDER) };
}

/** Each of them, revoked or not. @throws OperatingError as {@link manifestKeys} */
export async function manifestKeyFiles(trustFolder: string): Promise<readonly KeyFile[]> {
  const found = await keysIn(trustFolder);
  return found.map(({ file, key }) => ({ file, keyId: keyIdOf(key), key: describeKey(key) }));
}

/**
 * A folder that is not there has no keys. What is in it must be right: a key that cannot be read is told.
 * @throws OperatingError corrupt, denied, unavailable, exhausted
 */
async function keysIn(
  trustFolder: string,
): Promise<readonly { readonly file: string; readonly key: KeyObject }[]> {
  const folder = path.join(trustFolder, FOLDER);
  const names = (await absentAs(readdir(folder), folder, [])).filter((name) =>
    name.endsWith('.pem'),
  );
  if (names.length > KEYS_MAX)
    throw failure('exhausted', folder, `more than ${KEYS_MAX} keys are in it`);
  const found: { readonly file: string; readonly key: KeyObject }[] = [];
  for (const name of names) {
    const file = path.join(folder, name);
    const key = keyIn(file, await absentAs(readFile(file), file, undefined));
    if (key !== undefined) found.push({ file, key });
  }
  return found;
}

function keyIn(file: string, pem: Buffer | undefined): KeyObject | undefined {
  if (pem === undefined) return undefined;
  if (pem.includes('PRIVATE KEY'))
    throw failure(
      'corrupt',
      file,
      'it is a private key: here go public ones (openssl pkey -pubout)',
    );
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (cause) {
    throw failure('corrupt', file, 'it is no public key in PEM', cause);
  }
  const why = whyNotOurs(key);
  if (why !== undefined) throw failure('corrupt', file, why);
  return key;
}

async function absentAs<T>(reading: Promise<T>, subject: string, absent: T): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    const { code, errno } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return absent;
    throw failure(codeOfErrno(-(errno ?? 0)), subject, undefined, cause);
  }
}

function failure(
  code: OperatingError['code'],
  subject: string,
  why?: string,
  cause?: unknown,
): OperatingError {
  return new OperatingError({ code, op: OP, subject, cause, ...(why !== undefined && { why }) });
}
