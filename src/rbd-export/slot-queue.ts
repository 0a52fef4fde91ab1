// Who may have a slot, and when.

/** Hands out slots: to one caller at a time, in the order of asking, and never more than `limit` at once. */
export class SlotQueue {
  readonly #free: number[];
  readonly #count: number;
  #limit: number;
  #waiting: { resolve: (slot: number) => void; reject: (why: unknown) => void } | undefined;
  #fault: { readonly why: unknown } | undefined;

  constructor(count: number, limit = count) {
    this.#free = Array.from({ length: count }, (_, i) => count - 1 - i);
    this.#count = count;
    this.#limit = Math.min(limit, count);
  }

  get limit(): number {
    return this.#limit;
  }

  setLimit(limit: number): void {
    this.#limit = Math.max(1, Math.min(limit, this.#count));
    this.#serve();
  }

  /** Rejects with what {@link interrupt} said. One caller may wait. */
  acquire(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#serve();
    });
  }

  release(slot: number): void {
    this.#free.push(slot);
    this.#serve();
  }

  /** Nobody gets a slot any more. */
  interrupt(why: unknown): void {
    this.#fault ??= { why };
    this.#serve();
  }

  #serve(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    if (this.#fault !== undefined) {
      this.#waiting = undefined;
      waiting.reject(this.#fault.why);
      return;
    }
    if (this.#count - this.#free.length >= this.#limit) return;
    const slot = this.#free.pop();
    if (slot === undefined) return;
    this.#waiting = undefined;
    waiting.resolve(slot);
  }
}
