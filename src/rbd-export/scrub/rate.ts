// How fast a disk is read: pieces begin no sooner than the rate lets them, and what was not used is not saved up.

import { setTimeout as delay } from 'node:timers/promises';

export interface RateClock {
  readonly nowMs: () => number;
  readonly wait: (ms: number, signal: AbortSignal | undefined) => Promise<unknown>;
}

const CLOCK: RateClock = {
  nowMs: () => performance.now(),
  wait: (ms, signal) => delay(ms, undefined, signal === undefined ? {} : { signal }),
};

export class RateBound {
  readonly #bytesPerMs: number;
  readonly #clock: RateClock;
  #freeAtMs = 0;

  /** `rateBytes`: a second; 0: no bound. */
  constructor(rateBytes: number, clock: RateClock = CLOCK) {
    this.#bytesPerMs = rateBytes / 1000;
    this.#clock = clock;
  }

  /** Resolves when a piece of so many bytes may begin. One caller at a time. */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    if (this.#bytesPerMs === 0) return;
    const now = this.#clock.nowMs();
    const beginsAtMs = Math.max(this.#freeAtMs, now);
    this.#freeAtMs = beginsAtMs + bytes / this.#bytesPerMs;
    if (beginsAtMs > now) await this.#clock.wait(beginsAtMs - now, signal);
  }
}
