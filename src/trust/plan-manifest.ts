// The manifest beside a source: believed by a key that is trusted here, before a byte moves. One that is there and is not good is refused.

import type { ExpectedManifest } from '../wire/verification-plan.ts';
import type { ManifestKeys } from './manifest/keys.ts';
import { trustManifest } from './manifest/manifest.ts';

/** What was found beside the source, as it is. */
export interface FoundManifest {
  readonly envelope: string;
  /** The source, as messages name it, and its size. */
  readonly subject: string;
  readonly sizeBytes: number;
  /** Whose manifests are believed. */
  readonly findKeys: () => Promise<ManifestKeys>;
}

/** @throws OperatingError as trustManifest does, and where the keys cannot be read */
export async function planManifest({
  envelope,
  findKeys,
  ...source
}: FoundManifest): Promise<ExpectedManifest> {
  const { keyId, table } = trustManifest(Buffer.from(envelope), await findKeys(), source);
  const { sha256, chunkBytes, bytes } = table;
  const dataBytes = Math.min(table.dataChunks * chunkBytes, table.sizeBytes);
  return { keyId, dataBytes, table: { sha256, chunkBytes, base64: bytes.toString('base64') } };
}
