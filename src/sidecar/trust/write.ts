// Writes into the trust folder, as whoever may: a file is there whole and durably, or not at all.

import { randomBytes } from 'node:crypto';
import { chmod, link, mkdir, open, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import { codeOfErrno, OperatingError } from '../../wire/errors.ts';

const OP = 'write trust folder';
/** Whatever the umask: siphond, another user, reads them. */
const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;

/** False: a file is there already, and was not to be replaced. @throws OperatingError */
export async function writeTrustFile(
  file: string,
  bytes: string | Uint8Array,
  isReplaced: boolean,
): Promise<boolean> {
  const folder = path.dirname(file);
  const partial = path.join(folder, `.${path.basename(file)}.${randomBytes(6).toString('hex')}`);
  try {
    const isNew = (await mkdir(folder, { recursive: true })) !== undefined;
    if (isNew) await chmod(folder, FOLDER_MODE);
    await writeWhole(partial, bytes);
    try {
      const isWritten = await giveName(partial, file, isReplaced);
      for (const each of [folder, path.dirname(folder)]) await syncFolder(each);
      return isWritten;
    } finally {
      await unlink(partial).catch(() => undefined); // it has its name already
    }
  } catch (cause) {
    const { errno } = cause as NodeJS.ErrnoException;
    if (errno === undefined) throw cause;
    const hint = 'The trust folder is root’s: run this as root.';
    const code = codeOfErrno(-errno);
    throw new OperatingError({
      code,
      op: OP,
      subject: file,
      cause,
      ...(code === 'denied' && { hint }),
    });
  }
}

async function writeWhole(file: string, bytes: string | Uint8Array): Promise<void> {
  await using handle = await open(file, 'wx', FILE_MODE);
  await handle.chmod(FILE_MODE);
  await handle.writeFile(bytes);
  await handle.sync();
}

async function giveName(partial: string, file: string, isReplaced: boolean): Promise<boolean> {
  try {
    await (isReplaced ? rename(partial, file) : link(partial, file));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, 'r');
  await handle.sync();
}
