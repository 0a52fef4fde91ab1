// Full copies of an image, made by librbd: without a parent, or deep.

import assert from 'node:assert/strict';
import type { Image } from './image.ts';
import { withImageOptions } from './image-options.ts';
import { librbd } from './library.ts';
import { assertSize } from './memory.ts';
import type { Pool } from './pool.ts';
import { type OnProgress, withProgress } from './progress.ts';

const copy = librbd(`int rbd_copy_with_progress4(rbd_image_t image, rados_ioctx_t dest_p,
  const char *destname, rbd_image_options_t dest_opts, librbd_progress_fn_t cb, void *cbdata,
  size_t sparse_size)`);
const deepCopy = librbd(`int rbd_deep_copy_with_progress(rbd_image_t image,
  rados_ioctx_t dest_io_ctx, const char *destname, rbd_image_options_t dest_opts,
  librbd_progress_fn_t cb, void *cbdata)`);

export interface CopyOptions {
  /** A mask of `feature`. Default: the source's. */
  readonly features?: number;
  /** log2 of the object size. Default: the source's. */
  readonly order?: number;
  readonly onProgress?: OnProgress;
}

export interface SparseCopyOptions extends CopyOptions {
  /** Runs of zeros of this length become holes; a power of two. Default 4096 bytes. */
  readonly sparseBytes?: number;
}

/**
 * Copies what the handle shows, its parent's data included, into a new image without parent or snapshots. It cannot be stopped; after a
 * failure look what is there. Asserts that the handle is read-only: from one that owns a clone's exclusive lock, librbd 18 leaves out the
 * objects that only the parent has. Throws CephError: EEXIST, EINVAL, EPERM.
 * Implements: rbd_copy_with_progress4
 */
export async function copyImage(
  image: Image,
  to: { readonly pool: Pool; readonly image: string },
  options: SparseCopyOptions = {},
): Promise<void> {
  const { features, order, onProgress, sparseBytes = 4096 } = options;
  assert(!image.writable, 'copy from a handle that was opened read-only');
  assertSize(sparseBytes, 'sparse size');
  await withImageOptions({ features, order }, (chosen) =>
    withProgress({ onProgress }, (progress) =>
      to.pool.during((io) => image.call(copy, io, to.image, chosen, progress, null, sparseBytes)),
    ),
  );
}

/**
 * Copies an image as it is: with its snapshots up to what the handle shows, and a clone as a clone of the same parent. It cannot be stopped.
 * Not of a handle that shows a group's snapshot: librbd 16 aborts the process. Throws CephError: EEXIST, EINVAL, EPERM.
 * Implements: rbd_deep_copy_with_progress
 */
export async function deepCopyImage(
  image: Image,
  to: { readonly pool: Pool; readonly image: string },
  options: CopyOptions = {},
): Promise<void> {
  const { features, order, onProgress } = options;
  await withImageOptions({ features, order }, (chosen) =>
    withProgress({ onProgress }, (progress) =>
      to.pool.during((io) => image.call(deepCopy, io, to.image, chosen, progress, null)),
    ),
  );
}
