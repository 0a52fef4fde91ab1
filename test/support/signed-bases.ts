// Bases as a fill by signers leaves them in the catalogue.

import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { signatureId } from '../../src/wire/verification-plan.ts';
import type { VerifiedBy } from '../../src/wire/vocabulary.ts';
import type { Holder } from './authorities.ts';

/** What is kept of a signature of theirs, by the certificate of a UUID. `which`: each image's is another. */
export function keptSignature(by: Holder, certificate: string, which = 'AAAA'): string {
  const key = createPublicKey(readFileSync(by.certificate));
  const publicKeyPem = key.export({ type: 'spki', format: 'pem' });
  const said = { keyType: 'ECC_SECP384R1', hash: 'sha256', signature: which } as const;
  return signatureId({ ...said, certificate, publicKeyPem });
}

export const bySignature = (certificate: string): VerifiedBy => {
  return { what: 'signature', keyType: 'ECC_SECP384R1', certificate };
};
