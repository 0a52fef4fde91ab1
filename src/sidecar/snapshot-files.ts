// The files that disks are written to: under a marked name until all of a set are whole, and never over another.

import { link, lstat, open, rm, statfs } from 'node:fs/promises';
import path from 'node:path';
import type { FilePaths, SnapshotFiles } from '../snapshot/publish/ports.ts';
import { codeOfErrno, type ErrorCode, OperatingError } from '../wire/errors.ts';

export const snapshotFiles: SnapshotFiles = { freeBytesIn, assertFree, nameFiles, dropFiles };

async function freeBytesIn(folder: string): Promise<number> {
  return await inFolder('look at folder', folder, async () => {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  });
}

async function assertFree(all: readonly FilePaths[]): Promise<void> {
  for (const { path: file } of all) if (await isThere(file)) throw taken(file);
}

async function nameFiles(all: readonly FilePaths[]): Promise<void> {
  // A link, unlike a rename, never replaces what is there. All names before the first partial one goes: until then it can be undone.
  for (const { partial, path: file } of all) {
    if (!(await isThere(partial)) || (await isSame(partial, file))) continue;
    if (await isThere(file)) throw taken(file);
    await inFolder('name file', file, () => link(partial, file));
  }
  await syncFolders(all);
  for (const { partial } of all) await inFolder('name file', partial, () => rm(partial, FORCE));
  await syncFolders(all);
}

async function dropFiles(all: readonly FilePaths[]): Promise<void> {
  for (const { partial, path: file } of all) {
    const isOurs = await isSame(partial, file);
    if (isOurs) await inFolder('remove file', file, () => rm(file, FORCE));
    await inFolder('remove file', partial, () => rm(partial, FORCE));
  }
}

const FORCE = { force: true } as const;

async function isThere(file: string): Promise<boolean> {
  return (await statOf(file)) !== undefined;
}

async function isSame(one: string, other: string): Promise<boolean> {
  const [a, b] = [await statOf(one), await statOf(other)];
  return a !== undefined && a.ino === b?.ino && a.dev === b.dev;
}

async function statOf(file: string) {
  return await inFolder('look at file', file, () =>
    lstat(file, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    }),
  );
}

async function syncFolders(all: readonly FilePaths[]): Promise<void> {
  for (const folder of new Set(all.map(({ path: file }) => path.dirname(file)))) {
    await inFolder('fsync', folder, async () => {
      await using handle = await open(folder);
      await handle.sync();
    });
  }
}

const HINT =
  'It has to be there, and the user siphon has to write it: install -d -o siphon -g siphon -m 750 FOLDER (publish.snapshots_directory).';

async function inFolder<T>(op: string, subject: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (cause) {
    const { errno, code } = cause as NodeJS.ErrnoException;
    if (errno === undefined || code === undefined) throw cause;
    // That there is no folder proves nothing about the set.
    const known: ErrorCode = code === 'ENOENT' ? 'refused' : codeOfErrno(-errno);
    const hint = ['refused', 'denied'].includes(known) ? { hint: HINT } : {};
    throw new OperatingError({ code: known, op, subject, ...hint, cause });
  }
}

function taken(file: string): OperatingError {
  const why = 'a file of this name is there already';
  const hint = 'Give another with --name, or remove it.';
  return new OperatingError({ code: 'refused', op: 'publish', subject: file, why, hint });
}
