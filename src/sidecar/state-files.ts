// Reads a domain's NVRAM or TPM state on this host, which siphond's one capability lets it. Bounded in size and in time; what cannot be
// read, or is no such state, is an answer with its reason.

import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { StateFile } from '../domain/domain.ts';
import { isStateOf, placesOf, STATE_BYTES_MAX } from '../domain/state-files.ts';
import type { StateRead } from '../snapshot/ports.ts';
import { formatSize } from '../wire/size.ts';

/** A file system that hangs does not keep a set. */
const READ_MS_MAX = 2000;
/** Reads until two in a row are the same. */
const READS_MAX = 4;

/** One read of a file: its bytes, or why they are not read; undefined: it is not there. */
export type ReadOnce = (path: string) => Promise<Buffer | StateRead | undefined>;

export async function readStateFile(
  file: StateFile,
  read: ReadOnce = readOnce,
): Promise<StateRead> {
  const late = { kind: 'unread', why: `it was not read within ${READ_MS_MAX / 1000} s` } as const;
  const stop = new AbortController();
  const timer = delay(READ_MS_MAX, late, { signal: stop.signal });
  try {
    return await Promise.race([readFirst(file, read), timer]);
  } finally {
    stop.abort();
  }
}

async function readFirst(file: StateFile, read: ReadOnce): Promise<StateRead> {
  for (const path of placesOf(file)) {
    const found = await readSteady(file.what, path, read);
    if (found !== undefined) return found;
  }
  return { kind: 'unread', why: 'siphond sees no such file' };
}

/** Whoever writes meanwhile may leave half of it in one read. undefined: it is not there. */
async function readSteady(
  what: StateFile['what'],
  path: string,
  read: ReadOnce,
): Promise<StateRead | undefined> {
  let before: Buffer | undefined;
  for (let reads = 0; reads < READS_MAX; reads += 1) {
    const bytes = await read(path);
    if (!Buffer.isBuffer(bytes)) return bytes;
    if (!isStateOf(what, bytes)) return unread(NO_STATE[what]);
    if (before?.equals(bytes) === true) return { kind: 'read', path, bytes };
    before = bytes;
  }
  return unread('it changed each time that it was read');
}

const NO_STATE = {
  nvram: 'it is no store of UEFI variables',
  tpm: 'it is no state of swtpm',
} as const;

/** No link is followed at the path's end, and no FIFO waited for. */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

async function readOnce(path: string): ReturnType<ReadOnce> {
  try {
    await using file = await open(path, FLAGS);
    const found = await file.stat();
    if (found.isDirectory()) return undefined;
    if (!found.isFile()) return unread('it is no regular file');
    const { size } = found;
    if (size > STATE_BYTES_MAX)
      return unread(`it has ${formatSize(size)}; up to ${formatSize(STATE_BYTES_MAX)} are kept`);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size), 0, size, 0);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    return unread(code === 'ELOOP' ? 'it is a symbolic link' : `it cannot be read: ${code}`);
  }
}

function unread(why: string): StateRead {
  return { kind: 'unread', why };
}
