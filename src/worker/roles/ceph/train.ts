// Ticks: snapshot ids that are made and removed again, one after another. Each is one change of the map of the OSDs, so it comes back
// with a commit of the monitors. Nothing is left: what is made is removed by the next tick, asked for or not.

import { aioCreateSnapId, aioRemoveSnapId, type Pool } from 'ceph-napi';

/** A tick that is sent so soon after another came back was sent just after a commit. */
const JUST_AFTER_MS = 30;

export interface Tick {
  readonly sentAtMs: number;
  readonly isAfterCommit: boolean;
  /** When it came back; rejects with what the call threw. */
  readonly back: Promise<number>;
}

export class Train {
  readonly #pool: Pool;
  readonly #onTook: (tookMs: number) => void;
  readonly #ended = Promise.withResolvers<void>();
  #tick: Tick | undefined;
  #backAtMs = Number.NEGATIVE_INFINITY;
  #spare: number | undefined;
  #passengers = 0;
  #isEnded = false;

  /** `onTook` hears of each tick that was sent just after a commit. */
  constructor(pool: Pool, onTook: (tookMs: number) => void) {
    this.#pool = pool;
    this.#onTook = onTook;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** When the last tick came back. */
  get backAtMs(): number {
    return this.#backAtMs;
  }

  /** Settles when the pool is not needed any more. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** The train goes on at least until it is disposed. */
  board(): Disposable {
    this.#passengers++;
    return {
      [Symbol.dispose]: () => {
        this.#passengers--;
        this.#endIfUnused();
      },
    };
  }

  /** The tick that is under way; else one is sent. */
  tick(): Tick {
    this.#tick ??= this.#send();
    return this.#tick;
  }

  #send(): Tick {
    const sentAtMs = performance.now();
    const isAfterCommit = sentAtMs - this.#backAtMs < JUST_AFTER_MS;
    const back = this.#change().then(
      () => this.#onBack(isAfterCommit ? sentAtMs : undefined),
      (error: unknown) => {
        this.#end();
        throw error;
      },
    );
    back.catch(() => undefined); // whoever waits for it hears
    return { sentAtMs, isAfterCommit, back };
  }

  /** An id whose removal failed is left: it costs nothing, and to try again might never end. */
  async #change(): Promise<void> {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare === undefined) this.#spare = await aioCreateSnapId(this.#pool);
    else await aioRemoveSnapId(this.#pool, spare);
  }

  #onBack(measuredFromMs: number | undefined): number {
    this.#tick = undefined;
    this.#backAtMs = performance.now();
    if (measuredFromMs !== undefined) this.#onTook(this.#backAtMs - measuredFromMs);
    if (this.#spare !== undefined || this.#passengers > 0) this.tick();
    this.#endIfUnused();
    return this.#backAtMs;
  }

  #endIfUnused(): void {
    if (this.#passengers === 0 && this.#tick === undefined) this.#end();
  }

  #end(): void {
    this.#isEnded = true;
    this.#ended.resolve();
  }
}
