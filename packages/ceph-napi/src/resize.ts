// An image's size: in bytes, and in the cluster.
import type { Image } from './image.ts';
import { librbd } from './library.ts';
import { assertSize } from './memory.ts';
import { type OnProgress, withProgress } from './progress.ts';

const resize = librbd(`int rbd_resize2(rbd_image_t image, uint64_t size, bool allow_shrink,
  librbd_progress_fn_t cb, void *cbdata)`);
const sparsify = librbd(`int rbd_sparsify_with_progress(rbd_image_t image, size_t sparse_size,
  librbd_progress_fn_t cb, void *cbdata)`);

export interface ResizeOptions {
  /** Whether the image may lose its end. Default false: EINVAL. */
  readonly shrink?: boolean;
  readonly onProgress?: OnProgress;
}

/** Makes the image `sizeBytes` long; what is new reads as zeros. Throws CephError: EINVAL, EROFS. Implements: rbd_resize2 */
export async function resizeImage(
  image: Image,
  sizeBytes: number,
  options: ResizeOptions = {},
): Promise<void> {
  assertSize(sizeBytes, 'size');
  const { shrink = false, onProgress } = options;
  await withProgress({ onProgress }, (progress) =>
    image.call(resize, sizeBytes, shrink, progress, null),
  );
}

/**
 * Makes holes of runs of zeros of `sparseBytes` (a power of two from 4096 to the object size): reads all of the image. Throws CephError:
 * EINVAL, EROFS, EOPNOTSUPP (OSDs before 14).
 * Implements: rbd_sparsify_with_progress
 */
export async function sparsifyImage(
  image: Image,
  sparseBytes = 4096,
  onProgress?: OnProgress,
): Promise<void> {
  assertSize(sparseBytes, 'sparse size');
  await withProgress({ onProgress }, (progress) =>
    image.call(sparsify, sparseBytes, progress, null),
  );
}
