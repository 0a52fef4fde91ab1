// One set in the making, as a start of the same domain sees it.

import type { SetEvent } from '../wire/vocabulary.ts';

/** Until its snapshots are held, a start may overtake it. */
export class Control {
  readonly kind: SetEvent;
  #isOvertaken = false;
  #isHeld = false;
  #isAsking = false;
  readonly #held = Promise.withResolvers<void>();

  constructor(kind: SetEvent) {
    this.kind = kind;
  }

  get isOvertaken(): boolean {
    return this.#isOvertaken;
  }

  /** Nothing that a start does can change what it holds, or it holds nothing. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  get isPending(): boolean {
    return !this.#isHeld && !this.#isOvertaken;
  }

  /** Settles when {@link isHeld}. */
  get held(): Promise<void> {
    return this.#held.promise;
  }

  /** Asks libvirt about the domain: what a start's hook must not wait for, since libvirtd waits for that hook. */
  async asking<T>(ask: () => Promise<T>): Promise<T> {
    this.#isAsking = true;
    try {
      return await ask();
    } finally {
      this.#isAsking = false;
    }
  }

  get isAsking(): boolean {
    return this.#isAsking;
  }

  hold(): void {
    this.#isHeld = true;
    this.#held.resolve();
  }

  overtake(): void {
    this.#isOvertaken = true;
  }
}
