// The images of a pool: list, create, remove.
import { check } from './errors.ts';
import { feature, Image } from './image.ts';
import { librbd } from './library.ts';
import { assertSize, textAt, withRoom, word, words } from './memory.ts';
import type { Pool } from './pool.ts';

const list = librbd(
  'int rbd_list2(rados_ioctx_t io, rbd_image_spec_t *images, size_t *max_images)',
);
const listCleanup = librbd(
  'void rbd_image_spec_list_cleanup(rbd_image_spec_t *images, size_t num_images)',
);
const optionsCreate = librbd('void rbd_image_options_create(rbd_image_options_t *opts)');
const optionsDestroy = librbd('void rbd_image_options_destroy(rbd_image_options_t opts)');
const optionsSet = librbd(`int rbd_image_options_set_uint64(rbd_image_options_t opts, int optname,
  uint64_t optval)`);
const create = librbd(`int rbd_create4(rados_ioctx_t io, const char *name, uint64_t size,
  rbd_image_options_t opts)`);
const remove = librbd('int rbd_remove(rados_ioctx_t io, const char *name)');

const option = { format: 0, features: 1, order: 2 } as const; // RBD_IMAGE_OPTION_*

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

/**
 * Creates an image of format 2. Throws EEXIST, EINVAL.
 * Implements: rbd_create4, rbd_image_options_create, rbd_image_options_set_uint64, rbd_image_options_destroy
 */
export async function createImage(
  pool: Pool,
  name: string,
  sizeBytes: number,
  options: CreateOptions = {},
): Promise<void> {
  assertSize(sizeBytes, 'size');
  const { features = defaultFeatures, order = 22 } = options;
  const out = words();
  optionsCreate.call(out);
  const chosen = word(out);
  try {
    for (const [name, value] of Object.entries({ format: 2, features, order })) {
      const result = optionsSet.call(chosen, option[name as keyof typeof option], value);
      check(result, optionsSet.symbol, name);
    }
    await pool.call(create, name, sizeBytes, chosen);
  } finally {
    optionsDestroy.call(chosen);
  }
}

/**
 * Removes an image. Throws ENOENT, ENOTEMPTY (it has snapshots), EBUSY (it is open for writing somewhere).
 * Implements: rbd_remove
 */
export async function removeImage(pool: Pool, name: string): Promise<void> {
  await pool.call(remove, name);
}
