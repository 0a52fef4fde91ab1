// The trash: images that are gone from the pool's list, and can come back until they are removed for good. In it an image has its id only.
import { check } from './errors.ts';
import { librbd } from './library.ts';
import { assertSize, textAt, withRoom, word, words } from './memory.ts';
import type { Pool } from './pool.ts';
import { type OnProgress, withProgress } from './progress.ts';

const move = librbd('int rbd_trash_move(rados_ioctx_t io, const char *name, uint64_t delay)');
const list = librbd(`int rbd_trash_list(rados_ioctx_t io, rbd_trash_image_info_t *trash_entries,
  size_t *num_entries)`);
const listCleanup = librbd(
  'void rbd_trash_list_cleanup(rbd_trash_image_info_t *trash_entries, size_t num_entries)',
);
const restore = librbd('int rbd_trash_restore(rados_ioctx_t io, const char *id, const char *name)');
const remove = librbd(`int rbd_trash_remove_with_progress(rados_ioctx_t io, const char *id,
  bool force, librbd_progress_fn_t cb, void *cbdata)`);
const purge = librbd('int rbd_trash_purge(rados_ioctx_t io, time_t expire_ts, float threshold)');

/** rbd_trash_image_source_t, in its order: who moved the image there. */
const sources = ['user', 'mirroring', 'migration', 'removing', 'user-parent'] as const;
export type TrashSource = (typeof sources)[number] | 'unknown';

export interface TrashedImage {
  readonly id: string;
  /** The name that it had. */
  readonly name: string;
  readonly source: TrashSource;
  readonly movedAt: Date;
  /** Until then it is removed by force only. To the second, by the clock of the client that moved it. */
  readonly deferredUntil: Date;
}

export interface TrashRemoveOptions {
  /** Also before its time. Default false. */
  readonly force?: boolean;
  readonly onProgress?: OnProgress;
}

const entryWords = 5; // rbd_trash_image_info_t: id, name, source, deletion_time, deferment_end_time

/**
 * Moves an image to the trash, with its snapshots; its clones, and who has it open, go on. For `delaySeconds` it is removed by force only.
 * Throws CephError: ENOENT, EBUSY (the owner of its lock does not give it up).
 * Implements: rbd_trash_move
 */
export async function moveToTrash(pool: Pool, name: string, delaySeconds = 0): Promise<void> {
  assertSize(delaySeconds, 'delay');
  await pool.call(move, name, delaySeconds);
}

/** What is in the trash of the pool's namespace. Implements: rbd_trash_list, rbd_trash_list_cleanup */
export async function listTrash(pool: Pool): Promise<TrashedImage[]> {
  const { result, entries, count } = await withRoom(list.symbol, 64, async (room) => {
    const [entries, count] = [words(room * entryWords), words()];
    count[0] = BigInt(room);
    const result = await pool.try(list, entries, count);
    return { result, wanted: Number(word(count)), entries, count: Number(word(count)) };
  });
  check(result, list.symbol);
  try {
    return Array.from({ length: count }, (_, index) => trashedImage(entries, index * entryWords));
  } finally {
    listCleanup.call(entries, count);
  }
}

/** Brings an image back, by that name or, if it is '', by the one it had. Throws CephError: ENOENT, EEXIST. Implements: rbd_trash_restore */
export async function restoreFromTrash(pool: Pool, id: string, name = ''): Promise<void> {
  await pool.call(restore, id, name);
}

/**
 * Removes an image of the trash for good. Throws CephError: ENOENT, EPERM (before its time), ENOTEMPTY (it has snapshots), EBUSY.
 * Implements: rbd_trash_remove_with_progress
 */
export async function removeFromTrash(
  pool: Pool,
  id: string,
  options: TrashRemoveOptions = {},
): Promise<void> {
  const { force = false, onProgress } = options;
  await withProgress({ onProgress }, (progress) => pool.call(remove, id, force, progress, null));
}

/**
 * Removes all images whose time was over at `expiredAt` (default: now). Throws ENOTEMPTY where some of them stay, because they have
 * snapshots; the others are removed all the same.
 * Implements: rbd_trash_purge
 */
export async function purgeTrash(pool: Pool, expiredAt = new Date()): Promise<void> {
  const noThreshold = -1; // else: until the pool is below that part of its quota
  await pool.call(purge, Math.floor(expiredAt.getTime() / 1000), noThreshold);
}

function trashedImage(entries: BigUint64Array, first: number): TrashedImage {
  const time = (index: number) => new Date(Number(word(entries, index)) * 1000);
  return {
    id: textAt(word(entries, first)),
    name: textAt(word(entries, first + 1)),
    source: sources[Number(word(entries, first + 2) & 0xffff_ffffn)] ?? 'unknown',
    movedAt: time(first + 3),
    deferredUntil: time(first + 4),
  };
}
