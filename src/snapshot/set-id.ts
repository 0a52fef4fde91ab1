// A set's id: sorts by time, is unique in a cluster, and stands in names of snapshots and omap keys without quoting.

import { randomBytes } from 'node:crypto';
import { SNAPSHOT_MARK } from '../wire/vocabulary.ts';

/** `20261120t231500z-9f3a1c2b`: UTC to the second, and 32 random bits. */
export function newSetId(nowMs: number): string {
  const time = new Date(nowMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
  return `${time}z-${randomBytes(4).toString('hex')}`.toLowerCase();
}

/** The name of each of the set's snapshots. */
export function snapshotName(setId: string): string {
  return `${SNAPSHOT_MARK}${setId}`;
}
