// Keys, certificates and signatures of every type that OpenStack names, made by the openssl command of wherever this runs.

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { SignatureKeyType } from '../../src/wire/verification-plan.ts';
import type { SourceProperties } from '../../src/wire/vocabulary.ts';

const run = promisify(execFile);
export const openssl = async (...args: readonly string[]): Promise<Buffer> =>
  (await run('openssl', args, { encoding: 'buffer', timeout: 120_000 })).stdout;

/** OpenStack's name of each hash, and openssl's. */
export const HASHES = {
  'SHA-224': 'sha224',
  'SHA-256': 'sha256',
  'SHA-384': 'sha384',
  'SHA-512': 'sha512',
} as const;
export type HashMethod = keyof typeof HASHES;
export const HASH_METHODS = Object.keys(HASHES) as HashMethod[];

export interface Signer {
  readonly type: SignatureKeyType;
  readonly key: string;
  readonly certificate: string;
}

/** A private key of the type, and a certificate that it signed itself, in `folder`. */
export async function makeSigner(
  folder: string,
  type: SignatureKeyType,
  name: string = type,
): Promise<Signer> {
  const [key, certificate] = [path.join(folder, `${name}.key`), path.join(folder, `${name}.pem`)];
  await makeKey(type, key);
  const subject = `/CN=signer ${name}`;
  const made = ['req', '-x509', '-new', '-key', key, '-days', '3650', '-subj', subject];
  await openssl(...made, '-out', certificate);
  return { type, key, certificate };
}

export async function makeKey(type: SignatureKeyType, file: string): Promise<void> {
  if (type === 'RSA-PSS') {
    const bits = ['-pkeyopt', 'rsa_keygen_bits:2048'];
    await openssl('genpkey', '-quiet', '-algorithm', 'RSA', ...bits, '-out', file);
  } else if (type === 'DSA') {
    await openssl('dsaparam', '-genkey', '-noout', '-out', file, '2048');
  } else {
    const curve = type.slice('ECC_'.length).toLowerCase();
    await openssl('ecparam', '-name', curve, '-genkey', '-noout', '-out', file);
  }
}

/** As OpenStack's documentation signs an image: base64. */
export async function signFile(signer: Signer, method: HashMethod, file: string): Promise<string> {
  const padding = signer.type === 'RSA-PSS' ? ['-sigopt', 'rsa_padding_mode:pss'] : [];
  const out = `${signer.key}.${process.pid}.sig`;
  await openssl('dgst', `-${HASHES[method]}`, '-sign', signer.key, ...padding, '-out', out, file);
  return (await readFile(out)).toString('base64');
}

/** The properties that OpenStack would keep with an image that is signed so. */
export const signedProperties = (
  type: SignatureKeyType,
  method: HashMethod,
  signature: string,
  certificateUuid: string,
): SourceProperties => ({
  img_signature: signature,
  img_signature_hash_method: method,
  img_signature_key_type: type,
  img_signature_certificate_uuid: certificateUuid,
});
