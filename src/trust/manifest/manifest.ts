// A chunk manifest: what must be true of an image's content, by whose signature. Bytes and keys in, what a fill has to check out. Pure.

import type { KeyObject } from 'node:crypto';
import { type ErrorCode, OperatingError } from '../../wire/errors.ts';
import type { ChunkTable } from './chunk-table.ts';
import { findSigner, parseEnvelope, type Signer, sealEnvelope } from './envelope.ts';
import type { KeyId, ManifestKeys } from './keys.ts';
import { type Claims, encodeStatement, parseStatement } from './statement.ts';

export interface Manifest {
  readonly table: ChunkTable;
  readonly claims: Claims;
  /** Who it says has signed it; whether they did is not known. */
  readonly keyIds: readonly KeyId[];
}

export interface TrustedManifest extends Manifest {
  /** The key that counts, and whose signature is good. */
  readonly keyId: KeyId;
}

const OP = 'verify manifest';

/** A manifest's file. */
export function signManifest(table: ChunkTable, claims: Claims, privateKey: KeyObject): string {
  return sealEnvelope(encodeStatement(table, claims), privateKey);
}

/**
 * What it says; nobody vouches for it. `subject`: of errors.
 * @throws OperatingError corrupt: it is no manifest, or does not agree with itself
 */
export function readManifest(bytes: Uint8Array, subject: string): Manifest {
  const { manifest } = parsed(bytes, subject);
  return manifest;
}

/**
 * What it says of the source `subject`, by the word of a key that counts here.
 * @throws OperatingError corrupt (no manifest, a signature that is not of it), refused (unknown key, revoked key), mismatch (another size)
 */
export function trustManifest(
  bytes: Uint8Array,
  keys: ManifestKeys,
  source: { readonly subject: string; readonly sizeBytes: number },
): TrustedManifest {
  const { manifest, signer } = parsed(bytes, source.subject, keys);
  if (signer?.kind !== 'trusted') throw untrusted(source.subject, keys, signer);
  assertSize(manifest, source);
  return { ...manifest, keyId: signer.keyId };
}

/** @throws OperatingError mismatch: it is of an image of another size */
export function assertSize(
  { table }: Manifest,
  { subject, sizeBytes }: { readonly subject: string; readonly sizeBytes: number },
): void {
  if (table.sizeBytes === sizeBytes) return;
  const why = `its manifest is of other content: of ${table.sizeBytes} bytes, and it has ${sizeBytes}`;
  throw failure('mismatch', subject, why);
}

/** Before anything is read of what was signed, it is known who signed it. */
function parsed(
  bytes: Uint8Array,
  subject: string,
  keys?: ManifestKeys,
): { readonly manifest: Manifest; readonly signer?: Signer } {
  const outer = parseEnvelope(bytes);
  if (outer.kind === 'none') throw notOne(subject, outer.why);
  const signer = keys && findSigner(outer.envelope, keys);
  if (keys && signer?.kind !== 'trusted') throw untrusted(subject, keys, signer);
  const inner = parseStatement(outer.envelope.payload);
  if (inner.kind === 'none') throw notOne(subject, inner.why);
  const { table, claims } = inner;
  const keyIds = outer.envelope.signatures.map(({ keyId }) => keyId);
  return { manifest: { table, claims, keyIds }, ...(signer && { signer }) };
}

const WORDS: Readonly<Record<Exclude<Signer['kind'], 'trusted'>, (keyId: KeyId) => string>> = {
  bad: (keyId) => `its manifest's signature is not the one of key ${keyId}`,
  revoked: (keyId) => `its manifest is signed by key ${keyId}, which is revoked`,
  unknown: (keyId) => `its manifest is signed by key ${keyId}, which is not trusted here`,
};

function untrusted(subject: string, { folder }: ManifestKeys, signer?: Signer): OperatingError {
  const { kind, keyId } = signer ?? { kind: 'unknown' as const, keyId: '' };
  if (kind === 'trusted') throw new TypeError('it is trusted');
  const remove = 'remove the manifest: siphon describe SOURCE --remove-manifest';
  const hint =
    kind === 'unknown'
      ? `If you trust its owner, put the public key into ${folder} as a .pem file; else ${remove}.`
      : `Have it signed anew (siphon sign), or ${remove}.`;
  return failure(kind === 'bad' ? 'corrupt' : 'refused', subject, WORDS[kind](keyId), hint);
}

function notOne(subject: string, why: string): OperatingError {
  const hint = 'Make one with `siphon sign SOURCE --key KEY`; docs/manifests.md has the format.';
  return failure('corrupt', subject, `not a manifest: ${why}`, hint);
}

function failure(code: ErrorCode, subject: string, why: string, hint?: string): OperatingError {
  const advice = hint === undefined ? {} : { hint };
  return new OperatingError({ code, op: OP, subject, why, ...advice });
}
