// A DSSE envelope (secure-systems-lab/dsse, version 1): bytes, and signatures of them. Pure.

import type { KeyObject } from 'node:crypto';
import { dsse } from '@sigstore/core';
import { z } from 'zod';
import { MANIFEST_BYTES_MAX } from '../../wire/verification-plan.ts';
import { parseJson } from './bounded-json.ts';
import { isSigned, type KeyId, keyIdOf, type ManifestKeys, signBytes } from './keys.ts';

/** In-toto's. */
export const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
const SIGNATURES_MAX = 8;

const Envelope = z.strictObject({
  payloadType: z.literal(PAYLOAD_TYPE),
  payload: z.string(),
  signatures: z
    .array(
      z.strictObject({
        keyid: z.string().regex(/^[0-9a-f]{64}$/),
        sig: z.string().max(1024),
      }),
    )
    .min(1)
    .max(SIGNATURES_MAX),
});

interface Envelope {
  readonly payload: Buffer;
  readonly signatures: readonly { readonly keyId: KeyId; readonly signature: Buffer }[];
}

/** Bytes in, or why they are no envelope. Nothing is checked of its signatures. */
export type ParsedEnvelope =
  | { readonly kind: 'envelope'; readonly envelope: Envelope }
  | { readonly kind: 'none'; readonly why: string };

export function parseEnvelope(bytes: Uint8Array): ParsedEnvelope {
  const none = (why: string): ParsedEnvelope => ({ kind: 'none', why });
  if (bytes.length > MANIFEST_BYTES_MAX)
    return none(`it has more than ${MANIFEST_BYTES_MAX} bytes`);
  const json = parseJson(bytes);
  if (json.kind === 'none') return json;
  const found = Envelope.safeParse(json.value);
  if (!found.success) return none(`it is no DSSE envelope: ${whereIn(found.error)}`);
  const payload = fromBase64(found.data.payload);
  if (payload === undefined) return none('its payload is not base64');
  const signatures = found.data.signatures.flatMap(({ keyid: keyId, sig }) => {
    const signature = fromBase64(sig);
    return signature === undefined ? [] : [{ keyId, signature }];
  });
  if (signatures.length < found.data.signatures.length) return none('a signature is not base64');
  return { kind: 'envelope', envelope: { payload, signatures } };
}

/** As JSON, signed by this key. */
export function sealEnvelope(payload: Buffer, privateKey: KeyObject): string {
  const signature = signBytes(dsse.preAuthEncoding(PAYLOAD_TYPE, payload), privateKey);
  return JSON.stringify({
    payloadType: PAYLOAD_TYPE,
    payload: payload.toString('base64'),
    signatures: [{ keyid: keyIdOf(privateKey), sig: signature.toString('base64') }],
  });
}

/** Who of those that count has signed an envelope; else why nobody has. */
export type Signer =
  | { readonly kind: 'trusted'; readonly keyId: KeyId }
  | {
      readonly kind: 'bad' | 'revoked' | 'unknown';
      readonly keyId: KeyId;
    };

/** One trusted key is enough. Of what is wrong otherwise, the worst is told: a bad signature, a revoked key, an unknown one. */
export function findSigner(
  { payload, signatures }: Envelope,
  { trusted, revoked }: ManifestKeys,
): Signer {
  const bytes = dsse.preAuthEncoding(PAYLOAD_TYPE, payload);
  const signers = signatures.map(({ keyId, signature }): Signer => {
    if (revoked.has(keyId)) return { kind: 'revoked', keyId };
    const key = trusted.get(keyId);
    if (key === undefined) return { kind: 'unknown', keyId };
    return { kind: isSigned(bytes, key, signature) ? 'trusted' : 'bad', keyId };
  });
  const kinds = ['trusted', 'bad', 'revoked', 'unknown'] as const;
  const first = kinds.map((kind) => signers.find((each) => each.kind === kind)).find(Boolean);
  return first ?? { kind: 'unknown', keyId: '' };
}

/** Strict: what a lenient decoder skips would be bytes that nobody signed. */
export function fromBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

/** The first thing that is wrong, and where. */
export function whereIn(error: z.ZodError): string {
  const [issue] = error.issues;
  const at = issue?.path.join('.') ?? '';
  return `${at === '' ? '' : `${at}: `}${issue?.message ?? ''}`;
}
