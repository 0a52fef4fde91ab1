// An image's snapshots: list, find, create, rename, remove, protect, roll back.
import { check, errno, isErrno } from './errors.ts';
import type { Image } from './image.ts';
import { librbd } from './library.ts';
import {
  assertSize,
  bytes,
  ints,
  safeInteger,
  textAt,
  textOf,
  withRoom,
  word,
  words,
} from './memory.ts';
import { noProgress, type OnProgress, withProgress } from './progress.ts';

const list = librbd('int rbd_snap_list(rbd_image_t image, rbd_snap_info_t *snaps, int *max_snaps)');
const listEnd = librbd('void rbd_snap_list_end(rbd_snap_info_t *snaps)');
const namespaceType = librbd(`int rbd_snap_get_namespace_type(rbd_image_t image, uint64_t snap_id,
  rbd_snap_namespace_type_t *namespace_type)`);
const timestamp = librbd(`int rbd_snap_get_timestamp(rbd_image_t image, uint64_t snap_id,
  struct timespec *timestamp)`);
const getProtected = librbd(
  'int rbd_snap_is_protected(rbd_image_t image, const char *snap_name, int *is_protected)',
);
const getId = librbd(
  'int rbd_snap_get_id(rbd_image_t image, const char *snapname, uint64_t *snap_id)',
);
const create = librbd('int rbd_snap_create(rbd_image_t image, const char *snapname)');
const create2 = librbd(`int rbd_snap_create2(rbd_image_t image, const char *snap_name,
  uint32_t flags, librbd_progress_fn_t cb, void *cbdata)`);
const remove = librbd('int rbd_snap_remove(rbd_image_t image, const char *snapname)');
const removeById = librbd('int rbd_snap_remove_by_id(rbd_image_t image, uint64_t snap_id)');
const protect = librbd('int rbd_snap_protect(rbd_image_t image, const char *snap_name)');
const unprotect = librbd('int rbd_snap_unprotect(rbd_image_t image, const char *snap_name)');

const rename = librbd(
  'int rbd_snap_rename(rbd_image_t image, const char *snapname, const char* dstsnapsname)',
);
const rollback = librbd(`int rbd_snap_rollback_with_progress(rbd_image_t image,
  const char *snapname, librbd_progress_fn_t cb, void *cbdata)`);
const getName = librbd(`int rbd_snap_get_name(rbd_image_t image, uint64_t snap_id, char *snapname,
  size_t *name_len)`);
const getTrashName = librbd(`int rbd_snap_get_trash_namespace(rbd_image_t image, uint64_t snap_id,
  char* original_name, size_t max_length)`);

/** rbd_snap_namespace_type_t, in its order: who made the snapshot. */
const types = ['user', 'group', 'trash', 'mirror'] as const;
export type SnapshotType = (typeof types)[number] | 'unknown';

/** The type of an rbd_snap_namespace_type_t. */
export function snapshotType(value: number): SnapshotType {
  return types[value] ?? 'unknown';
}

const skipQuiesce = 1; // RBD_SNAP_CREATE_SKIP_QUIESCE

export interface Snapshot {
  readonly id: number;
  readonly name: string;
  /** The image's size in bytes when it was taken. */
  readonly sizeBytes: number;
  readonly type: SnapshotType;
  /** Only a `user` snapshot can be. */
  readonly protected: boolean;
  /** The client's clock that took it. */
  readonly createdAt: Date;
}

export interface SnapshotOptions {
  /** Whether quiesce hooks that watch the image (rbd-nbd, krbd's) are asked first. Default true. */
  readonly quiesce?: boolean;
}

/**
 * The image's snapshots of all types, oldest first. A handle that is not writable shows those of when it was opened. One that is removed
 * meanwhile is left out.
 * Implements: rbd_snap_list, rbd_snap_list_end, rbd_snap_get_namespace_type, rbd_snap_get_timestamp, rbd_snap_is_protected
 */
export async function listSnapshots(image: Image): Promise<Snapshot[]> {
  const snapshots: Snapshot[] = [];
  for (const snapshot of await listBare(image)) {
    try {
      snapshots.push({ ...snapshot, ...(await details(image, snapshot)) });
    } catch (error) {
      if (!isErrno(error, errno.ENOENT)) throw error; // it was removed between the calls
    }
  }
  return snapshots;
}

/** The id of the `user` snapshot of this name, or null. Implements: rbd_snap_get_id */
export async function snapshotId(image: Image, name: string): Promise<number | null> {
  const out = words();
  const result = await image.try(getId, name, out);
  if (result === -errno.ENOENT) return null;
  check(result, getId.symbol, name);
  return safeInteger(word(out), 'snapshot id');
}

/** Whether there is a `user` snapshot of this name. */
export async function snapshotExists(image: Image, name: string): Promise<boolean> {
  return (await snapshotId(image, name)) !== null;
}

/**
 * Takes a snapshot. Where another client owns the exclusive lock, that client executes it. One commit of the monitors: up to a second.
 * After an error look again: the snapshot may appear later. Throws CephError: EEXIST, EROFS (a read-only handle; or the lock's owner
 * does not answer), EINVAL (the quiesce failed), ETIMEDOUT.
 * Implements: rbd_snap_create, rbd_snap_create2
 */
export async function createSnapshot(
  image: Image,
  name: string,
  options: SnapshotOptions = {},
): Promise<void> {
  if (options.quiesce ?? true) await image.call(create, name);
  else await image.call(create2, name, skipQuiesce, noProgress(), null);
}

/**
 * Removes a snapshot by name, or of any type by id. Throws CephError: ENOENT, EBUSY (it is protected), EROFS. With clones of format 2 it
 * goes to the `trash` type, and vanishes with the last of them.
 * Implements: rbd_snap_remove, rbd_snap_remove_by_id
 */
export async function removeSnapshot(image: Image, snapshot: string | number): Promise<void> {
  if (typeof snapshot === 'number') assertSize(snapshot, 'snapshot id');
  await image.call(typeof snapshot === 'string' ? remove : removeById, snapshot);
}

/** Keeps the snapshot from removal; clones of format 1 need it. Throws EBUSY where it is protected. Implements: rbd_snap_protect */
export async function protectSnapshot(image: Image, name: string): Promise<void> {
  await image.call(protect, name);
}

/** Throws CephError: EINVAL (not protected), EBUSY (it has clones). Implements: rbd_snap_unprotect */
export async function unprotectSnapshot(image: Image, name: string): Promise<void> {
  await image.call(unprotect, name);
}

/** Gives a `user` snapshot another name; its id stays. Throws ENOENT, EEXIST, EROFS. Implements: rbd_snap_rename */
export async function renameSnapshot(image: Image, name: string, newName: string): Promise<void> {
  await image.call(rename, name, newName);
}

/**
 * Makes the image's bytes and size those of the snapshot, object by object: while it runs, and after a failure, the image is neither. Throws
 * CephError: ENOENT, EROFS (a read-only handle; or another client owns the exclusive lock: a live guest's disk).
 * Implements: rbd_snap_rollback_with_progress
 */
export async function rollbackToSnapshot(
  image: Image,
  name: string,
  onProgress?: OnProgress,
): Promise<void> {
  await withProgress({ onProgress }, (progress) => image.call(rollback, name, progress, null));
}

/** The present name of the snapshot of this id, of any type; null where there is none. Implements: rbd_snap_get_name */
export async function snapshotName(image: Image, id: number): Promise<string | null> {
  assertSize(id, 'snapshot id');
  const { result, name } = await withRoom(getName.symbol, 256, async (room) => {
    const [name, length] = [bytes(room), words()];
    length[0] = BigInt(room);
    const result = await image.try(getName, id, name, length);
    return { result, wanted: Number(word(length)), name };
  });
  if (result === -errno.ENOENT) return null;
  check(result, getName.symbol, String(id));
  return textOf(name);
}

/**
 * The name that a snapshot of type `trash` had before it was removed. Throws ENOENT, EINVAL (it is of another type).
 * Implements: rbd_snap_get_trash_namespace
 */
export async function trashedSnapshotName(image: Image, id: number): Promise<string> {
  assertSize(id, 'snapshot id');
  const { result, name } = await withRoom(getTrashName.symbol, 256, async (room) => {
    const name = bytes(room);
    return { result: await image.try(getTrashName, id, name, room), wanted: room, name };
  });
  check(result, getTrashName.symbol, String(id));
  return textOf(name);
}

type Bare = Pick<Snapshot, 'id' | 'name' | 'sizeBytes'>;

/** rbd_snap_list wants room for one entry more, its end mark, and answers how many there are. */
async function listBare(image: Image): Promise<Bare[]> {
  const { result, infos } = await withRoom(list.symbol, 64, async (room) => {
    const [infos, count] = [words(room * 3), ints()]; // rbd_snap_info_t: id, size, name
    count[0] = room;
    const result = await image.try(list, infos, count);
    return { result, wanted: count[0] ?? 0, infos };
  });
  check(result, list.symbol);
  try {
    return Array.from({ length: result }, (_, index) => ({
      id: safeInteger(word(infos, index * 3), 'snapshot id'),
      sizeBytes: safeInteger(word(infos, index * 3 + 1), 'snapshot size'),
      name: textAt(word(infos, index * 3 + 2)),
    }));
  } finally {
    if (result > 0) listEnd.call(infos);
  }
}

async function details(
  image: Image,
  { id, name }: Bare,
): Promise<Pick<Snapshot, 'type' | 'protected' | 'createdAt'>> {
  const [kind, time, held] = [ints(), words(2), ints()];
  await image.call(namespaceType, id, kind);
  await image.call(timestamp, id, time);
  const type = snapshotType(kind[0] ?? -1);
  if (type === 'user') await image.call(getProtected, name, held);
  const createdAt = new Date(Number(word(time)) * 1000 + Number(word(time, 1)) / 1e6);
  return { type, protected: held[0] !== 0, createdAt };
}
