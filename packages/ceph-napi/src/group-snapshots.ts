// Snapshots of groups, looked at: which snapshot of which image each is made of.
import { check } from './errors.ts';
import { librbd } from './library.ts';
import { safeInteger, textAt, word, words, wordsAt } from './memory.ts';
import type { Pool } from './pool.ts';

const getInfo = librbd(`int rbd_group_snap_get_info(rados_ioctx_t group_p, const char *group_name,
  const char *snap_name, rbd_group_snap_info2_t *group_snap)`);
const cleanup = librbd('void rbd_group_snap_get_info_cleanup(rbd_group_snap_info2_t *group_snap)');

export interface GroupSnapshot {
  readonly id: string;
  readonly name: string;
  /** False where the client that took it died meanwhile. */
  readonly complete: boolean;
  readonly members: readonly GroupSnapshotMember[];
}

export interface GroupSnapshotMember {
  readonly poolId: number;
  readonly imageName: string;
  /** To be opened or cloned by. */
  readonly snapshotId: number;
}

const infoWords = 6; // rbd_group_snap_info2_t: id, name, image_snap_name, state and type, image_snaps_count, image_snaps
const memberWords = 3; // rbd_group_image_snap_info_t: image_name, pool_id, snap_id

/**
 * A group's snapshot and its members. Throws CephError: ENOENT (no such group or snapshot), ENOSYS (an older librbd).
 * Implements: rbd_group_snap_get_info, rbd_group_snap_get_info_cleanup
 */
export async function groupSnapshot(
  pool: Pool,
  group: string,
  name: string,
): Promise<GroupSnapshot> {
  const info = words(infoWords);
  check(await pool.try(getInfo, group, name, info), getInfo.symbol, `${group}@${name}`);
  try {
    const count = safeInteger(word(info, 4), 'members');
    const members = wordsAt(word(info, 5), count * memberWords);
    return {
      id: textAt(word(info)),
      name: textAt(word(info, 1)),
      complete: (word(info, 3) & 0xffff_ffffn) === 1n, // RBD_GROUP_SNAP_STATE_COMPLETE
      members: Array.from({ length: count }, (_, index) => ({
        imageName: textAt(word(members, index * memberWords)),
        poolId: safeInteger(word(members, index * memberWords + 1), 'pool id'),
        snapshotId: safeInteger(word(members, index * memberWords + 2), 'snapshot id'),
      })),
    };
  } finally {
    cleanup.call(info);
  }
}
