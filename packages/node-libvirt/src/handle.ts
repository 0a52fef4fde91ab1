// A C handle that may not be freed while a call uses it: libvirt's public calls take no reference of their own.

import assert from 'node:assert/strict';
import { free, type Pointer, pointersAt } from './library.ts';

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

/** Handles that are freed together. */
export class HandleList<T extends AsyncDisposable> implements AsyncDisposable {
  readonly items: readonly T[];

  constructor(items: readonly T[]) {
    this.items = items;
  }

  [Symbol.iterator](): Iterator<T> {
    return this.items[Symbol.iterator]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.items.map((item) => item[Symbol.asyncDispose]()));
  }
}

/** The handles of a `virX…ListAll…` call, which is given where to put its array and answers their number. */
export async function listHandles<T>(
  call: (array: Uint8Array) => Promise<number>,
  make: (pointer: Pointer) => T,
): Promise<T[]> {
  const array = Buffer.alloc(8);
  const count = await call(array);
  const address = array.readBigUInt64LE();
  const pointers = pointersAt(address, count);
  free(address);
  return pointers.map(make);
}
