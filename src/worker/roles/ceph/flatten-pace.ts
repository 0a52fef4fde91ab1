// A flatten at a rate. librbd has no option for that, but a flatten can be stopped at any object, and goes on with what is left: so it runs
// at full speed for a moment, then rests.

import { setTimeout as delay } from 'node:timers/promises';
import { errno, flattenImage, type Image, isErrno } from 'ceph-napi';
import { readExtents } from '../../../rbd-export/extents.ts';
import { without } from '../../../rbd-export/windows.ts';

/** How far ahead of the rate a turn may come: shorter ones would mostly start and stop. */
const TURN_MS = 1000;

export interface PacedFlatten {
  /** Bytes a second of what is copied; absent: as fast as it goes. */
  readonly rateBytes: number | undefined;
  readonly signal: AbortSignal;
  /** Of objects. */
  readonly onProgress: (done: number, total: number) => void;
}

/** `image`: a handle of its own. @throws CephError ECANCELED after `signal`, and librbd's others */
export async function flattenPaced(
  image: Image,
  { rateBytes, signal, onProgress: tell }: PacedFlatten,
): Promise<void> {
  if (rateBytes === undefined) return await flattenImage(image, { onProgress: tell, signal });
  const { objectSizeBytes, sizeBytes } = await image.stat();
  const shown = await readExtents(image, sizeBytes, signal);
  const pace = new FlattenPace(
    rateBytes,
    shown,
    await readExtents(image, sizeBytes, signal, { includeParent: false }),
  );
  const startedAtMs = performance.now();
  for (;;) {
    const turn = new AbortController();
    const aheadMs = () => pace.dueMs - (performance.now() - startedAtMs);
    const onProgress = (done: number, total: number) => {
      tell(done, total);
      pace.reached(done * objectSizeBytes);
      if (aheadMs() > TURN_MS) turn.abort();
    };
    try {
      const until = AbortSignal.any([signal, turn.signal]);
      return await flattenImage(image, { onProgress, signal: until });
    } catch (error) {
      const isRest = turn.signal.aborted && !signal.aborted && isErrno(error, errno.ECANCELED);
      if (!isRest) throw error;
    }
    await delay(Math.max(0, aheadMs()), undefined, { signal });
  }
}

/** When how much may have been copied: of what the image shows that which is not its own yet. Pure. */
export class FlattenPace {
  readonly #bytesPerMs: number;
  /** [offset, end, bytes to be copied before it], in order. */
  readonly #pieces: (readonly [offset: number, end: number, before: number])[] = [];
  #at = 0;
  #copiedBytes = 0;

  constructor(
    rateBytes: number,
    shown: Iterable<readonly [number, number]>,
    own: Iterable<readonly [number, number]>,
  ) {
    this.#bytesPerMs = rateBytes / 1000;
    let before = 0;
    for (const [offset, end] of without(shown, own)) {
      this.#pieces.push([offset, end, before]);
      before += end - offset;
    }
  }

  /** From its start on, in ms. */
  get dueMs(): number {
    return this.#copiedBytes / this.#bytesPerMs;
  }

  /** All before `offset` is done; a later turn begins from the start again, and passes over it. */
  reached(offset: number): void {
    for (; ; this.#at += 1) {
      const piece = this.#pieces[this.#at];
      if (piece === undefined || piece[0] >= offset) return;
      const [start, end, before] = piece;
      this.#copiedBytes = Math.max(this.#copiedBytes, before + Math.min(end, offset) - start);
      if (end > offset) return;
    }
  }
}
