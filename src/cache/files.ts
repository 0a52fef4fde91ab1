// The files of bases on disk: partial ones, publishing by rename, removal; each durable when it returns.

import { chmod, mkdir, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { codeOfErrno, OperatingError } from '../wire/errors.ts';
import type { FileFacts } from './catalogue/bases.ts';

const PARTIAL_FOLDER = '.partial';
const QUARANTINE_FOLDER = '.quarantine';
/** QEMU runs as another user, and must pass through. */
const FOLDER_MODE = 0o755;
const BASE_MODE = 0o644;
/** Nobody but siphon looks at what is not complete, or not what it must be. */
const PARTIAL_MODE = 0o700;
/** st_blocks counts these, whatever the file system's block is (stat(2)). */
const STAT_BLOCK_BYTES = 512;

export interface DiskFile extends FileFacts {
  readonly inode: number;
  readonly allocatedBytes: number;
}

/** Where the fill of a job writes: on the file system of the bases, under a name that is not a base's. */
export function partialPath(root: string, jobId: string): string {
  return join(root, PARTIAL_FOLDER, jobId);
}

/** Where what failed its check is kept: on the same file system, under names that are no bases'. */
export function quarantineFolder(root: string): string {
  return join(root, QUARANTINE_FOLDER);
}

/** Makes the cache's folder, and those of partial files and of the quarantine. */
export async function prepareFolders(root: string): Promise<void> {
  await onDisk('make folder', root, async () => {
    await mkdir(root, { recursive: true, mode: FOLDER_MODE });
    for (const folder of [join(root, PARTIAL_FOLDER), quarantineFolder(root)]) {
      await mkdir(folder, { recursive: true, mode: PARTIAL_MODE });
    }
  });
}

/** undefined: proved not to be there, or not a regular file. */
export async function statFile(path: string): Promise<DiskFile | undefined> {
  return onDisk('stat', path, async () => {
    const found = await stat(path).catch(undefinedIfAbsent);
    if (!found?.isFile()) return undefined;
    const { size, mtimeMs, ino: inode, blocks } = found;
    return { sizeBytes: size, mtimeMs, inode, allocatedBytes: blocks * STAT_BLOCK_BYTES };
  });
}

export function isSameFile(a: FileFacts, b: FileFacts): boolean {
  const isSameInode = a.inode === undefined || b.inode === undefined || a.inode === b.inode;
  return a.sizeBytes === b.sizeBytes && a.mtimeMs === b.mtimeMs && isSameInode;
}

/** Makes the name of a partial file durable, before the journal says that it is there. */
export async function syncPartialFolder(root: string): Promise<void> {
  await onDisk('sync', root, () => syncFolder(join(root, PARTIAL_FOLDER)));
}

/** Gives a complete, synced partial file its base's name: from then on guests see it. */
export async function publishFile(root: string, partial: string, path: string): Promise<void> {
  await onDisk('publish', path, async () => {
    const folders = [dirname(path), dirname(dirname(path))];
    await mkdir(dirname(path), { recursive: true });
    for (const folder of folders) await chmod(folder, FOLDER_MODE);
    await chmod(partial, BASE_MODE);
    await rename(partial, path);
    for (const folder of [...folders, root, join(root, PARTIAL_FOLDER)]) await syncFolder(folder);
  });
}

/** Removes a file that may be gone already. */
export async function removeFile(path: string): Promise<void> {
  await onDisk('remove', path, async () => {
    await unlink(path).catch(undefinedIfAbsent);
    // No folder: nothing was ever in it.
    await syncFolder(dirname(path)).catch(undefinedIfAbsent);
  });
}

/** Removes all partial files, for a siphond that has just begun; tells how many. */
export async function removePartials(root: string): Promise<number> {
  const folder = join(root, PARTIAL_FOLDER);
  return onDisk('clear', folder, async () => {
    const names = await readdir(folder);
    for (const name of names) await rm(join(folder, name), { recursive: true, force: true });
    return names.length;
  });
}

/** The files under the cache's folder where bases stand, three levels down; links and anything else left out. */
export async function listBaseFiles(root: string): Promise<string[]> {
  return onDisk('list', root, async () => {
    const found: string[] = [];
    for (const fsid of await foldersIn(root)) {
      for (const pool of await foldersIn(fsid)) {
        const entries = await readdir(pool, { withFileTypes: true });
        found.push(...entries.filter((each) => each.isFile()).map(({ name }) => join(pool, name)));
      }
    }
    return found;
  });
}

/** Runs `work`; what the kernel refuses becomes an OperatingError. */
export async function onDisk<T>(op: string, subject: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).errno;
    if (errno === undefined) throw cause;
    throw new OperatingError({ code: codeOfErrno(-errno), op, subject, cause });
  }
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries
    .filter((each) => each.isDirectory() && !each.name.startsWith('.'))
    .map(({ name }) => join(folder, name));
}

export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

function undefinedIfAbsent(error: unknown): undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
  throw error;
}
