// Many reads of one image in flight, on the event loop: librbd writes a byte into a pipe when one is done. No thread of libuv's pool
// waits and nothing polls. (An eventfd would need a blocking read in the pool: net.Socket does not take one.)
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import koffi from 'koffi';
import { CephError, check } from './errors.ts';
import type { Image } from './image.ts';
import { libc, librbd } from './library.ts';
import { assertSize, assertSteady, ints, word, words } from './memory.ts';

const pipe2 = libc('int pipe2(int *pipefd, int flags)');
const setNotification = librbd(
  'int rbd_set_image_notification(rbd_image_t image, int fd, int type)',
);
const createCompletion = librbd(`int rbd_aio_create_completion(void *cb_arg,
  rbd_callback_t complete_cb, rbd_completion_t *c)`);
const aioRead = librbd(`int rbd_aio_read2(rbd_image_t image, uint64_t off, size_t len, char *buf,
  rbd_completion_t c, int op_flags)`);
const pollEvents = librbd(
  'int rbd_poll_io_events(rbd_image_t image, rbd_completion_t *comps, int numcomp)',
);
const returnValue = librbd('ssize_t rbd_aio_get_return_value(rbd_completion_t c)');
const releaseCompletion = librbd('void rbd_aio_release(rbd_completion_t c)');

const eventTypePipe = 1; // EVENT_TYPE_PIPE
const closeOnExec = 0o2000000; // O_CLOEXEC, which node:fs does not name
const pollLength = 64;
/** Reads that one reader takes at a time: far above what helps, so more is a bug of the caller's. */
export const maxReadsInFlight = 1024;

interface Request {
  readonly symbol: string;
  readonly memory: Uint8Array | null; // held here for as long as librbd may use it
  readonly resolve: (length: number) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads an open image with many requests in flight. There is one for an image at most (EINVAL for a second), and it ends with it: closing
 * the image waits for the reads in flight, which the connection's `osdTimeoutMs` bounds.
 * A read that failed harms no other.
 */
export class ImageReader {
  readonly #image: Image;
  readonly #pointer: bigint;
  readonly #socket: net.Socket;
  readonly #requests = new Map<bigint, Request>();
  readonly #done = words(pollLength);

  protected constructor(image: Image) {
    const { readEnd, writeEnd } = notificationPipe(image);
    const socket = new net.Socket({ fd: readEnd, readable: true, writable: false });
    // A completion can be seen before librbd has written its byte: so the pipe stays until librbd has let go of the image.
    image.defer(() => {
      socket.destroy();
      fs.closeSync(writeEnd);
    });
    this.#image = image;
    this.#pointer = image.pointer;
    this.#socket = socket.on('data', () => this.#drain()).unref();
  }

  /** Throws CephError: EINVAL (the image has a reader), EMFILE. */
  static attach(image: Image): ImageReader {
    return new ImageReader(image);
  }

  get inFlight(): number {
    return this.#requests.size;
  }

  /**
   * Reads into all of `buffer` from `offset` bytes; holes are zeros. Gives the bytes read, fewer only at the image's end. The buffer may be
   * shared; until the promise settles it must be neither transferred nor resized, and its bytes mean nothing.
   * Throws CephError: EINVAL (`offset` beyond the end), ETIMEDOUT, ESHUTDOWN (this client is blocklisted).
   * Implements: rbd_aio_read2
   */
  async read(buffer: Uint8Array, offset: number): Promise<number> {
    assertSize(offset, 'offset');
    assert(buffer.length > 0, 'nothing to read into');
    return await this.submit(aioRead.symbol, buffer, (image, completion) =>
      aioRead.call(image, offset, buffer.length, buffer, completion, 0),
    );
  }

  /**
   * Starts a request of librbd's and gives what it answered. `memory` is what C uses until then.
   * Implements: rbd_aio_create_completion, rbd_poll_io_events, rbd_aio_get_return_value, rbd_aio_release
   */
  protected async submit(
    symbol: string,
    memory: Uint8Array | null,
    start: (image: bigint, completion: bigint) => number,
  ): Promise<number> {
    if (memory) assertSteady(memory);
    assert(this.#requests.size < maxReadsInFlight, 'too many reads in flight');
    return await this.#image.during(
      () =>
        new Promise((resolve, reject) => {
          this.#start({ symbol, memory, resolve, reject }, start);
        }),
    );
  }

  #start(request: Request, start: (image: bigint, completion: bigint) => number): void {
    const out = words();
    check(createCompletion.call(null, null, out), createCompletion.symbol);
    const completion = word(out);
    const result = start(this.#pointer, completion);
    if (result < 0) {
      releaseCompletion.call(completion);
      throw new CephError(-result, request.symbol);
    }
    this.#requests.set(completion, request);
    this.#socket.ref(); // a process with a request in flight does not end
  }

  #drain(): void {
    while (this.#requests.size > 0) {
      const count = check(
        pollEvents.call(this.#pointer, this.#done, pollLength),
        pollEvents.symbol,
      );
      for (const completion of this.#done.subarray(0, count)) this.#finish(completion);
      if (count < pollLength) break;
    }
    if (this.#requests.size === 0) this.#socket.unref();
  }

  #finish(completion: bigint): void {
    const request = this.#requests.get(completion);
    assert(request, 'librbd answered what was not asked');
    this.#requests.delete(completion);
    const result = returnValue.call(completion);
    releaseCompletion.call(completion);
    if (result < 0) request.reject(new CephError(-result, request.symbol));
    else request.resolve(result);
  }
}

/** Implements: rbd_set_image_notification */
function notificationPipe(image: Image): { readEnd: number; writeEnd: number } {
  const ends = ints(2);
  const made = pipe2.call(ends, fs.constants.O_NONBLOCK | closeOnExec);
  if (made < 0) throw new CephError(koffi.errno(), pipe2.symbol);
  const [readEnd = -1, writeEnd = -1] = ends;
  try {
    check(setNotification.call(image.pointer, writeEnd, eventTypePipe), setNotification.symbol);
    return { readEnd, writeEnd };
  } catch (error) {
    for (const fd of [readEnd, writeEnd]) fs.closeSync(fd);
    throw error;
  }
}
