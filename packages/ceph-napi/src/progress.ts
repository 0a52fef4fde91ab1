// How far a long operation of librbd has come. librbd tells it from threads of its own, some of the image's locks held, and waits for the
// event loop to take it. So nothing may wait for that image on JavaScript's thread meanwhile: give a long operation a handle of its own,
// without an ImageReader.
import koffi from 'koffi';
import { errno } from './errors.ts';
import { addressOf } from './library.ts';

/** `done` of `total`: objects for flatten, resize and rollback, bytes for copies. Not always in order. Throwing is an uncaught exception. */
export type OnProgress = (done: number, total: number) => void;

export interface ProgressOptions {
  readonly onProgress?: OnProgress | undefined;
  /** Asks librbd to stop at the next step. */
  readonly signal?: AbortSignal | undefined;
}

const callback = koffi.proto('int (uint64_t offset, uint64_t total, void *ptr)');

/** Gives `work` a librbd_progress_fn_t that lives until it ends. */
export async function withProgress<T>(
  { onProgress, signal }: ProgressOptions,
  work: (progress: bigint) => Promise<T>,
): Promise<T> {
  if (!onProgress && !signal) return await work(noProgress());
  const pointer = koffi.register((done: number | bigint, total: number | bigint) => {
    if (onProgress) setImmediate(onProgress, Number(done), Number(total));
    return signal?.aborted ? -errno.ECANCELED : 0;
  }, koffi.pointer(callback));
  try {
    return await work(pointer);
  } finally {
    koffi.unregister(pointer);
  }
}

/**
 * librbd calls its progress callback without asking whether there is one, from threads of its own. sched_yield takes nothing, answers 0 and
 * costs no trip through the event loop.
 */
export function noProgress(): bigint {
  return addressOf('libc', 'sched_yield');
}
