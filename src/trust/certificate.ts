// An X.509 certificate: read by OpenSSL, and what OpenSSL does not tell of it here by the library.

import { createHash, X509Certificate } from 'node:crypto';
import { AsnConvert, AsnParser } from '@peculiar/asn1-schema';
import {
  Certificate as Asn1Certificate,
  AuthorityKeyIdentifier,
  BasicConstraints,
  type Extension,
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_certificatePolicies,
  id_ce_cRLDistributionPoints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  type Name,
  SubjectKeyIdentifier,
} from '@peculiar/asn1-x509';
import { blocksOf } from './pem.ts';

export interface Certificate {
  readonly x509: X509Certificate;
  /** SHA-256 of the whole, and of its public key (SPKI): lower-case hex. */
  readonly fingerprint: string;
  readonly keyId: string;
  /** For people. */
  readonly subject: string;
  readonly issuer: string;
  /** To be compared: DER, hex. */
  readonly subjectName: string;
  readonly issuerName: string;
  readonly serial: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** Absent: it does not say. */
  readonly authority?: { readonly isOne: boolean; readonly pathLength?: number };
  readonly usage?: {
    readonly signsData: boolean;
    readonly signsCertificates: boolean;
    readonly signsCrls: boolean;
  };
  readonly subjectKey?: string;
  readonly authorityKey?: string;
  /** By MD5 or SHA-1, of which another certificate can be forged. */
  readonly isWeaklySigned: boolean;
  /** Critical extensions that nobody here looks at. */
  readonly strange: readonly string[];
}

export type Certificates =
  | { readonly kind: 'certificates'; readonly all: readonly [Certificate, ...Certificate[]] }
  | { readonly kind: 'none'; readonly why: string };

/** A file of more is no file of certificates. */
export const CERTIFICATE_BYTES_MAX = 256 * 1024;

/** What there is of policies, other names and the purposes of TLS does not bear on who may sign an image. */
const KNOWN: readonly string[] = [
  id_ce_basicConstraints,
  id_ce_keyUsage,
  id_ce_extKeyUsage,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  id_ce_authorityKeyIdentifier,
  id_ce_certificatePolicies,
  id_ce_cRLDistributionPoints,
];
/** MD2, MD5, SHA-1 with RSA, with DSA, with ECDSA (RFC 3279). */
const WEAK: readonly string[] = [
  '1.2.840.113549.1.1.2',
  '1.2.840.113549.1.1.4',
  '1.2.840.113549.1.1.5',
  '1.3.14.3.2.29',
  '1.2.840.10040.4.3',
  '1.2.840.10045.4.1',
];
export const isWeakAlgorithm = (oid: string): boolean => WEAK.includes(oid);

/** All certificates of a file, PEM or DER: the first is whom it is about. */
export function parseCertificates(bytes: Uint8Array): Certificates {
  if (bytes.length > CERTIFICATE_BYTES_MAX) {
    return { kind: 'none', why: `it is longer than ${CERTIFICATE_BYTES_MAX} bytes` };
  }
  const blocks = blocksOf(bytes, ['CERTIFICATE', 'X509 CERTIFICATE']);
  if (blocks === undefined) return { kind: 'none', why: 'its PEM is broken' };
  try {
    const [first, ...more] = blocks.map(readCertificate);
    if (first === undefined) return { kind: 'none', why: 'there is no certificate in it' };
    return { kind: 'certificates', all: [first, ...more] };
  } catch (cause) {
    return { kind: 'none', why: (cause as Error).message };
  }
}

/** @throws Error: OpenSSL's, or the library's */
function readCertificate(der: Buffer): Certificate {
  const x509 = new X509Certificate(der);
  const { tbsCertificate: told, signatureAlgorithm } = AsnParser.parse(x509.raw, Asn1Certificate);
  const extensions = [...(told.extensions ?? [])];
  const ofKey = x509.publicKey.export({ type: 'spki', format: 'der' });
  const authority = authorityOf(extensions);
  const usage = usageOf(extensions);
  return {
    x509,
    fingerprint: x509.fingerprint256.replaceAll(':', '').toLowerCase(),
    keyId: createHash('sha256').update(ofKey).digest('hex'),
    subject: readable(x509.subject), // absent where it is empty, whatever its type says
    issuer: readable(x509.issuer),
    subjectName: nameBytes(told.subject),
    issuerName: nameBytes(told.issuer),
    serial: serialText(Buffer.from(told.serialNumber)),
    fromMs: x509.validFromDate.getTime(),
    toMs: x509.validToDate.getTime(),
    ...(authority && { authority }),
    ...(usage && { usage }),
    ...keyIdentifiers(extensions),
    isWeaklySigned: isWeakAlgorithm(signatureAlgorithm.algorithm),
    strange: strangeOf(extensions, KNOWN),
  };
}

/** By name and signature. */
export function isIssuedBy(certificate: Certificate, issuer: Certificate): boolean {
  if (certificate.issuerName !== issuer.subjectName) return false;
  try {
    return certificate.x509.verify(issuer.x509.publicKey);
  } catch {
    return false; // the signature is of another kind than the key
  }
}

function authorityOf(extensions: readonly Extension[]): Certificate['authority'] {
  const found = valueOf(extensions, id_ce_basicConstraints, BasicConstraints);
  if (found === undefined) return undefined;
  const { cA: isOne, pathLenConstraint: pathLength } = found;
  return { isOne, ...(pathLength === undefined ? {} : { pathLength }) };
}

function usageOf(extensions: readonly Extension[]): Certificate['usage'] {
  const found = valueOf(extensions, id_ce_keyUsage, KeyUsage)?.toNumber();
  if (found === undefined) return undefined;
  const has = (flag: number) => (found & flag) !== 0;
  return {
    signsData: has(KeyUsageFlags.digitalSignature | KeyUsageFlags.nonRepudiation),
    signsCertificates: has(KeyUsageFlags.keyCertSign),
    signsCrls: has(KeyUsageFlags.cRLSign),
  };
}

/** By which two keys of one name are told apart. */
export function keyIdentifiers(
  extensions: readonly Extension[],
): Pick<Certificate, 'subjectKey' | 'authorityKey'> {
  const own = valueOf(extensions, id_ce_subjectKeyIdentifier, SubjectKeyIdentifier)?.buffer;
  const other = valueOf(extensions, id_ce_authorityKeyIdentifier, AuthorityKeyIdentifier);
  const others = other?.keyIdentifier?.buffer;
  return {
    ...(own && { subjectKey: Buffer.from(own).toString('hex') }),
    ...(others && { authorityKey: Buffer.from(others).toString('hex') }),
  };
}

function valueOf<T>(
  extensions: readonly Extension[],
  id: string,
  type: new () => T,
): T | undefined {
  const found = extensions.find((each) => each.extnID === id);
  return found && AsnParser.parse(found.extnValue.buffer, type);
}

/** Critical, and not among those that are known. */
export const strangeOf = (
  extensions: readonly Extension[],
  known: readonly string[],
): readonly string[] =>
  extensions.filter((each) => each.critical && !known.includes(each.extnID)).map((e) => e.extnID);

/** A name as it is compared, byte by byte. */
export const nameBytes = (name: Name): string =>
  Buffer.from(AsnConvert.serialize(name)).toString('hex');

/** An INTEGER's bytes without what does not count. */
export const serialText = (bytes: Buffer): string =>
  bytes.toString('hex').replace(/^(00)+(?=.)/, '');

/** `CN=a, O=b` on one line, whatever is in it. */
export function readable(name: string | undefined): string {
  const line = (name ?? '').replaceAll('\n', ', ').replaceAll(/\p{Cc}/gu, '?');
  return line === '' ? '(no name)' : line;
}
