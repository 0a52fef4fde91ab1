// The one place where a signature is verified.

import type { Verify } from 'node:crypto';
import { constants } from 'node:crypto';
import type { ExpectedSignature } from '../wire/verification-plan.ts';

/**
 * Whether what `verify` was fed is what was signed. RSA-PSS: MGF1 with the same hash, any salt length (openssl and OpenStack's signers
 * use the longest); ECDSA: DER. Throws what OpenSSL throws where the key does not serve at all.
 */
export function isGoodSignature(verify: Verify, expected: ExpectedSignature): boolean {
  const signature = Buffer.from(expected.signature, 'base64');
  const key = { key: expected.publicKeyPem };
  if (expected.keyType === 'ECC_SECP384R1')
    return verify.verify({ ...key, dsaEncoding: 'der' }, signature);
  const { RSA_PKCS1_PSS_PADDING: padding, RSA_PSS_SALTLEN_AUTO: saltLength } = constants;
  return verify.verify({ ...key, padding, saltLength }, signature);
}
