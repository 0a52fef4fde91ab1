// Removes what a set has in Ceph: a recorded set's snapshots and record, or whatever an unfinished one left. Each can be
// done again at any time.

import { allOf } from '../wire/all-of.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Cluster } from '../wire/ports.ts';
import { formatImage } from '../wire/source.ts';
import type { SnapshotSet } from '../wire/vocabulary.ts';
import type { DiskAt, SnapshotAt } from '../wire/worker-protocol.ts';
import { DEADLINE_MS } from './deadlines.ts';
import type { Plan } from './job-data.ts';
import { snapshotName } from './set-id.ts';

/** The connection that makes and removes snapshots, as Ceph prints it: to be known before it takes a lock. */
export async function ownClient({ ceph }: Cluster): Promise<string> {
  return (await ceph.call('status', { as: 'snapshot' }, DEADLINE_MS.look)).client;
}

/** Locks that a former connection of siphon's died with; what anybody else holds stays. */
export async function dropLocks(
  { ceph }: Cluster,
  disks: readonly DiskAt[],
  client: string | undefined,
): Promise<void> {
  if (client === undefined) return;
  await allOf(
    disks.map((disk) => {
      const at = { ...atOf(disk), client };
      return unlessGone(ceph.call('dropLock', at, DEADLINE_MS.drop), { was: 'absent' });
    }),
  );
}

/**
 * Removes all snapshots of an unfinished set, found by their name in each of its images and by the ids of those that are known.
 * @throws OperatingError: something may be left.
 */
export async function discardPlan(
  cluster: Cluster,
  plan: Plan,
  known: readonly SnapshotAt[] = [],
): Promise<void> {
  const { ceph } = cluster;
  const images = plan.disks.map(({ at }) => at);
  await dropLocks(cluster, images, plan.client);
  const snap = snapshotName(plan.setId);
  await allOf(
    plan.disks.map(async ({ at }) => {
      const marked = await unlessGone(ceph.call('listMarked', at, DEADLINE_MS.look), []);
      await removeAll(
        ceph,
        marked.filter((each) => each.snap === snap),
      );
    }),
  );
  await removeAll(ceph, known);
}

/** Removes a recorded set: its snapshots first, then its record. @throws OperatingError: something may be left */
export async function discardSet({ ceph }: Cluster, set: SnapshotSet): Promise<void> {
  const snap = snapshotName(set.id);
  await removeAll(
    ceph,
    set.disks.map(({ poolId, namespace, imageId, snapId }) => {
      return { poolId, namespace, imageId, snapId, snap };
    }),
  );
  await ceph.call('removeSet', set, DEADLINE_MS.record);
}

/** Whether all the set's snapshots exist. */
export async function isWhole({ ceph }: Cluster, set: SnapshotSet): Promise<boolean> {
  const found = await allOf(
    set.disks.map(async (disk) => {
      const marked = await unlessGone(ceph.call('listMarked', atOf(disk), DEADLINE_MS.look), []);
      return marked.some(({ imageId, snapId }) => {
        return imageId === disk.imageId && snapId === disk.snapId;
      });
    }),
  );
  return found.every(Boolean);
}

/** Before anything of it is removed. @throws OperatingError refused: a clone of format 1 needs one of its snapshots */
export async function assertUncloned({ ceph }: Cluster, set: SnapshotSet): Promise<void> {
  await allOf(
    set.disks.map(async (disk) => {
      const marked = await unlessGone(ceph.call('listMarked', atOf(disk), DEADLINE_MS.look), []);
      const kept = marked.find(({ snapId }) => snapId === disk.snapId);
      if (kept?.isProtected !== true) return;
      const why = `disk ${disk.target}: its snapshot is protected, since images are cloned from it`;
      const hint = `rbd children ${formatImage(disk)}@${kept.snap} tells which; siphon flatten parts those that siphon published.`;
      const fields = { code: 'refused', op: 'delete snapshot set', subject: set.id } as const;
      throw new OperatingError({ ...fields, why, hint });
    }),
  );
}

function atOf({ pool, namespace, image, imageId }: DiskAt): DiskAt {
  return { pool, namespace, image, ...(imageId !== undefined && { imageId }) };
}

async function removeAll(ceph: Cluster['ceph'], snaps: readonly SnapshotAt[]): Promise<void> {
  await allOf(snaps.map((at) => unlessGone(removeOne(ceph, at), { was: 'absent' })));
}

/** A restore in clones of format 1 has protected it. When those are gone, or flattened, nobody needs that any more. */
async function removeOne(ceph: Cluster['ceph'], at: SnapshotAt): Promise<unknown> {
  const remove = () => ceph.call('removeSnapshot', at, DEADLINE_MS.snapshot);
  try {
    return await remove();
  } catch (error) {
    if (!(error instanceof OperatingError) || error.code !== 'busy') throw error;
    if (!(await isUnprotectedNow(ceph, at))) throw error;
  }
  return await remove();
}

/** Where that cannot be told, or siphon has nobody who may, it stays as it is. */
async function isUnprotectedNow(ceph: Cluster['ceph'], at: SnapshotAt): Promise<boolean> {
  try {
    const { was } = await ceph.call('unprotectSnapshot', at, DEADLINE_MS.snapshot);
    return was === 'unprotected';
  } catch (error) {
    if (error instanceof OperatingError) return false;
    throw error;
  }
}

/** What is proved not to be there, pool or image, has no snapshot either. */
async function unlessGone<T>(asked: Promise<T>, gone: T): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof OperatingError && error.code === 'not-found') return gone;
    throw error;
  }
}
