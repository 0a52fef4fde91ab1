// A clone takes the name of the image that it replaces, which goes to the trash, and the other way round. Both look first and go on wherever
// an earlier call ended, so that they can be called again until they have returned.

import { listSnapshots, type Pool, removeFromTrash, restoreFromTrash } from 'ceph-napi';
import { OperatingError } from '../../../../wire/errors.ts';
import {
  type ClonedDisk,
  type RestoreDisk,
  type RestoreMethods,
  stagingName,
} from '../../../../wire/restore-protocol.ts';
import type { Session } from '../connections.ts';
import { beforeLockBreak } from '../lock-break.ts';
import { inImage, openImage, openPool } from '../open.ts';
import { removeStaged, returnSource, unprotectSnapshot } from './clone.ts';
import { assertUnused } from './look.ts';
import { dropIdObject, endMove, type Names, readNames, rename, trash } from './names.ts';

type Unplaced = RestoreMethods['unplaceDisk']['result'];

export async function placeDisk(
  session: Session,
  { id, disk }: RestoreMethods['placeDisk']['params'],
): Promise<null> {
  const { to, oldId, newId } = disk;
  await using pool = await openPool(session, to.poolId, to.namespace);
  const staging = stagingName(id, disk.target);
  const presentId = (await readNames(session, pool)).idOf(to.image);
  if (presentId !== newId) {
    if (presentId !== oldId && presentId !== undefined) throw taken(disk, presentId);
    if (presentId !== undefined) {
      await assertUnused(session, pool, presentId);
      await trash(session, pool, to.image);
    }
    await rename(session, pool, newId, { from: staging, to: to.image });
  }
  await inImage(session, pool, 'rename image', disk.name, () => dropIdObject(pool, staging, newId));
  if (oldId === undefined) return null;
  await endMove(session, pool, oldId);
  // Who opened it after the look above would go on writing into the trash.
  await assertUnused(session, pool, oldId);
  return null;
}

export async function unplaceDisk(
  session: Session,
  { id, disk }: RestoreMethods['unplaceDisk']['params'],
): Promise<Unplaced> {
  const { to, from, oldId, newId } = disk;
  await using source = await openPool(session, from.poolId, from.namespace);
  await returnSource(session, source, { id, disk });
  await using pool = await openPool(session, to.poolId, to.namespace);
  const names = await readNames(session, pool);
  const presentId = names.idOf(to.image);
  if (newId !== undefined && presentId === newId) {
    if (oldId !== undefined && !names.isTrashed(oldId)) throw gone(disk.name, names, oldId);
    await assertUnused(session, pool, newId);
    await trash(session, pool, to.image, 0);
  } else if (presentId !== undefined && presentId !== oldId) {
    throw taken(disk, presentId);
  }
  await bringBack(session, pool, disk);
  const wasStaged = await removeStaged(session, pool, stagingName(id, disk.target));
  const clone = newId === undefined ? 'absent' : await dropTrashed(session, pool, newId);
  if (!disk.wasProtected) await unprotectSnapshot(session, from);
  return { clone: wasStaged ? 'removed' : clone };
}

/** Where nothing has the name of the old image. */
async function bringBack(session: Session, pool: Pool, disk: RestoreDisk): Promise<void> {
  const { oldId, newId, to, name } = disk;
  if (oldId === undefined) return;
  const names = await readNames(session, pool);
  if (names.idOf(to.image) === oldId) return;
  if (!names.isTrashed(oldId)) throw gone(name, names, oldId);
  await endMove(session, pool, oldId);
  await inImage(session, pool, 'take out of the trash', name, async () => {
    // Of the clone's renaming, which was cut off.
    if (newId !== undefined) await dropIdObject(pool, to.image, newId);
    await restoreFromTrash(pool, oldId, to.image);
  });
}

/** Snapshots of it are somebody's, perhaps siphon's own sets: it then stays where it is. */
async function dropTrashed(
  session: Session,
  pool: Pool,
  imageId: string,
): Promise<Unplaced['clone']> {
  if (!(await readNames(session, pool)).isTrashed(imageId)) return 'absent';
  const snapshots = await snapshotsOf(session, pool, imageId);
  if (snapshots > 0) return 'in-trash';
  await endMove(session, pool, imageId);
  await inImage(session, pool, 'remove image', imageId, () =>
    beforeLockBreak(imageId, () => removeFromTrash(pool, imageId, { force: true })),
  );
  return 'removed';
}

async function snapshotsOf(session: Session, pool: Pool, imageId: string): Promise<number> {
  await using image = await openImage(session, pool, { id: imageId });
  const all = await inImage(session, image, 'list snapshots', imageId, () => listSnapshots(image));
  return all.length;
}

function taken({ name }: RestoreDisk | ClonedDisk, imageId: string): OperatingError {
  const why = `the image of this name is now ${imageId}: somebody replaced it meanwhile`;
  return new OperatingError({ code: 'mismatch', op: 'replace image', subject: name, why });
}

function gone(name: string, names: Names, imageId: string): OperatingError {
  const other = names.nameOf(imageId);
  const where =
    other === undefined ? 'it is no longer in the trash: it was purged' : `it is named ${other}`;
  const why = `the disk that was there before (image ${imageId}) cannot be put back: ${where}`;
  return new OperatingError({ code: 'not-found', op: 'put image back', subject: name, why });
}
