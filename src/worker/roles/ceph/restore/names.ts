// Names of images: who has one now, in RBD's directory or its trash, and how an image gets another. A worker that is killed in the middle of
// a rename leaves an id object of one name and the directory's entry of the other: what such a call left is taken up here.

import {
  callMethod,
  type ImageName,
  listImages,
  listTrash,
  moveToTrash,
  type Pool,
  readObject,
  removeObject,
  renameImage,
} from 'ceph-napi';
import { OLD_DISK_KEEP_SECONDS } from '../../../../wire/restore-protocol.ts';
import { errnoOf } from '../../../translate-error.ts';
import type { Session } from '../connections.ts';
import { beforeLockBreak } from '../lock-break.ts';
import { inImage, placeOf } from '../open.ts';
import { EEXIST } from '../snapshots.ts';

const ENOENT = 2;
/** It is in another state than the one that was expected. */
const ESTALE = 116;

/** What a pool's directory and its trash hold now. */
export interface Names {
  /** undefined: nothing has the name. */
  idOf(name: string): string | undefined;
  nameOf(imageId: string): string | undefined;
  isTrashed(imageId: string): boolean;
}

export async function readNames(session: Session, pool: Pool): Promise<Names> {
  const place = placeOf(pool);
  const images = await inImage(session, pool, 'list images', place, () => listImages(pool));
  const trash = await inImage(session, pool, 'list the trash', place, () => listTrash(pool));
  const named = (isIt: (each: ImageName) => boolean) => images.find(isIt);
  return {
    idOf: (name) => named((each) => each.name === name)?.id,
    nameOf: (id) => named((each) => each.id === id)?.name,
    // Also one that a killed worker was moving there: the directory still has it, and comes first.
    isTrashed: (id) =>
      named((each) => each.id === id) === undefined && trash.some((each) => each.id === id),
  };
}

/** Gives the image of this id, which has the name `from`, the name `to`, which nothing has. */
export async function rename(
  session: Session,
  pool: Pool,
  imageId: string,
  { from, to }: { readonly from: string; readonly to: string },
): Promise<void> {
  const subject = `${placeOf(pool)}/${from} to ${to}`;
  const step = <T>(body: () => Promise<T>) => inImage(session, pool, 'rename image', subject, body);
  try {
    await step(() => beforeLockBreak(subject, () => renameImage(pool, from, to)));
  } catch (error) {
    if (errnoOf(error) !== EEXIST) throw error;
    // The directory has no such name: an id object without an entry, of a rename that was cut off.
    if (!(await step(() => dropIdObject(pool, to, imageId)))) throw error;
    await step(() => beforeLockBreak(subject, () => renameImage(pool, from, to)));
  }
}

const ID_BYTES_MAX = 4096;

/** What a rename or clone that was cut off left of a name that the directory does not have (of this image, where one is named). Whether it was there. */
export async function dropIdObject(pool: Pool, name: string, imageId?: string): Promise<boolean> {
  const oid = `rbd_id.${name}`;
  try {
    const bytes = await readObject(pool, oid, ID_BYTES_MAX);
    // A length of 4 bytes, and the id (librbd, cls_rbd get_id).
    const isOf = bytes.subarray(4).toString('latin1') === imageId;
    if (imageId !== undefined && !isOf) return false;
    await removeObject(pool, oid);
    return true;
  } catch (error) {
    if (errnoOf(error) === ENOENT) return false;
    throw error;
  }
}

/** Until it was there for so long it is removed by force only. */
export async function trash(
  session: Session,
  pool: Pool,
  name: string,
  keepSeconds = OLD_DISK_KEEP_SECONDS,
): Promise<void> {
  const subject = `${placeOf(pool)}/${name}`;
  await inImage(session, pool, 'move to the trash', subject, () =>
    beforeLockBreak(subject, () => moveToTrash(pool, name, keepSeconds)),
  );
}

/** cls_rbd_types.h, TrashImageState. */
const NORMAL = 0;
const MOVING = 1;

/**
 * Of an image that the directory has no more: does what a move to the trash that was cut off has left, to say there that it has ended. Before, librbd
 * neither brings it back (EBUSY) nor removes it (EUCLEAN), and ends the move by its former name alone, which another may have by now.
 */
export async function endMove(session: Session, pool: Pool, imageId: string): Promise<void> {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(imageId.length);
  const input = Buffer.concat([length, Buffer.from(imageId), Buffer.from([NORMAL, MOVING])]);
  const method = { class: 'rbd', name: 'trash_state_set' };
  try {
    await inImage(session, pool, 'end move to the trash', imageId, () =>
      callMethod(pool, 'rbd_trash', method, input),
    );
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== ENOENT && errno !== ESTALE) throw error;
  }
}
