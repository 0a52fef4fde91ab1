// The manifest of a set's disk, for what is made of that: it is of content, and goes along with it.

import { OperatingError } from '../wire/errors.ts';
import type { Cluster } from '../wire/ports.ts';
import type { SetDisk } from '../wire/vocabulary.ts';
import { DEADLINE_MS } from './deadlines.ts';
import type { SnapshotLog } from './ports.ts';

/** null: it has none, or one that nobody can read, which is told in the log. @throws OperatingError unavailable, denied */
export async function readManifestAt(
  log: SnapshotLog,
  { ceph }: Cluster,
  { fsid, set, disk, as }: ManifestOf,
): Promise<string | null> {
  const { target, poolId, namespace, imageId, snapId } = disk;
  const ids = { fsid, poolId, namespace, imageId, snapId };
  try {
    return (await ceph.call('readManifest', { ...ids, as }, DEADLINE_MS.record)).envelope;
  } catch (error) {
    const isUnreadable =
      error instanceof OperatingError && ['corrupt', 'mismatch'].includes(error.code);
    if (!isUnreadable) throw error;
    // What is made is as good without: whoever wants to see a manifest refuses it.
    log.warn({ set, target, error: error.toWire() }, 'its manifest is left behind');
    return null;
  }
}

export interface ManifestOf {
  readonly fsid: string;
  readonly set: string;
  readonly disk: SetDisk;
  /** Who may read the disk. */
  readonly as: 'publish' | 'snapshot';
}
