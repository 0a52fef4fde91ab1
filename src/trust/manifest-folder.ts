// The keys of manifests that an operator trusts: `TRUST/manifest-keys/*.pem`, but for those that are revoked.

import { createPublicKey, type KeyObject } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';
import type { TrustProblem } from '../wire/trust-api.ts';
import { type KeyId, keyIdOf, type ManifestKeys, whyNotOurs } from './manifest/keys.ts';
import { describeKey } from './signature.ts';
import { namesIn, REVOKED } from './trust-folder.ts';

/** What the folder holds is few, and small. */
const KEYS_MAX = 1000;
const OP = 'read manifest keys';
export const MANIFEST_KEYS = 'manifest-keys';

export interface KeyFile {
  readonly file: string;
  readonly keyId: KeyId;
  /** `ed25519`, `ec prime256v1` */
  readonly key: string;
}

/**
 * A folder that is not there has no keys. What is in it must be right: a key that cannot be read is told.
 * @throws OperatingError corrupt, denied, unavailable, exhausted
 */
export async function manifestKeys(trustFolder: string): Promise<ManifestKeys> {
  const found = await keysIn(trustFolder);
  for (const each of found) if (each.kind === 'none') throw each.error;
  const keys = found.flatMap((each) => (each.kind === 'key' ? [each.key] : []));
  const revoked = new Set(await namesIn(path.join(trustFolder, REVOKED)));
  const trusted = new Map(keys.map((key) => [keyIdOf(key), key]));
  return { trusted, revoked, folder: path.join(trustFolder, MANIFEST_KEYS) };
}

/** Each of them, revoked or not; and what is wrong with the others. @throws OperatingError: the folder cannot be read */
export async function manifestKeyFiles(
  trustFolder: string,
): Promise<{ readonly keys: readonly KeyFile[]; readonly problems: readonly TrustProblem[] }> {
  const found = await keysIn(trustFolder);
  return {
    keys: found.flatMap((each) => {
      if (each.kind === 'none') return [];
      const { file, key } = each;
      return [{ file, keyId: keyIdOf(key), key: describeKey(key) }];
    }),
    problems: found.flatMap((each) => {
      return each.kind === 'key' ? [] : [{ where: each.file, what: each.error.why }];
    }),
  };
}

type FoundKey =
  | { readonly kind: 'key'; readonly file: string; readonly key: KeyObject }
  | { readonly kind: 'none'; readonly file: string; readonly error: OperatingError };

async function keysIn(trustFolder: string): Promise<readonly FoundKey[]> {
  const folder = path.join(trustFolder, MANIFEST_KEYS);
  const names = (await absentAs(readdir(folder), folder, [])).filter((name) =>
    name.endsWith('.pem'),
  );
  if (names.length > KEYS_MAX)
    throw failure('exhausted', folder, `more than ${KEYS_MAX} keys are in it`);
  const found: FoundKey[] = [];
  for (const name of names) {
    const file = path.join(folder, name);
    try {
      const key = keyIn(file, await absentAs(readFile(file), file, undefined));
      if (key !== undefined) found.push({ kind: 'key', file, key });
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      found.push({ kind: 'none', file, error });
    }
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
