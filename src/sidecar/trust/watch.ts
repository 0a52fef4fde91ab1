// What changes in the trust folder is told in the log, whoever changes it: each plan reads it anew.

import { createHash } from 'node:crypto';
import path from 'node:path';
import type { Logger } from 'pino';
import { ANCHORS, CRLS, filesIn, MANIFEST_KEYS, REVOKED } from '../../trust/index.ts';

/** By path, the digest of each file that counts. @throws OperatingError */
export async function readTrustFiles(folder: string): Promise<ReadonlyMap<string, string>> {
  const places = [ANCHORS, CRLS, REVOKED, MANIFEST_KEYS].map((each) => path.join(folder, each));
  const read = await Promise.all([
    filesIn(folder, '.pem'),
    ...places.map((place) => filesIn(place)),
  ]);
  return new Map(
    read.flat().map(({ file, bytes }) => [file, createHash('sha256').update(bytes).digest('hex')]),
  );
}

/** Each call looks, and tells what has changed since the last one. `folder` is asked each time: a reload may name another. */
export function createTrustLook(folder: () => string, log: Logger): () => Promise<void> {
  let known: { readonly folder: string; readonly files: ReadonlyMap<string, string> } | undefined;
  return async () => {
    const now = folder();
    const files = await readTrustFiles(now);
    const before = known?.folder === now ? known.files : undefined;
    known = { folder: now, files };
    if (before === undefined) return log.info({ folder: now, files: files.size }, 'trust folder');
    const added = [...files.keys()].filter((file) => !before.has(file));
    const removed = [...before.keys()].filter((file) => !files.has(file));
    const changed = [...files].filter(([file, digest]) => (before.get(file) ?? digest) !== digest);
    if (added.length + removed.length + changed.length === 0) return;
    const told = { added, removed, changed: changed.map(([file]) => file) };
    log.warn({ folder: now, ...told }, 'the trust folder has changed');
  };
}
