// Whether there is room for one more fill, and what would have to go for it. Pure. All sizes are bytes on disk.

import { formatSize } from '../wire/size.ts';

export interface RoomFacts {
  /** What the file system has left for us. */
  readonly freeBytes: number;
  /** What a fill must leave of that. */
  readonly reserveBytes: number;
  /** What all bases together may take. */
  readonly limitBytes: number;
  /** What the files of bases take. */
  readonly usedBytes: number;
  /** Promised to fills that run or wait, and of that already written. */
  readonly promisedBytes: number;
  readonly writtenBytes: number;
}

export interface Evictable {
  readonly id: string;
  readonly allocatedBytes: number;
}

export type Admission =
  | { readonly kind: 'admit' }
  | { readonly kind: 'admit-after-evicting'; readonly bases: readonly string[] }
  | {
      readonly kind: 'refuse';
      readonly reason: 'over-limit' | 'no-space';
      readonly why: string;
    };

/** Tables of a qcow2: 8 bytes of L2 and 2 of refcount for each 64 KiB, and some clusters for the rest. */
export function reservationOf(dataBytes: number): number {
  return dataBytes + Math.ceil(dataBytes / 4096) + 1024 * 1024;
}

/** How much would have to go before `neededBytes` more fit: 0 or less where they fit. */
export function bytesToFree(facts: RoomFacts, neededBytes: number): number {
  const overLimit = facts.usedBytes + facts.promisedBytes + neededBytes - facts.limitBytes;
  const unwritten = Math.max(0, facts.promisedBytes - facts.writtenBytes);
  const shortOfSpace = neededBytes + unwritten + facts.reserveBytes - facts.freeBytes;
  return Math.max(overLimit, shortOfSpace);
}

/** Decides on a fill. `evictable`: the bases that may go, the first to go first. */
export function admit(
  facts: RoomFacts,
  neededBytes: number,
  evictable: readonly Evictable[],
): Admission {
  if (neededBytes > facts.limitBytes) {
    const why = `it needs up to ${formatSize(neededBytes)}, and all bases together may take ${formatSize(facts.limitBytes)}`;
    return { kind: 'refuse', reason: 'over-limit', why };
  }
  const missing = bytesToFree(facts, neededBytes);
  if (missing <= 0) return { kind: 'admit' };
  const bases = takeUntil(evictable, missing);
  if (bases !== null) return { kind: 'admit-after-evicting', bases };
  const could = evictable.reduce((sum, each) => sum + each.allocatedBytes, 0);
  const why =
    `there is no space for it: ${formatSize(missing)} are missing below the limit, or free on the disk beside the reserve; ` +
    `${formatSize(could)} could be regained from bases that nothing needs`;
  return { kind: 'refuse', reason: 'no-space', why };
}

/** The first few that give `bytes`; null if all together do not. */
function takeUntil(evictable: readonly Evictable[], bytes: number): string[] | null {
  const taken: string[] = [];
  let freed = 0;
  for (const { id, allocatedBytes } of evictable) {
    if (freed >= bytes) break;
    taken.push(id);
    freed += allocatedBytes;
  }
  return freed >= bytes ? taken : null;
}
