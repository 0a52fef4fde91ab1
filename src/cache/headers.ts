// Parsed qcow2 headers of files, remembered by what the file is: device, inode, size and time of its last change.

import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { LRUCache } from 'lru-cache';
import { parseQcow2Header, QCOW2_HEAD_BYTES, type Qcow2Result } from '../domain/qcow2-header.ts';
import { OperatingError } from '../wire/errors.ts';
import { onDisk } from './files.ts';

const HEADERS_MAX = 1000;
/** The largest cluster: a header with its backing name is within the first one. */
export const HEAD_BYTES_MAX = 2 * 1024 * 1024;

/** `QFI\xfb`: what is shorter is no qcow2, and cannot become one unseen. */
const MAGIC_BYTES = 4;

export type ReadHead = (lengthBytes: number) => Promise<Uint8Array>;

export interface HeaderReader {
  /** Of a regular file or a block device. @throws OperatingError `not-found`, `refused` for anything else, `denied`, … */
  read(path: string): Promise<Qcow2Result>;
}

/** `rememberedMax`: of how many files. */
export function createHeaderReader(rememberedMax: number = HEADERS_MAX): HeaderReader {
  const known = new LRUCache<string, Qcow2Result>({ max: rememberedMax });
  return {
    read: (path) =>
      onDisk('read header', path, async () => {
        const found = await stat(path, { bigint: true });
        const key = `${found.dev} ${found.ino} ${found.size} ${found.mtimeNs}`;
        const remembered = found.isFile() ? known.get(key) : undefined;
        if (remembered !== undefined) return remembered;
        const { header, opened } = await readFile(path);
        // Kept only if nobody wrote or replaced the file while it was read, and no change can hide in a device's constant size.
        if (found.isFile() && opened === key) known.set(key, header);
        return header;
      }),
  };
}

/** Reads as much of a head as its header needs. A head that ends too early is malformed. */
export async function readHeader(readHead: ReadHead): Promise<Qcow2Result> {
  let lengthBytes = QCOW2_HEAD_BYTES;
  for (;;) {
    const bytes = await readHead(lengthBytes);
    const header = parseQcow2Header(bytes);
    if (header.kind !== 'truncated') return header;
    if (bytes.length < MAGIC_BYTES) return { kind: 'not-qcow2' };
    const { needBytes } = header;
    if (bytes.length < lengthBytes || needBytes <= lengthBytes || needBytes > HEAD_BYTES_MAX) {
      return { kind: 'malformed', reason: `it ends before byte ${needBytes} of its header` };
    }
    lengthBytes = needBytes;
  }
}

async function readFile(path: string): Promise<{ header: Qcow2Result; opened: string }> {
  // O_NONBLOCK: a FIFO must not hold us.
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const before = await file.stat({ bigint: true });
  if (!before.isFile() && !before.isBlockDevice()) {
    const why = 'it is neither a file nor a block device';
    throw new OperatingError({ code: 'refused', op: 'read header', subject: path, why });
  }
  const header = await readHeader((lengthBytes) => readStart(file, lengthBytes));
  const { dev, ino, size, mtimeNs } = await file.stat({ bigint: true });
  return { header, opened: `${dev} ${ino} ${size} ${mtimeNs}` };
}

async function readStart(file: FileHandle, lengthBytes: number): Promise<Uint8Array> {
  const buffer = Buffer.alloc(lengthBytes);
  let at = 0;
  while (at < lengthBytes) {
    const { bytesRead } = await file.read(buffer, at, lengthBytes - at, at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return buffer.subarray(0, at);
}
