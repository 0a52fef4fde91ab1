// The payload of a manifest: an in-toto Statement, version 1, whose subject is a table of chunks. Pure.

import { z } from 'zod';
import { parseJson } from './bounded-json.ts';
import { ChunkTable } from './chunk-table.ts';
import { fromBase64, whereIn } from './envelope.ts';

const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
export const PREDICATE_TYPE = 'urn:siphon:chunk-manifest:1';

/** What its signer says of an image, beside its content. */
export interface Claims {
  readonly name?: string;
  readonly version?: string;
}

const CLAIM_CHARS_MAX = 256;
const Claim = z
  .string()
  .min(1)
  .max(CLAIM_CHARS_MAX)
  .refine((text) => !/\p{Cc}/u.test(text), { error: 'it holds a control character' });
const Size = z.number().refine((size) => Number.isSafeInteger(size) && size > 0, {
  error: 'it is an impossible size',
});

const Statement = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z.tuple([
    z.strictObject({
      name: z.string().max(CLAIM_CHARS_MAX).exactOptional(),
      digest: z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
    }),
  ]),
  predicateType: z.literal(PREDICATE_TYPE),
  predicate: z.strictObject({
    sizeBytes: Size,
    chunkBytes: Size,
    table: z.string(),
    name: Claim.exactOptional(),
    version: Claim.exactOptional(),
  }),
});

export type ParsedStatement =
  | { readonly kind: 'statement'; readonly table: ChunkTable; readonly claims: Claims }
  | { readonly kind: 'none'; readonly why: string };

/** Whether `text` may be a claim; else why not. */
export function whyNoClaim(text: string): string | undefined {
  const parsed = Claim.safeParse(text);
  return parsed.success ? undefined : whereIn(parsed.error);
}

export function encodeStatement(table: ChunkTable, claims: Claims): Buffer {
  const { sizeBytes, chunkBytes, sha256 } = table;
  const statement: z.input<typeof Statement> = {
    _type: STATEMENT_TYPE,
    subject: [{ digest: { sha256 } }],
    predicateType: PREDICATE_TYPE,
    predicate: { ...claims, sizeBytes, chunkBytes, table: table.bytes.toString('base64') },
  };
  return Buffer.from(JSON.stringify(statement));
}

/** All that it says of itself must agree. */
export function parseStatement(payload: Buffer): ParsedStatement {
  const none = (why: string): ParsedStatement => ({ kind: 'none', why });
  const json = parseJson(payload);
  if (json.kind === 'none') return none(`its payload: ${json.why}`);
  const found = Statement.safeParse(json.value);
  if (!found.success) return none(`its payload is no chunk manifest: ${whereIn(found.error)}`);
  const { subject, predicate } = found.data;
  const { sizeBytes, chunkBytes, table: base64, name, version } = predicate;
  const bytes = fromBase64(base64);
  if (bytes === undefined) return none('its table is not base64');
  const parsed = ChunkTable.parse(bytes);
  if (parsed.kind === 'none') return none(`its table: ${parsed.why}`);
  const { table } = parsed;
  if (table.sha256 !== subject[0].digest.sha256)
    return none('its table is another than the one that it names by its digest');
  if (table.sizeBytes !== sizeBytes || table.chunkBytes !== chunkBytes)
    return none('its table is of other sizes than those that it states');
  const claims = { ...(name !== undefined && { name }), ...(version !== undefined && { version }) };
  return { kind: 'statement', table, claims };
}
