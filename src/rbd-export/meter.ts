// How far an export is, and how long it will still take: told at a steady beat, whatever moves or stands still.

import type { FillProgress } from '../wire/worker-protocol.ts';

const TELL_EVERY_MS = 200;
/** The rate is that of the last seconds: data and holes pass at rates of their own. */
const WINDOW_MS = 5000;
/** Before that a rate says nothing. */
const WINDOW_MS_MIN = 500;

export interface Metered {
  readonly totalBytes: number;
  readonly allocatedBytes: number;
  /** How much of the holes is digested now. */
  readonly zeroBytes: () => number;
}

export interface Meter extends Disposable {
  /** So much of what is allocated is read, written and digested. */
  readonly read: (bytes: number) => void;
  readonly tell: () => void;
}

/** Tells at once, then five times a second until it is disposed. */
export function startMeter(
  { totalBytes, allocatedBytes, zeroBytes }: Metered,
  onProgress: (progress: FillProgress) => void = () => {},
): Meter {
  let readBytes = 0;
  const rate = new RecentRate();
  const tell = () => {
    const doneBytes = readBytes + zeroBytes();
    const bytesPerMs = rate.learn(performance.now(), doneBytes);
    const remaining =
      bytesPerMs > 0 ? { remainingMs: Math.ceil((totalBytes - doneBytes) / bytesPerMs) } : {};
    onProgress({ doneBytes, totalBytes, readBytes, allocatedBytes, ...remaining });
  };
  const timer = setInterval(tell, TELL_EVERY_MS);
  tell();
  return {
    read: (bytes) => {
      readBytes += bytes;
    },
    tell,
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

/** Bytes per ms over the last {@link WINDOW_MS}; 0 while that is not known. */
export class RecentRate {
  readonly #samples: { readonly atMs: number; readonly bytes: number }[] = [];

  learn(atMs: number, bytes: number): number {
    this.#samples.push({ atMs, bytes });
    while ((this.#samples[1]?.atMs ?? atMs) <= atMs - WINDOW_MS) this.#samples.shift();
    const [oldest = { atMs, bytes }] = this.#samples;
    const elapsedMs = atMs - oldest.atMs;
    return elapsedMs < WINDOW_MS_MIN ? 0 : (bytes - oldest.bytes) / elapsedMs;
  }
}
