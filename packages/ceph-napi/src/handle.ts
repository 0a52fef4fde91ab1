// What every open thing of Ceph has: a pointer, calls that are running on it, and things opened from it. The one invariant: memory of
// C is freed once, after the last call on it and after all that was opened from it.
import assert from 'node:assert/strict';
import { check } from './errors.ts';
import type { CFunction, CValue } from './library.ts';

export abstract class Handle implements AsyncDisposable {
  readonly #kind: string;
  readonly #pointer: bigint;
  readonly #parent: Handle | null;
  readonly #children = new Set<Handle>();
  readonly #running = new Set<Promise<unknown>>();
  readonly #cleanups: (() => void)[] = [];
  #closing: Promise<void> | null = null;

  constructor(kind: string, pointer: bigint, parent: Handle | null) {
    this.#kind = kind;
    this.#pointer = pointer;
    this.#parent = parent;
    if (parent) parent.#children.add(this);
  }

  get closed(): boolean {
    return this.#closing !== null;
  }

  /** C's own handle. Using a closed one is a programmer's error. */
  get pointer(): bigint {
    assert(!this.#closing, `${this.#kind} is closed`);
    return this.#pointer;
  }

  /** Calls `f(this handle, ...values)` on a pool thread and checks what it answers. */
  async call(f: CFunction, ...values: CValue[]): Promise<number> {
    return check(await this.try(f, ...values), f.symbol);
  }

  /** The same, unchecked: for calls whose negative answers mean something. */
  try(f: CFunction, ...values: CValue[]): Promise<number> {
    return this.during((pointer) => f.later(pointer, ...values));
  }

  /** Runs `work`, and keeps the handle open until it ends. */
  async during<T>(work: (pointer: bigint) => Promise<T>): Promise<T> {
    const running = work(this.pointer);
    const settled: Promise<unknown> = running.then(
      () => this.#running.delete(settled),
      () => this.#running.delete(settled),
    );
    this.#running.add(settled);
    return await running;
  }

  /** Runs `cleanup` once C has let go of the handle: for what it may use until then. */
  defer(cleanup: () => void): void {
    assert(!this.#closing, `${this.#kind} is closed`);
    this.#cleanups.push(cleanup);
  }

  /** Waits for the calls that are running, closes what was opened from here, then this. Idempotent. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Gives the pointer back to C. */
  protected abstract release(pointer: bigint): Promise<void>;

  async #close(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
    try {
      const results = await Promise.allSettled([...this.#children].map((child) => child.close()));
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    } finally {
      await this.release(this.#pointer).finally(() => this.#leave());
    }
  }

  #leave(): void {
    if (this.#parent) this.#parent.#children.delete(this);
    for (const cleanup of this.#cleanups) cleanup();
  }
}
