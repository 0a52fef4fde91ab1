// The world's facts that decisions rest on, as this host tells them.

import { readFileSync, statfsSync } from 'node:fs';
import { isMountedReadOnly, MOUNTINFO_PATH, privateFolders } from './mount.ts';
import { LOCKS_PATH } from './open-files.ts';
import type { CacheParts } from './parts.ts';

/** The clock, the locks and the free space of this host, for the cache's folder. */
export function worldAt(
  path: string,
): Pick<CacheParts, 'now' | 'readLocks' | 'readFreeBytes' | 'hiddenFolders'> {
  return {
    now: Date.now,
    readLocks,
    hiddenFolders: privateFolders(readFileSync(MOUNTINFO_PATH, 'utf8')),
    readFreeBytes() {
      const { bavail, bsize } = statfsSync(path);
      return bavail * bsize;
    },
  };
}

/** Whether guests see the bases at `mountPath` through a read-only mount. */
export function isReadOnlyMount(mountPath: string): boolean {
  return isMountedReadOnly(readFileSync(MOUNTINFO_PATH, 'utf8'), mountPath);
}

function readLocks(): string | null {
  try {
    return readFileSync(LOCKS_PATH, 'utf8');
  } catch {
    return null; // who has what open is unknown then, and unknown use is use
  }
}
