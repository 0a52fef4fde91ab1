// An image's parent and its children.
import { check, errno } from './errors.ts';
import type { Image } from './image.ts';
import { librbd } from './library.ts';
import { safeInteger, textAt, withRoom, word, words } from './memory.ts';
import { type SnapshotType, snapshotType } from './snapshots.ts';

const getParent = librbd(`int rbd_get_parent(rbd_image_t image,
  rbd_linked_image_spec_t *parent_image, rbd_snap_spec_t *parent_snap)`);
const parentCleanup = librbd('void rbd_linked_image_spec_cleanup(rbd_linked_image_spec_t *image)');
const snapCleanup = librbd('void rbd_snap_spec_cleanup(rbd_snap_spec_t *snap)');
const listChildrenC = librbd(`int rbd_list_children3(rbd_image_t image,
  rbd_linked_image_spec_t *images, size_t *max_images)`);
const childrenCleanup = librbd(`void rbd_linked_image_spec_list_cleanup(
  rbd_linked_image_spec_t *images, size_t num_images)`);

/** rbd_linked_image_spec_t: an image at the other end. */
export interface LinkedImage {
  readonly poolId: number;
  readonly poolName: string;
  /** '' for the default namespace. */
  readonly namespace: string;
  readonly id: string;
  readonly name: string;
  /** Whether it is in the trash. */
  readonly trashed: boolean;
}

export interface ParentImage extends LinkedImage {
  readonly snapshot: { readonly id: number; readonly name: string; readonly type: SnapshotType };
}

const linkWords = 6; // pool_id, pool_name, pool_namespace, image_id, image_name, trash

/**
 * What the image was cloned from; null where it has no parent, or none any more. Throws EPERM where the caps do not show it.
 * Implements: rbd_get_parent, rbd_linked_image_spec_cleanup, rbd_snap_spec_cleanup
 */
export async function parentOf(image: Image): Promise<ParentImage | null> {
  const [link, snap] = [words(linkWords), words(3)]; // rbd_snap_spec_t: id, namespace_type, name
  const result = await image.try(getParent, link, snap);
  if (result === -errno.ENOENT) return null;
  check(result, getParent.symbol);
  try {
    const snapshot = {
      id: safeInteger(word(snap), 'snapshot id'),
      type: snapshotType(Number(word(snap, 1) & 0xffff_ffffn)),
      name: textAt(word(snap, 2)),
    };
    return { ...linkedImage(link, 0), snapshot };
  } finally {
    parentCleanup.call(link);
    snapCleanup.call(snap);
  }
}

/**
 * The clones of what the handle shows: of that snapshot; or of all, where it shows none. Those of all pools, in the trash too. Throws EPERM
 * where the caps do not show a pool.
 * Implements: rbd_list_children3, rbd_linked_image_spec_list_cleanup
 */
export async function listChildren(image: Image): Promise<LinkedImage[]> {
  const { result, links, count } = await withRoom(listChildrenC.symbol, 64, async (room) => {
    const [links, count] = [words(room * linkWords), words()];
    count[0] = BigInt(room);
    const result = await image.try(listChildrenC, links, count);
    return { result, wanted: Number(word(count)), links, count: Number(word(count)) };
  });
  check(result, listChildrenC.symbol);
  try {
    return Array.from({ length: count }, (_, index) => linkedImage(links, index * linkWords));
  } finally {
    childrenCleanup.call(links, count);
  }
}

function linkedImage(links: BigUint64Array, first: number): LinkedImage {
  return {
    poolId: safeInteger(word(links, first), 'pool id'),
    poolName: textAt(word(links, first + 1)),
    namespace: textAt(word(links, first + 2)),
    id: textAt(word(links, first + 3)),
    name: textAt(word(links, first + 4)),
    trashed: (word(links, first + 5) & 0xffn) !== 0n,
  };
}
