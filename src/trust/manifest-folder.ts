// The keys of manifests that an operator trusts: `TRUST/manifest-keys/*.pem`, but for those that are revoked.

import { createPublicKey, type KeyObject } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';
import { keyIdOf, type ManifestKeys, whyNotOurs } from './manifest/keys.ts';
import { namesIn, REVOKED } from './trust-folder.ts';

/** What the folder holds is few, and small. */
const KEYS_MAX = 1000;
const OP = 'read manifest keys';

/**
 * A folder that is not there has no keys. What is in it must be right: a key that cannot be read is told.
 * @throws OperatingError corrupt, denied, unavailable, exhausted
 */
export async function manifestKeys(trustFolder: string): Promise<ManifestKeys> {
  const folder = path.join(trustFolder, 'manifest-keys');
  const names = (await absentAs(readdir(folder), folder, [])).filter((name) =>
    name.endsWith('.pem'),
  );
  if (names.length > KEYS_MAX)
    throw failure('exhausted', folder, `more than ${KEYS_MAX} keys are in it`);
  const trusted = new Map<string, KeyObject>();
  for (const name of names) {
    const file = path.join(folder, name);
    const key = keyIn(file, await absentAs(readFile(file), file, undefined));
    if (key !== undefined) trusted.set(keyIdOf(key), key);
  }
  const revoked = new Set(await namesIn(path.join(trustFolder, REVOKED)));
  return { trusted, revoked, folder };
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
