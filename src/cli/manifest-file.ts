// A manifest's file, read and written by whoever calls siphon.

import { open, readFile, rename, stat } from 'node:fs/promises';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';
import { MANIFEST_BYTES_MAX } from '../wire/verification-plan.ts';

/** @throws OperatingError not-found, denied, usage (too large, no file) */
export async function readManifestFile(path: string): Promise<string> {
  return await onFile('read manifest', path, async () => {
    const found = await stat(path);
    if (!found.isFile() || found.size > MANIFEST_BYTES_MAX) {
      const why = found.isFile()
        ? `it has ${found.size} bytes: ${MANIFEST_BYTES_MAX} are the most`
        : 'it is no file';
      throw new OperatingError({ code: 'usage', op: 'read manifest', subject: path, why });
    }
    return await readFile(path, 'utf8');
  });
}

/** Whole, over what is there. @throws OperatingError */
export async function writeManifestFile(path: string, envelope: string): Promise<void> {
  await onFile('write manifest', path, async () => {
    const partial = `${path}.partial`;
    await using file = await open(partial, 'w', 0o644);
    await file.writeFile(envelope);
    await file.sync();
    await rename(partial, path);
  });
}

export async function onFile<T>(op: string, subject: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const { errno } = cause as NodeJS.ErrnoException;
    if (cause instanceof OperatingError || errno === undefined) throw cause;
    throw new OperatingError({ code: codeOfErrno(-errno), op, subject, cause });
  }
}
