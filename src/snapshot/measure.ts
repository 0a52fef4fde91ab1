// How much the snapshots of a set may come to hold: measured when they are there, and nobody is held or waits for them.

import { allOf } from '../wire/all-of.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Cluster } from '../wire/ports.ts';
import type { SetDisk, SnapshotSet } from '../wire/vocabulary.ts';
import { DEADLINE_MS } from './deadlines.ts';
import { snapshotName } from './set-id.ts';

/** The set with what of its disks is allocated, or why that is not known. */
export async function measureDisks(
  { ceph }: Pick<Cluster, 'ceph'>,
  set: SnapshotSet,
): Promise<SnapshotSet> {
  const snap = snapshotName(set.id);
  const disks = await allOf(
    set.disks.map(async (disk): Promise<SetDisk> => {
      const { poolId, namespace, imageId, snapId } = disk;
      const at = { poolId, namespace, imageId, snapId, snap };
      try {
        const measured = await ceph.call('measureSnapshot', at, DEADLINE_MS.measure);
        if ('why' in measured) return { ...disk, whyNotMeasured: measured.why };
        return { ...disk, allocatedBytes: measured.allocatedBytes };
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        return { ...disk, whyNotMeasured: error.why }; // the set is there, measured or not
      }
    }),
  );
  return { ...set, disks };
}
