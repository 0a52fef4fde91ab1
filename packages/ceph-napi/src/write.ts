// Many writes of one image in flight, in the way of read.ts.
import assert from 'node:assert/strict';
import type { Image } from './image.ts';
import { librbd } from './library.ts';
import { assertSize } from './memory.ts';
import { ImageReader } from './read.ts';

const aioWrite = librbd(`int rbd_aio_write2(rbd_image_t image, uint64_t off, size_t len,
  const char *buf, rbd_completion_t c, int op_flags)`);
const aioWriteZeroes = librbd(`int rbd_aio_write_zeroes(rbd_image_t image, uint64_t off,
  size_t len, rbd_completion_t c, int zero_flags, int op_flags)`);
const aioFlush = librbd('int rbd_aio_flush(rbd_image_t image, rbd_completion_t c)');

/** An {@link ImageReader} that writes too. There is one of either for an image. */
export class ImageWriter extends ImageReader {
  /** Throws CephError: EINVAL (the image has a reader), EMFILE. Asserts that it is writable. */
  static override attach(image: Image): ImageWriter {
    assert(image.writable, 'the image was opened read-only');
    return new ImageWriter(image);
  }

  /**
   * Writes all of `data` at `offset` bytes. Until the promise settles its bytes must not change. It is safe in the cluster after a
   * {@link ImageWriter.flush} that began later. Throws CephError: EINVAL (beyond the end), EROFS, ETIMEDOUT, ESHUTDOWN.
   * Implements: rbd_aio_write2
   */
  async write(data: Uint8Array, offset: number): Promise<void> {
    assertSize(offset, 'offset');
    await this.submit(aioWrite.symbol, data, (image, completion) =>
      aioWrite.call(image, offset, data.length, data, completion, 0),
    );
  }

  /** Makes `length` bytes zeros: holes where whole objects allow it. Implements: rbd_aio_write_zeroes */
  async writeZeroes(offset: number, length: number): Promise<void> {
    assertSize(offset, 'offset');
    assertSize(length, 'length');
    await this.submit(aioWriteZeroes.symbol, null, (image, completion) =>
      aioWriteZeroes.call(image, offset, length, completion, 0, 0),
    );
  }

  /** Waits until what was written is safe in the cluster. Implements: rbd_aio_flush */
  async flush(): Promise<void> {
    await this.submit(aioFlush.symbol, null, (image, completion) =>
      aioFlush.call(image, completion),
    );
  }
}
