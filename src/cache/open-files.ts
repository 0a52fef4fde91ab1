// Which files somebody has open, by the locks that QEMU holds on every image that it opens (OFD read locks at bytes 100, 201
// and 203; POSIX ones where the kernel has no OFD). Pure: the caller reads /proc/locks (proc(5)).

import type { OpenState } from './evict.ts';

export const LOCKS_PATH = '/proc/locks';

/** A file as stat(2) tells it, with bigints: inode numbers may need all 64 bits. */
export interface FileId {
  readonly dev: bigint;
  readonly ino: bigint;
}

interface LockedFile {
  readonly major: number;
  readonly minor: number;
}

/** Locked files by inode. */
export type LockedFiles = ReadonlyMap<bigint, readonly LockedFile[]>;

// `1: OFDLCK ADVISORY  READ -1 fe:00:1483279 100 100`; a waiter has `-> ` before its kind. Device in hex, inode in decimal.
const LINE = /^\d+: (?:-> )?\S+ +\S+ +\S+ +-?\d+ ([0-9a-f]+):([0-9a-f]+):(\d+) /;

/** Reads the text of /proc/locks; null if a line of it is not understood, so nothing is sure. */
export function parseLocks(text: string): LockedFiles | null {
  const files = new Map<bigint, LockedFile[]>();
  for (const line of text.split('\n')) {
    if (line === '' || line.includes('<none>')) continue;
    const [, major, minor, inode] = LINE.exec(line) ?? [];
    if (major === undefined || minor === undefined || inode === undefined) return null;
    const at = { major: Number.parseInt(major, 16), minor: Number.parseInt(minor, 16) };
    const known = files.get(BigInt(inode));
    if (known === undefined) files.set(BigInt(inode), [at]);
    else known.push(at);
  }
  return files;
}

/** Any lock on the inode counts, unless both sides name a block device, and not the same. */
export function openStateOf(file: FileId, locks: LockedFiles | null): OpenState {
  if (locks === null) return 'unknown';
  const { major, minor } = splitDevice(file.dev);
  const isHeld = locks.get(file.ino)?.some((lock) => {
    // Major 0 is an anonymous device: btrfs and overlayfs then tell stat(2) another one than /proc/locks.
    if (lock.major === 0 || major === 0) return true;
    return lock.major === major && lock.minor === minor;
  });
  return isHeld ? 'open' : 'closed';
}

/** glibc's makedev: 12 bits of major at bit 8, the rest at bit 32; 8 bits of minor at bit 0, the rest at bit 12. */
function splitDevice(dev: bigint): LockedFile {
  return {
    major: Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n)),
    minor: Number((dev & 0xffn) | ((dev >> 12n) & 0xffffff00n)),
  };
}
