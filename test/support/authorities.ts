// Chains of certificates and CRLs, made by the openssl command (3.0 and later).

import { copyFile, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { SignatureKeyType } from '../../src/wire/verification-plan.ts';
import { makeKey, openssl } from './signers.ts';

/** Somebody with a key and a certificate, in files. */
export interface Holder {
  readonly name: string;
  readonly key: string;
  readonly certificate: string;
}

export interface Wish {
  /** Else it signs itself. */
  readonly issuer?: Holder;
  readonly type?: SignatureKeyType;
  /** Of the certificate; else `name`. */
  readonly subject?: string;
  /** Lines of an x509v3 section. */
  readonly extensions: readonly string[];
  readonly days?: number;
  readonly hash?: string;
  readonly serial?: number;
  /** Else a key is made. */
  readonly keyOf?: Holder;
}

export const CA = (pathLength?: number): string[] => [
  `basicConstraints=critical,CA:TRUE${pathLength === undefined ? '' : `,pathlen:${pathLength}`}`,
  'keyUsage=critical,keyCertSign,cRLSign',
  'subjectKeyIdentifier=hash',
];
export const SIGNER: readonly string[] = [
  'basicConstraints=CA:FALSE',
  'keyUsage=critical,digitalSignature',
];

let serials = 1;

/** A key and a certificate, `NAME.key` and `NAME.pem`. */
export async function makeHolder(folder: string, name: string, wish: Wish): Promise<Holder> {
  const file = (suffix: string) => path.join(folder, `${name}.${suffix}`);
  const holder = { name, key: file('key'), certificate: file('pem') };
  const { issuer, type = 'ECC_SECP384R1', subject = name, days = 100, hash = 'sha256' } = wish;
  if (wish.keyOf === undefined) await makeKey(type, holder.key);
  else await copyFile(wish.keyOf.key, holder.key);
  const request = ['req', '-new', '-key', holder.key, '-subj', `/CN=${subject}`];
  await openssl(...request, '-out', file('csr'));
  await writeFile(file('ext'), `${wish.extensions.join('\n')}\n`);
  const signer =
    issuer === undefined
      ? ['-signkey', holder.key]
      : ['-CA', issuer.certificate, '-CAkey', issuer.key];
  const serial = ['-set_serial', String(wish.serial ?? serials++)];
  const made = ['x509', '-req', '-in', file('csr'), ...signer, ...serial, `-${hash}`];
  const more = ['-days', String(days), '-extfile', file('ext'), '-out', holder.certificate];
  await openssl(...made, ...more);
  return holder;
}

export interface CrlWish {
  /** Serial numbers. */
  readonly revoked?: readonly number[];
  readonly days?: number;
  /** Else in days. */
  readonly seconds?: number;
  /** Lines of the list's own extensions. */
  readonly extensions?: readonly string[];
}

/** A CRL of the issuer's, as DER. */
export async function makeCrl(folder: string, issuer: Holder, wish: CrlWish): Promise<Buffer> {
  const file = (suffix: string) => path.join(folder, `crl-${issuer.name}.${suffix}`);
  const lines = (wish.revoked ?? []).map(
    (serial) => `R\t400101000000Z\t260101000000Z\t${hexSerial(serial)}\tunknown\t/CN=x\n`,
  );
  await writeFile(file('index'), lines.join(''));
  await writeFile(file('number'), '01\n');
  await writeFile(
    file('cnf'),
    `[ca]\ndefault_ca = own\n[own]\ndatabase = ${file('index')}\ncrlnumber = ${file('number')}
default_md = sha256\ndefault_crl_days = ${wish.days ?? 30}\ncrl_extensions = list\n[list]\n${(
      wish.extensions ?? ['authorityKeyIdentifier = keyid']
    ).join('\n')}\n[point]\nonlyuser = TRUE\n`,
  );
  const soon = wish.seconds === undefined ? [] : ['-crlsec', String(wish.seconds)];
  const by = ['-keyfile', issuer.key, '-cert', issuer.certificate, ...soon];
  await openssl('ca', '-gencrl', '-config', file('cnf'), ...by, '-out', file('crl'));
  await openssl('crl', '-in', file('crl'), '-outform', 'DER', '-out', file('der'));
  return await readFile(file('der'));
}

function hexSerial(serial: number): string {
  const hex = serial.toString(16).toUpperCase();
  return hex.length % 2 === 0 ? hex : `0${hex}`;
}

/** What `openssl verify` says of a certificate. */
export async function opensslTrusts(
  certificate: string,
  anchors: string,
  between: string,
  more: readonly string[] = [],
): Promise<boolean> {
  const given = ['-partial_chain', '-no-CApath', '-no-CAstore', '-trusted', anchors];
  try {
    await openssl('verify', ...given, '-untrusted', between, ...more, certificate);
    return true;
  } catch {
    return false;
  }
}
