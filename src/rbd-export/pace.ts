// How many reads are in flight: one at first, more while answers come quickly, fewer when they near the timeout. On a link so
// slow that all slots at once would outlast librados' timeout, a fill is then slow instead of failed.

const FIRST_READS = 1;
const QUICK = 1 / 8;
const SLOW = 1 / 4;

export class Pace {
  readonly #most: number;
  readonly #timeoutMs: number;
  #limit: number;

  constructor(most: number, timeoutMs: number) {
    this.#most = most;
    this.#timeoutMs = timeoutMs;
    this.#limit = Math.min(FIRST_READS, most);
  }

  get limit(): number {
    return this.#limit;
  }

  /** A read took so long: how many there may be now. */
  learn(tookMs: number): number {
    if (tookMs > this.#timeoutMs * SLOW) this.#limit = Math.max(1, Math.floor(this.#limit / 2));
    else if (tookMs < this.#timeoutMs * QUICK) this.#limit = Math.min(this.#most, this.#limit + 1);
    return this.#limit;
  }
}
