// The keys of manifests: Ed25519 and ECDSA on P-256, known by the SHA-256 of their SubjectPublicKeyInfo. Pure.

import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

/** Lower-case hex. */
export type KeyId = string;

/** Which keys count here, by their ids. */
export interface ManifestKeys {
  readonly trusted: ReadonlyMap<KeyId, KeyObject>;
  readonly revoked: ReadonlySet<KeyId>;
  /** Where a key goes that is to be trusted, for messages. */
  readonly folder: string;
}

/** Also of a private key. `openssl pkey -in KEY -pubout -outform DER | sha256sum` */
export function keyIdOf(key: KeyObject): KeyId {
  const spki = publicOf(key).export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('hex');
}

export function publicOf(key: KeyObject): KeyObject {
  return key.type === 'private' ? createPublicKey(key) : key;
}

/** What is wrong with a key, if it is not of one of the two kinds. */
export function whyNotOurs(key: KeyObject): string | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'ed25519') return undefined;
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return undefined;
  const found = details?.namedCurve === undefined ? type : `${type} ${details.namedCurve}`;
  return `it is a key of ${found}: Ed25519 and ECDSA on P-256 (prime256v1) are known`;
}

export function signBytes(bytes: Uint8Array, key: KeyObject): Buffer {
  if (key.asymmetricKeyType === 'ed25519') return sign(null, bytes, key);
  return sign('sha256', bytes, { key, dsaEncoding: 'der' });
}

export function isSigned(bytes: Uint8Array, key: KeyObject, signature: Uint8Array): boolean {
  if (key.asymmetricKeyType === 'ed25519') return verify(null, bytes, key, signature);
  return verify('sha256', bytes, { key, dsaEncoding: 'der' }, signature);
}
