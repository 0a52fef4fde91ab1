// A C handle that may not be freed while a call uses it: libvirt's public calls take no reference of their own.

import assert from 'node:assert/strict';
import type { Pointer } from './library.ts';

export class Handle {
  readonly #what: string;
  #pointer: Pointer | null;
  #calls = 0;
  #idle: PromiseWithResolvers<void> | undefined;
  #freed: Promise<void> | undefined;

  constructor(what: string, pointer: Pointer) {
    this.#what = what;
    this.#pointer = pointer;
  }

  /** Runs a call on the handle. Asserts that it was not disposed of. */
  async use<T>(call: (pointer: Pointer) => Promise<T>): Promise<T> {
    assert(this.#pointer !== null, `the ${this.#what} was disposed of`);
    this.#calls++;
    try {
      return await call(this.#pointer);
    } finally {
      if (--this.#calls === 0) this.#idle?.resolve();
    }
  }

  /** Takes no more calls, waits for those that run (for ever, if libvirtd never answers one), then releases. Once. */
  free(release: (pointer: Pointer) => Promise<unknown>): Promise<void> {
    return (this.#freed ??= this.#free(release));
  }

  async #free(release: (pointer: Pointer) => Promise<unknown>): Promise<void> {
    const pointer = this.#pointer;
    assert(pointer !== null);
    this.#pointer = null;
    if (this.#calls > 0) {
      this.#idle = Promise.withResolvers();
      await this.#idle.promise;
    }
    await release(pointer);
  }
}
