// The snapshot that an image is cloned from: kept while clones of format 1 need it, and let go when they do not.

import { errno, protectSnapshot, removeSnapshot, unprotectSnapshot } from 'ceph-napi';
import { OperatingError } from '../../../wire/errors.ts';
import type { PublishMethods } from '../../../wire/publish-protocol.ts';
import type { SnapshotAt } from '../../../wire/worker-protocol.ts';
import { errnoOf } from '../../translate-error.ts';
import type { Session } from './connections.ts';
import { assertOwnerAlive, beforeLockBreak } from './lock-break.ts';
import { freshSnapshots, inImage, openImage, openPool } from './open.ts';
import { assertMarked } from './snapshots.ts';
import { unlessMissing } from './source.ts';

/** @throws OperatingError not-found: it is gone, or in Ceph's trash */
export async function protectSource(
  session: Session,
  at: SnapshotAt,
): Promise<PublishMethods['protectSource']['result']> {
  const subject = subjectOf(at);
  assertMarked(at.snap, 'protect snapshot', subject);
  await using pool = await openPool(session, at.poolId, at.namespace);
  const ref = { id: at.imageId };
  const snapshots = await freshSnapshots(session, pool, ref);
  const found = snapshots.find(({ id, name }) => id === at.snapId && name === at.snap);
  if (found === undefined) {
    const why = 'the image has no such snapshot';
    throw new OperatingError({ code: 'not-found', op: 'protect snapshot', subject, why });
  }
  if (found.protected) return { was: 'already' };
  await using image = await openImage(session, pool, ref, { writable: true });
  return await inImage(session, image, 'protect snapshot', subject, async () => {
    await assertOwnerAlive(image, subject);
    const isNew = await unless(errno.EBUSY, () =>
      beforeLockBreak(subject, () => protectSnapshot(image, at.snap)),
    );
    return { was: isNew ? 'protected' : 'already' };
  });
}

export async function releaseSource(
  session: Session,
  at: SnapshotAt,
): Promise<PublishMethods['releaseSource']['result']> {
  const subject = subjectOf(at);
  assertMarked(at.snap, 'release snapshot', subject);
  const pool = await unlessMissing(openPool(session, at.poolId, at.namespace));
  if (!pool) return { was: 'absent' };
  await using open = pool;
  const ref = { id: at.imageId };
  const snapshots = await unlessMissing(freshSnapshots(session, open, ref));
  const found = snapshots?.find(({ id }) => id === at.snapId);
  if (!found) return { was: 'absent' };
  const isTrash = found.type === 'trash';
  if (!isTrash && !found.protected) return { was: 'released' };
  await using image = await openImage(session, open, ref, { writable: true });
  return await inImage(session, image, 'release snapshot', subject, async () => {
    await assertOwnerAlive(image, subject);
    // Ceph counts the clones, also those of others: it refuses while there is one.
    const isReleased = await unless(errno.EBUSY, () =>
      beforeLockBreak(subject, () =>
        isTrash ? removeSnapshot(image, at.snapId) : unprotectSnapshot(image, at.snap),
      ),
    );
    return { was: isReleased ? 'released' : 'in-use' };
  });
}

/** Whether it was done; false: this errno says why not. */
async function unless(number: number, body: () => Promise<void>): Promise<boolean> {
  try {
    await body();
    return true;
  } catch (error) {
    if (errnoOf(error) === number) return false;
    throw error;
  }
}

function subjectOf({ imageId, poolId, snapId, snap }: SnapshotAt): string {
  return `image ${imageId} of pool ${poolId}, snapshot ${snapId} (${snap})`;
}
