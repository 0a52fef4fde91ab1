// The one place where an image's signature is verified, and what its key must be.

import type { KeyObject, Verify } from 'node:crypto';
import { constants } from 'node:crypto';
import type { ExpectedSignature, SignatureKeyType } from '../wire/verification-plan.ts';

/**
 * Whether what `verify` was fed is what was signed. RSA-PSS: MGF1 with the same hash, any salt length (openssl and OpenStack's signers
 * use the longest); DSA, ECDSA: DER. Throws what OpenSSL throws where the key does not serve at all.
 */
export function isGoodSignature(verify: Verify, expected: ExpectedSignature): boolean {
  const signature = Buffer.from(expected.signature, 'base64');
  const key = { key: expected.publicKeyPem };
  if (expected.keyType !== 'RSA-PSS')
    return verify.verify({ ...key, dsaEncoding: 'der' }, signature);
  const { RSA_PKCS1_PSS_PADDING: padding, RSA_PSS_SALTLEN_AUTO: saltLength } = constants;
  return verify.verify({ ...key, padding, saltLength }, signature);
}

/** `ec secp384r1`, `rsa 3072` */
export function describeKey({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string {
  const { namedCurve, modulusLength } = asymmetricKeyDetails ?? {};
  return [asymmetricKeyType, namedCurve ?? modulusLength].filter(Boolean).join(' ');
}

/** Whether a key is of the type: of an ECC type, on the curve that it names, which OpenStack's own verifier does not compare. */
export function isKeyOfType(key: KeyObject, type: SignatureKeyType): boolean {
  const { asymmetricKeyType: kind, asymmetricKeyDetails: details } = key;
  if (type === 'RSA-PSS') return kind === 'rsa' || kind === 'rsa-pss';
  if (type === 'DSA') return kind === 'dsa';
  return kind === 'ec' && details?.namedCurve === type.slice('ECC_'.length).toLowerCase();
}
