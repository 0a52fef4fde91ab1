// Flatten: a clone becomes an image of its own.
import type { Image } from './image.ts';
import { librbd } from './library.ts';
import { type ProgressOptions, withProgress } from './progress.ts';

const flatten = librbd(`int rbd_flatten_with_progress(rbd_image_t image, librbd_progress_fn_t cb,
  void *cbdata)`);

/**
 * Copies into the image what it still reads from its parent, then parts them. Needs a writable handle; where another client owns the
 * exclusive lock, that client executes it, and does not hear `signal`. After ECANCELED or any other failure the parent is still there, and
 * a second flatten goes on with what is left. Throws CephError: EINVAL (not a clone), EROFS, ECANCELED (after `signal`).
 * Implements: rbd_flatten_with_progress
 */
export async function flattenImage(image: Image, options: ProgressOptions = {}): Promise<void> {
  await withProgress(options, (progress) => image.call(flatten, progress, null));
}
