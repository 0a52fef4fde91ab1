// siphon's own snapshots of domains' disks: create, remove, list. Only marked names are ever made or removed.

import { createSnapshot as create, type Pool, removeSnapshot as remove } from 'ceph-napi';
import { OperatingError } from '../../../wire/errors.ts';
import { formatImage } from '../../../wire/source.ts';
import { SNAPSHOT_MARK } from '../../../wire/vocabulary.ts';
import type { CephMethods, DiskAt, SnapshotAt } from '../../../wire/worker-protocol.ts';
import { errnoOf } from '../../translate-error.ts';
import type { Session } from './connections.ts';
import { assertOwnerAlive, beforeLockBreak } from './lock-break.ts';
import { freshSnapshots, inImage, openImage, openPool, refOf } from './open.ts';
import { unlessMissing } from './source.ts';
import { undoLate } from './undo-late.ts';

type Created = CephMethods['createSnapshot']['result'];

/** A failed create may have worked, or may work later: it is looked for and removed, as far as `signal` and the cluster let us. */
export async function createSnapshot(
  session: Session,
  at: DiskAt & { readonly snap: string },
  signal: AbortSignal,
): Promise<Created> {
  const subject = `${formatImage(at)}@${at.snap}`;
  assertMarked(at.snap, 'create snapshot', subject);
  await using pool = await openPool(session, at.pool, at.namespace);
  await using image = await openImage(session, pool, refOf(at), { writable: true });
  await inImage(session, image, 'look who uses image', subject, () =>
    assertOwnerAlive(image, subject),
  );
  const imageId = await inImage(session, image, 'describe image', subject, () => image.id());
  signal.throwIfAborted();
  try {
    await inImage(session, image, 'create snapshot', subject, () =>
      beforeLockBreak(subject, () => create(image, at.snap)),
    );
    return await describeCreated(session, pool, imageId, at.snap);
  } catch (error) {
    if (errnoOf(error) === EEXIST) throw error; // it is not this call's: what is there stays
    throw await undoLate(
      session,
      { poolId: pool.id, namespace: pool.namespace, imageId },
      at.snap,
      {
        error,
        signal,
      },
    );
  }
}

/** The errno of a name that is there already. */
export const EEXIST = 17;

/** @throws OperatingError not-found: it is not there */
export async function describeCreated(
  session: Session,
  pool: Pool,
  imageId: string,
  snap: string,
): Promise<Created> {
  const snapshots = await freshSnapshots(session, pool, { id: imageId });
  const found = snapshots.find((each) => each.name === snap && each.type === 'user');
  if (!found) {
    const why = 'it was created, and is not there any more';
    throw new OperatingError({ code: 'not-found', op: 'find snapshot', subject: snap, why });
  }
  const { id: snapId, sizeBytes } = found;
  return { poolId: pool.id, namespace: pool.namespace, imageId, snapId, snap, sizeBytes };
}

/** Idempotent. @throws OperatingError refused (unmarked), mismatch (the id has another name), busy (protected; lock owner dead) */
export async function removeSnapshot(
  session: Session,
  at: SnapshotAt,
): Promise<{ readonly was: 'removed' | 'absent' }> {
  const subject = `image ${at.imageId} of pool ${at.poolId}, snapshot ${at.snapId} (${at.snap})`;
  assertMarked(at.snap, 'remove snapshot', subject);
  const pool = await unlessMissing(openPool(session, at.poolId, at.namespace));
  if (!pool) return { was: 'absent' };
  await using open = pool;
  const ref = { id: at.imageId };
  const snapshots = await unlessMissing(freshSnapshots(session, open, ref));
  const found = snapshots?.find((each) => each.id === at.snapId && each.type !== 'trash');
  if (!found) return { was: 'absent' };
  if (found.name !== at.snap) throw renamed(subject, found.name);
  if (found.protected) throw isProtected(subject);
  await using image = await openImage(session, open, ref, { writable: true });
  return await inImage(session, image, 'remove snapshot', subject, async () => {
    await assertOwnerAlive(image, subject);
    return await beforeLockBreak(subject, () => removeById(image, at.snapId));
  });
}

async function removeById(
  image: Parameters<typeof remove>[0],
  snapId: number,
): Promise<{ readonly was: 'removed' | 'absent' }> {
  try {
    await remove(image, snapId);
    return { was: 'removed' };
  } catch (error) {
    if (errnoOf(error) === 2) return { was: 'absent' };
    throw error;
  }
}

export async function listMarked(
  session: Session,
  at: DiskAt,
): Promise<CephMethods['listMarked']['result']> {
  await using pool = await openPool(session, at.pool, at.namespace);
  await using image = await openImage(session, pool, refOf(at));
  const { id: poolId, namespace } = pool;
  const imageId = await inImage(session, image, 'describe image', formatImage(at), () =>
    image.id(),
  );
  const snapshots = await freshSnapshots(session, pool, { id: imageId });
  return snapshots
    .filter((each) => each.type === 'user' && each.name.startsWith(SNAPSHOT_MARK))
    .map((each) => {
      const found = { poolId, namespace, imageId, snapId: each.id, snap: each.name };
      return { ...found, ...(each.protected && { isProtected: true as const }) };
    });
}

/** @throws OperatingError refused: the name is not one of siphon's */
export function assertMarked(snap: string, op: string, subject: string): void {
  if (snap.startsWith(SNAPSHOT_MARK) && snap.length > SNAPSHOT_MARK.length) return;
  const why = `only snapshots named ${SNAPSHOT_MARK}* are siphon's`;
  throw new OperatingError({ code: 'refused', op, subject, why });
}

function renamed(subject: string, name: string): OperatingError {
  const why = `that snapshot is now named '${name}'`;
  const hint =
    'Somebody renamed it, so it is not siphon’s to remove: remove it with `rbd snap rm`.';
  return new OperatingError({ code: 'mismatch', op: 'remove snapshot', subject, why, hint });
}

function isProtected(subject: string): OperatingError {
  const why = 'it is protected: it has clones, or somebody wants it so';
  const hint =
    'Its clones: `rbd children`. When they are gone or flattened siphon deletes it; else `rbd snap unprotect`.';
  return new OperatingError({ code: 'busy', op: 'remove snapshot', subject, why, hint });
}
