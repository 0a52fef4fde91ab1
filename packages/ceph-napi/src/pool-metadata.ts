// A pool's own metadata (rbd_info's omap): texts by key, and `conf_…` keys are settings of librbd for all images of the pool.
import { librbd } from './library.ts';
import type { Pool } from './pool.ts';
import { getText, listTexts } from './text-table.ts';

const get = librbd(`int rbd_pool_metadata_get(rados_ioctx_t io_ctx, const char *key, char *value,
  size_t *val_len)`);
const set = librbd(
  'int rbd_pool_metadata_set(rados_ioctx_t io_ctx, const char *key, const char *value)',
);
const remove = librbd('int rbd_pool_metadata_remove(rados_ioctx_t io_ctx, const char *key)');
const list = librbd(`int rbd_pool_metadata_list(rados_ioctx_t io_ctx, const char *start,
  uint64_t max, char *keys, size_t *key_len, char *values, size_t *vals_len)`);

/** One value, or null where the key is not set. Implements: rbd_pool_metadata_get */
export function poolMetadata(pool: Pool, key: string): Promise<string | null> {
  return getText(pool, get, key);
}

/** Throws EINVAL where `conf_…` is not a setting of librbd. Implements: rbd_pool_metadata_set */
export async function setPoolMetadata(pool: Pool, key: string, value: string): Promise<void> {
  await pool.call(set, key, value);
}

/** Throws ENOENT where the key is not set. Implements: rbd_pool_metadata_remove */
export async function removePoolMetadata(pool: Pool, key: string): Promise<void> {
  await pool.call(remove, key);
}

/** All of them, by key. Implements: rbd_pool_metadata_list */
export function listPoolMetadata(pool: Pool): Promise<Map<string, string>> {
  return listTexts(pool, list);
}
