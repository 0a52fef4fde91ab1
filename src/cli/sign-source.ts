// What signs a source: siphond reads the image; the key is read, and used, here alone.

import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { OperatingError } from '../wire/errors.ts';
import type {
  ManifestFacts,
  ManifestRequest,
  TableAnswer,
  TableRequest,
} from '../wire/manifest-api.ts';
import type { SourceIds } from '../wire/vocabulary.ts';
import { createClient } from './client.ts';
import { onFile } from './manifest-file.ts';
import { createScreen, follow } from './watch.ts';

/** What the signer calls it. */
export interface Claims {
  readonly name?: string;
  readonly version?: string;
}

/** Reads the source, signs its table, calls `keep`, and attaches it. @throws OperatingError */
export async function signSource(
  source: string,
  key: KeyObject,
  { claims, isQuiet, of, keep }: SignHow,
): Promise<ManifestFacts> {
  // Not before it is needed: it takes longer to load than all the rest of this program.
  const { signManifest } = await import('../trust/manifest/manifest.ts');
  const { ChunkTable } = await import('../trust/manifest/chunk-table.ts');
  const client = createClient();
  using screen = createScreen(isQuiet);
  const request: TableRequest = { source };
  const lines = client.watch('/v1/table', request);
  const { ids, table } = (await follow(lines, source, screen)) as TableAnswer;
  screen[Symbol.dispose]();
  if (of !== undefined && !isThat(ids, of)) throw another(source);
  const parsed = ChunkTable.parse(Buffer.from(table.base64, 'base64'));
  if (parsed.kind === 'none') throw new TypeError(`siphond's table: ${parsed.why}`);
  const envelope = signManifest(parsed.table, claims, key);
  await keep?.(envelope);
  const attach: ManifestRequest = { source, envelope, ids };
  return await client.post<ManifestFacts>('/v1/manifest', attach);
}

export interface SignHow {
  readonly claims: Claims;
  /** No progress is shown. */
  readonly isQuiet: boolean;
  /** What it must be. */
  readonly of?: Pick<SourceIds, 'fsid' | 'imageId' | 'snapId'>;
  readonly keep?: (envelope: string) => Promise<void>;
}

const isThat = (ids: SourceIds, of: NonNullable<SignHow['of']>): boolean =>
  ids.fsid === of.fsid && ids.imageId === of.imageId && ids.snapId === of.snapId;

function another(subject: string): OperatingError {
  const why = 'another image has this name: of the default cluster, or made meanwhile';
  return new OperatingError({ code: 'mismatch', op: 'sign', subject, why });
}

/** @throws OperatingError usage */
export async function assertClaims(claims: Claims): Promise<void> {
  const { whyNoClaim } = await import('../trust/manifest/statement.ts');
  for (const [what, text] of Object.entries(claims)) {
    const why = whyNoClaim(text);
    if (why === undefined) continue;
    throw new OperatingError({ code: 'usage', op: 'sign', subject: `--${what}`, why });
  }
}

/** It is asked for nothing but this, and no word of it is in an error. @throws OperatingError usage, not-found, denied */
export async function readKey(path: string): Promise<KeyObject> {
  const { whyNotOurs } = await import('../trust/manifest/keys.ts');
  const pem = await onFile('read key', path, () => readFile(path));
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    const isLocked = pem.includes('ENCRYPTED');
    throw noKey(path, isLocked ? 'it has a passphrase' : 'it is no private key in PEM');
  }
  const why = whyNotOurs(key);
  if (why !== undefined) throw noKey(path, why);
  return key;
}

function noKey(subject: string, why: string): OperatingError {
  const hint = 'Make one: openssl genpkey -algorithm ed25519 -out KEY.';
  return new OperatingError({ code: 'usage', op: 'read key', subject, why, hint });
}
