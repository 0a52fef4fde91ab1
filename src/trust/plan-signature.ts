// An OpenStack image signature as its four properties name it, with the key resolved and tried before a byte moves.

import type { KeyObject } from 'node:crypto';
import { createVerify, X509Certificate } from 'node:crypto';
import type { ErrorCode } from '../wire/errors.ts';
import { OperatingError } from '../wire/errors.ts';
import {
  type ExpectedSignature,
  SIGNATURE_KEY_TYPES,
  type SignatureKeyType,
} from '../wire/verification-plan.ts';
import type { SourceProperties } from '../wire/vocabulary.ts';
import { isGoodSignature, isKeyOfType } from './signature.ts';

export type FindCertificate = (uuid: string) => Promise<string | Uint8Array | undefined>;

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
const UUID = /^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$/;

/** The signature that the properties name; undefined where none of them is there. @throws OperatingError as planVerification does. */
export async function planSignature(
  properties: SourceProperties,
  findCertificate: FindCertificate,
  now: number,
): Promise<ExpectedSignature | undefined> {
  const given = signatureProperties(properties);
  if (given === undefined) return undefined;
  const hash = hashOf(given.img_signature_hash_method);
  const keyType = keyTypeOf(given.img_signature_key_type);
  const signature = base64(given.img_signature);
  const certificate = uuidOf(given.img_signature_certificate_uuid);
  const key = await resolveKey(certificate, findCertificate, now);
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

/** Only a UUID becomes a file's name. OpenStack also writes it without hyphens. */
function uuidOf(text: string): string {
  const uuid = text.toLowerCase();
  if (!UUID.test(uuid)) {
    throw failure(
      'usage',
      'img_signature_certificate_uuid',
      `${JSON.stringify(text)} is not a UUID`,
    );
  }
  return uuid.replaceAll('-', '').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

async function resolveKey(uuid: string, find: FindCertificate, now: number): Promise<KeyObject> {
  const bytes = await find(uuid);
  if (bytes === undefined) {
    const hint = `Put the signer's certificate into the trust folder as ${uuid}.pem.`;
    throw failure('not-found', uuid, 'no such certificate in the trust folder', { hint });
  }
  const certificate = parseCertificate(uuid, bytes);
  const { validFromDate: from, validToDate: to } = certificate;
  if (now < from.getTime())
    throw failure('refused', uuid, `the certificate is not valid before ${from.toISOString()}`);
  if (now > to.getTime())
    throw failure('refused', uuid, `the certificate expired at ${to.toISOString()}`);
  return certificate.publicKey;
}

function parseCertificate(uuid: string, bytes: string | Uint8Array): X509Certificate {
  try {
    return new X509Certificate(bytes);
  } catch (cause) {
    throw failure('corrupt', uuid, 'what the trust folder holds is not an X.509 certificate', {
      cause,
    });
  }
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

function describeKey(key: KeyObject): string {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  return curve === undefined ? String(key.asymmetricKeyType) : `${key.asymmetricKeyType} ${curve}`;
}

function failure(
  code: ErrorCode,
  subject: string,
  why: string,
  more: { readonly hint?: string; readonly cause?: unknown } = {},
): OperatingError {
  return new OperatingError({ code, op: 'plan verification', subject, why, ...more });
}
