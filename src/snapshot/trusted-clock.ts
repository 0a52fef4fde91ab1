// What time it is for whatever goes by its age: the host's clock, but for a leap ahead that has not lasted yet. Pure.

/** A leap that lasts so long is no mistake. */
const LASTS_MS = 3_600_000;
/** No leap: between two looks a clock may be slewed, or set right by a little. */
const SLACK_MS = 60_000;

interface Reading {
  /** Of the host's clock. */
  readonly wallMs: number;
  /** Of one that counts what passes, and which nobody sets. */
  readonly monotonicMs: number;
}

export class TrustedClock {
  /** What the host's clock was ahead of the other one when it was last trusted. */
  #aheadMs: number;
  #leap: { readonly aheadMs: number; readonly sinceMs: number } | undefined;

  constructor({ wallMs, monotonicMs }: Reading) {
    this.#aheadMs = wallMs - monotonicMs;
  }

  /** A clock that falls back is believed at once: then nothing is older than it was. */
  at({ wallMs, monotonicMs }: Reading): number {
    const aheadMs = wallMs - monotonicMs;
    if (aheadMs <= this.#aheadMs + SLACK_MS || this.#lasts(aheadMs, monotonicMs)) {
      this.#aheadMs = aheadMs;
      this.#leap = undefined;
    }
    return this.#aheadMs + monotonicMs;
  }

  #lasts(aheadMs: number, monotonicMs: number): boolean {
    const isSame = Math.abs(aheadMs - (this.#leap?.aheadMs ?? 0)) <= SLACK_MS;
    if (this.#leap === undefined || !isSame) this.#leap = { aheadMs, sinceMs: monotonicMs };
    return monotonicMs - this.#leap.sinceMs >= LASTS_MS;
  }
}
