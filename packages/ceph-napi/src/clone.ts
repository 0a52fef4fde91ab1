// Clones: writable images that begin as a snapshot of another. (rbd_clone and rbd_clone2 are rbd_clone3 with fewer options.)
import { check } from './errors.ts';
import { withImageOptions } from './image-options.ts';
import { librbd } from './library.ts';
import { assertSize } from './memory.ts';
import type { Pool } from './pool.ts';

const clone3 = librbd(`int rbd_clone3(rados_ioctx_t p_ioctx, const char *p_name,
  const char *p_snapname, rados_ioctx_t c_ioctx, const char *c_name, rbd_image_options_t c_opts)`);
const clone4 = librbd(`int rbd_clone4(rados_ioctx_t p_ioctx, const char *p_name,
  uint64_t p_snap_id, rados_ioctx_t c_ioctx, const char *c_name, rbd_image_options_t c_opts)`);

export interface CloneSource {
  readonly pool: Pool;
  readonly image: string;
  /** By name a `user` snapshot; by id one of any type, a group's too, where the library can (else ENOSYS). */
  readonly snapshot: string | number;
}

export interface CloneTarget {
  readonly pool: Pool;
  readonly image: string;
}

export interface CloneOptions {
  /**
   * 2 (default) clones any snapshot, and lets it be removed while clones live; 1 wants it protected; `configured`: as the cluster has it
   * (`rbd_default_clone_format`). By id always 2.
   */
  readonly format?: 1 | 2 | 'configured';
  /** A mask of `feature`. Default: the cluster's for new images. */
  readonly features?: number;
  /** log2 of the object size. Default: the parent's. */
  readonly order?: number;
  /** The pool of its data. Default: the cluster's for new images, and not the parent's. */
  readonly dataPool?: string;
}

/**
 * Makes a clone, without copying data; the parent's metadata is copied. Throws CephError: ENOENT (no such image or snapshot), EEXIST (the
 * target), EINVAL (the format wants a protected snapshot; a feature that a clone cannot have), EPERM (the caps), ENOSYS.
 * Implements: rbd_clone3, rbd_clone4
 */
export async function cloneImage(
  from: CloneSource,
  to: CloneTarget,
  options: CloneOptions = {},
): Promise<void> {
  const { format = 2, features, order, dataPool } = options;
  const { snapshot } = from;
  const byId = typeof snapshot === 'number';
  if (byId) assertSize(snapshot, 'snapshot id');
  const f = byId ? clone4 : clone3;
  const cloneFormat = format === 'configured' ? undefined : format;
  const result = await withImageOptions({ cloneFormat, features, order, dataPool }, (chosen) =>
    from.pool.during((parent) =>
      to.pool.during((child) => f.later(parent, from.image, snapshot, child, to.image, chosen)),
    ),
  );
  check(result, f.symbol, `${from.image}@${snapshot}`);
}
