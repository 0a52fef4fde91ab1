// An OpenStack image signature as its four properties name it, with the key resolved and tried before a byte moves.

import type { KeyObject } from 'node:crypto';
import { createVerify } from 'node:crypto';
import type { ErrorCode } from '../wire/errors.ts';
import { OperatingError } from '../wire/errors.ts';
import {
  type ExpectedSignature,
  SIGNATURE_KEY_TYPES,
  type SignatureKeyType,
} from '../wire/verification-plan.ts';
import type { SourceProperties } from '../wire/vocabulary.ts';
import { parseCertificates } from './certificate.ts';
import { judgeChain, NO_TRUST, type Trust } from './chain.ts';
import { describeKey, isGoodSignature, isKeyOfType } from './signature.ts';

/** A source of keys: the certificate of a UUID (PEM or DER), perhaps with others of its chain behind it; undefined: it has none. */
export type FindCertificate = (uuid: string) => Promise<string | Uint8Array | undefined>;

export interface SignatureRequest {
  readonly findCertificate: FindCertificate;
  /** Asked where there is a signature. Absent: a certificate that is found is trusted. */
  readonly readTrust?: () => Promise<Trust>;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Told what is no reason to refuse, and should be mended. */
  readonly onWarning?: (what: string) => void;
}

const PROPERTIES = [
  'img_signature',
  'img_signature_hash_method',
  'img_signature_key_type',
  'img_signature_certificate_uuid',
] as const;
type SignatureProperties = Readonly<Record<(typeof PROPERTIES)[number], string>>;

const HASHES: Readonly<Record<string, ExpectedSignature['hash']>> = {
  'SHA-224': 'sha224',
  'SHA-256': 'sha256',
  'SHA-384': 'sha384',
  'SHA-512': 'sha512',
};
const CHAIN_HINT = 'siphon trust list tells what is trusted here, and what is wrong with the rest.';
const UUID = /^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$/;

/** The signature that the properties name; undefined where none of them is there. @throws OperatingError as planVerification does. */
export async function planSignature(
  properties: SourceProperties,
  request: SignatureRequest,
): Promise<ExpectedSignature | undefined> {
  const given = signatureProperties(properties);
  if (given === undefined) return undefined;
  const hash = hashOf(given.img_signature_hash_method);
  const keyType = keyTypeOf(given.img_signature_key_type);
  const signature = base64(given.img_signature);
  const certificate = uuidOf(given.img_signature_certificate_uuid);
  const key = await resolveKey(certificate, request);
  if (!isKeyOfType(key, keyType)) {
    throw failure(
      'mismatch',
      certificate,
      `the certificate's key is ${describeKey(key)}, not ${keyType}`,
    );
  }
  const publicKeyPem = key.export({ type: 'spki', format: 'pem' });
  const planned = { keyType, hash, signature, publicKeyPem, certificate };
  tryOut(planned);
  return planned;
}

function signatureProperties(properties: SourceProperties): SignatureProperties | undefined {
  const missing = PROPERTIES.filter((name) => !properties[name]);
  if (missing.length === PROPERTIES.length) return undefined;
  if (missing.length > 0) throw failure('usage', 'img_signature', `${missing.join(', ')} missing`);
  return properties as SignatureProperties;
}

function hashOf(method: string): ExpectedSignature['hash'] {
  const hash = Object.hasOwn(HASHES, method) ? HASHES[method] : undefined;
  if (hash !== undefined) return hash;
  const why = `'${method}' is not supported: ${Object.keys(HASHES).join(', ')} are`;
  throw failure('refused', 'img_signature_hash_method', why);
}

function keyTypeOf(name: string): SignatureKeyType {
  const type = SIGNATURE_KEY_TYPES.find((each) => each === name);
  if (type !== undefined) return type;
  const why = `'${name}' is not supported: ${SIGNATURE_KEY_TYPES.join(', ')} are`;
  throw failure('refused', 'img_signature_key_type', why);
}

/** Strict, line breaks apart: a lenient decoder would skip what is not of the alphabet. */
function base64(text: string): string {
  const packed = text.replaceAll(/\s/g, '');
  const bytes = Buffer.from(packed, 'base64');
  if (bytes.length > 0 && bytes.toString('base64') === packed) return packed;
  throw failure('usage', 'img_signature', 'it is not base64');
}

/** Only a UUID becomes a file's name. */
function uuidOf(text: string): string {
  const uuid = toUuid(text);
  if (uuid !== undefined) return uuid;
  const why = `${JSON.stringify(text)} is not a UUID`;
  throw failure('usage', 'img_signature_certificate_uuid', why);
}

/** In lower case and with hyphens, without which OpenStack writes it, too; undefined: it is none. */
export function toUuid(text: string): string | undefined {
  const uuid = text.toLowerCase();
  if (!UUID.test(uuid)) return undefined;
  return uuid.replaceAll('-', '').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

async function resolveKey(uuid: string, request: SignatureRequest): Promise<KeyObject> {
  const { findCertificate, readTrust, now, onWarning } = request;
  const trust = (await readTrust?.()) ?? NO_TRUST;
  if (trust.revoked.has(uuid)) throw failure('refused', uuid, 'the certificate was revoked here');
  const bytes = await findCertificate(uuid);
  if (bytes === undefined) {
    const hint = `Put the signer's certificate into the trust folder as ${uuid}.pem: siphon trust add`;
    throw failure('not-found', uuid, 'no such certificate in the trust folder', { hint });
  }
  const found = parseCertificates(Buffer.from(bytes));
  if (found.kind === 'none') {
    const why = `what the trust folder holds is not an X.509 certificate: ${found.why}`;
    throw failure('corrupt', uuid, why);
  }
  const [certificate, ...more] = found.all;
  const verdict = judgeChain(certificate, more, trust, now);
  if (verdict.kind === 'refused') throw failure('refused', uuid, verdict.why, { hint: CHAIN_HINT });
  for (const issuer of verdict.overdue) onWarning?.(`the CRL of ${issuer} is overdue`);
  return certificate.x509.publicKey;
}

/** A key may forbid a hash or a salt (RSASSA-PSS parameters), or be unreadable to OpenSSL: that shows at the first use, so use it now. */
function tryOut(planned: ExpectedSignature): void {
  try {
    isGoodSignature(createVerify(planned.hash), planned);
  } catch (cause) {
    const why = `its key cannot be used with ${planned.keyType} and ${planned.hash}`;
    throw failure('refused', planned.certificate, why, { cause });
  }
}

function failure(
  code: ErrorCode,
  subject: string,
  why: string,
  more: { readonly hint?: string; readonly cause?: unknown } = {},
): OperatingError {
  return new OperatingError({ code, op: 'plan verification', subject, why, ...more });
}
