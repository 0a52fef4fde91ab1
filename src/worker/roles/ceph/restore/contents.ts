// What takes as long as a disk is large: a real rollback, and the copying of what a clone still has in its parent.

import { flattenImage, parentOf, rollbackToSnapshot } from 'ceph-napi';
import type { ObjectsDone, RestoreMethods } from '../../../../wire/restore-protocol.ts';
import type { CallContext } from '../../../role.ts';
import type { Session } from '../connections.ts';
import { assertOwnerAlive } from '../lock-break.ts';
import { inImage, openImage, openPool } from '../open.ts';
import { assertMarked } from '../snapshots.ts';
import { assertUnused } from './look.ts';

type Context = CallContext<ObjectsDone>;

export async function rollBackDisk(
  session: Session,
  { disk: { from, name } }: RestoreMethods['rollBackDisk']['params'],
  { onProgress }: Context,
): Promise<null> {
  assertMarked(from.snap, 'roll back', name);
  await using pool = await openPool(session, from.poolId, from.namespace);
  await assertUnused(session, pool, from.imageId);
  await using image = await openImage(session, pool, { id: from.imageId }, { writable: true });
  await inImage(session, image, 'roll back', name, () =>
    rollbackToSnapshot(image, from.snap, (done, total) => onProgress({ done, total })),
  );
  return null;
}

/** Its guest may run meanwhile: QEMU, which owns the lock, then does it. */
export async function flattenDisk(
  session: Session,
  { disk: { to, newId, name } }: RestoreMethods['flattenDisk']['params'],
  { onProgress, signal }: Context,
): Promise<null> {
  await using pool = await openPool(session, to.poolId, to.namespace);
  await using image = await openImage(session, pool, { id: newId }, { writable: true });
  await inImage(session, image, 'flatten', name, async () => {
    if ((await parentOf(image)) === null) return;
    await assertOwnerAlive(image, name);
    const tell = (done: number, total: number) => onProgress({ done, total });
    await flattenImage(image, { onProgress: tell, signal });
  });
  return null;
}
