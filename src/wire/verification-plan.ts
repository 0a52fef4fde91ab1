// What a fill must check, decided (src/trust) before a byte moves and carried out while the bytes stream.

import type { ChunkTableRef, DigestAlgorithm, DiskFormat } from './vocabulary.ts';

export interface ExpectedDigest {
  readonly algorithm: DigestAlgorithm;
  /** Lower-case hex. */
  readonly hex: string;
  readonly from: 'operator' | 'properties';
}

/** Whether equal digests prove equal bytes. MD5 and SHA-1 find accidents: whoever forges makes other bytes of the same digest. */
export const isProof = (algorithm: DigestAlgorithm): boolean =>
  algorithm !== 'md5' && algorithm !== 'sha1';

/** OpenStack's names of what may sign: each ECC type is one curve. */
export const SIGNATURE_KEY_TYPES = [
  'RSA-PSS',
  'DSA',
  'ECC_SECT571K1',
  'ECC_SECT409K1',
  'ECC_SECT571R1',
  'ECC_SECT409R1',
  'ECC_SECP521R1',
  'ECC_SECP384R1',
] as const;
export type SignatureKeyType = (typeof SIGNATURE_KEY_TYPES)[number];

/** One OpenStack image signature with its key resolved: base64 signature, PEM public key. */
export interface ExpectedSignature {
  readonly keyType: SignatureKeyType;
  readonly hash: 'sha224' | 'sha256' | 'sha384' | 'sha512';
  readonly signature: string;
  readonly publicKeyPem: string;
  /** The certificate's UUID, for the record. */
  readonly certificate: string;
}

/** What is recorded of a signature that was good: the same text under another certificate, or by another key, is another. */
export const signatureId = (it: ExpectedSignature): string =>
  [it.keyType, it.hash, it.certificate, it.signature, it.publicKeyPem].join(' ');

/** What of it is told again: which certificate, and by which key. undefined: it is no such text. */
export function parseSignatureId(
  text: string,
): Pick<ExpectedSignature, 'keyType' | 'certificate' | 'publicKeyPem'> | undefined {
  const [keyType, , certificate, , ...pem] = text.split(' ');
  const type = SIGNATURE_KEY_TYPES.find((each) => each === keyType);
  if (type === undefined || certificate === undefined || pem.length === 0) return undefined;
  return { keyType: type, certificate, publicKeyPem: pem.join(' ') };
}

/** What a manifest's file may have at most: the table of an image with 1 TiB of data, twice in base64. */
export const MANIFEST_BYTES_MAX = 16 * 1024 ** 2;

/** A table of chunks with its bytes (docs/manifests.md): some KiB, or a few MiB of a large image. */
export interface ChunkTableBytes extends ChunkTableRef {
  readonly base64: string;
}

/** A chunk manifest whose signature was found good, by a key that is trusted here. */
export interface ExpectedManifest {
  /** SHA-256 of its SubjectPublicKeyInfo, lower-case hex. */
  readonly keyId: string;
  /** In chunks that are no holes: a base of it needs no more. */
  readonly dataBytes: number;
  readonly table: ChunkTableBytes;
}

export interface VerificationPlan {
  readonly digests: readonly ExpectedDigest[];
  readonly signature?: ExpectedSignature;
  readonly manifest?: ExpectedManifest;
  /** The properties' `disk_format`: the bytes must be this. */
  readonly declaredFormat?: DiskFormat;
  /** What its bytes may be, by a rule of trust; absent: raw or qcow2. `foreignRaw`: declared raw, though they look like another format. */
  readonly accepts?: { readonly formats: readonly DiskFormat[]; readonly foreignRaw: boolean };
  /** Where the properties came from: a file that an operator gave, or the record beside the image. */
  readonly propertiesFrom?: 'file' | 'record';
}

/** Who said what must be, for people. */
export function whoSays(
  { propertiesFrom }: Pick<VerificationPlan, 'propertiesFrom'>,
  from: ExpectedDigest['from'],
): string {
  if (from === 'operator') return 'the operator';
  return propertiesFrom === 'file' ? 'the properties file' : 'the record beside the image';
}
