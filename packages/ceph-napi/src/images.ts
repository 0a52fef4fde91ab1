// The images of a pool: list, create, rename, remove.
import { check } from './errors.ts';
import { feature, Image } from './image.ts';
import { withImageOptions } from './image-options.ts';
import { librbd } from './library.ts';
import { assertSize, textAt, withRoom, word, words } from './memory.ts';
import type { Pool } from './pool.ts';

const list = librbd(
  'int rbd_list2(rados_ioctx_t io, rbd_image_spec_t *images, size_t *max_images)',
);
const listCleanup = librbd(
  'void rbd_image_spec_list_cleanup(rbd_image_spec_t *images, size_t num_images)',
);
const create = librbd(`int rbd_create4(rados_ioctx_t io, const char *name, uint64_t size,
  rbd_image_options_t opts)`);
const remove = librbd('int rbd_remove(rados_ioctx_t io, const char *name)');
const rename = librbd(`int rbd_rename(rados_ioctx_t src_io_ctx, const char *srcname,
  const char *destname)`);

/** The set that the `rbd` command gives to an image (RBD_FEATURES_DEFAULT). */
export const defaultFeatures =
  feature.layering |
  feature.exclusiveLock |
  feature.objectMap |
  feature.fastDiff |
  feature.deepFlatten;

export interface ImageName {
  readonly id: string;
  readonly name: string;
}

export interface CreateOptions {
  /** A mask of {@link feature}. Default: {@link defaultFeatures}. */
  readonly features?: number;
  /** log2 of the object size. Default 22: 4 MiB. */
  readonly order?: number;
}

/** Name and id of each image in the pool's namespace. Implements: rbd_list2, rbd_image_spec_list_cleanup */
export async function listImages(pool: Pool): Promise<ImageName[]> {
  const { result, specs, count } = await withRoom(list.symbol, 256, async (room) => {
    const [specs, count] = [words(room * 2), words()]; // rbd_image_spec_t: id, name
    count[0] = BigInt(room);
    const result = await pool.try(list, specs, count);
    return { result, wanted: Number(word(count)), specs, count: Number(word(count)) };
  });
  check(result, list.symbol);
  try {
    return Array.from({ length: count }, (_, index) => ({
      id: textAt(word(specs, index * 2)),
      name: textAt(word(specs, index * 2 + 1)),
    }));
  } finally {
    listCleanup.call(specs, count);
  }
}

/** The id of the image that has this name now. Throws ENOENT. */
export async function imageId(pool: Pool, name: string): Promise<string> {
  await using image = await Image.open(pool, { name });
  return await image.id();
}

/** Creates an image of format 2. Throws EEXIST, EINVAL. Implements: rbd_create4 */
export async function createImage(
  pool: Pool,
  name: string,
  sizeBytes: number,
  options: CreateOptions = {},
): Promise<void> {
  assertSize(sizeBytes, 'size');
  const { features = defaultFeatures, order = 22 } = options;
  await withImageOptions({ format: 2, features, order }, (chosen) =>
    pool.call(create, name, sizeBytes, chosen),
  );
}

/**
 * Removes an image. Throws ENOENT, ENOTEMPTY (it has snapshots), EBUSY (it is open for writing somewhere).
 * Implements: rbd_remove
 */
export async function removeImage(pool: Pool, name: string): Promise<void> {
  await pool.call(remove, name);
}

/** Gives an image another name; its id and who has it open stay. Throws ENOENT, EEXIST. Implements: rbd_rename */
export async function renameImage(pool: Pool, name: string, newName: string): Promise<void> {
  await pool.call(rename, name, newName);
}
