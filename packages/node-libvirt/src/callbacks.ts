// The C functions by which libvirt calls JavaScript: one of each for the whole life of the process, so that none is freed while
// libvirt may still call it. `opaque` carries a listener's number, not memory; a number that is gone is a late call, ignored.
//
// libvirt calls on the thread of the event loop, or on that of a call which finds the connection dead. koffi queues that to
// JavaScript's thread and lets the other wait; so these only read their arguments, and listeners run afterwards. Nothing in
// this binding waits for libvirt on JavaScript's thread, hence no deadlock.

import assert from 'node:assert/strict';
import * as koffi from 'koffi';
import type { Pointer } from './library.ts';

/** An argument of a callback: an int, a text, NULL, or a handle that lives as long as the call. */
export type CallbackArgument = number | string | Pointer | null;

const typedefs: string[] = [];

/** The C declarations of all callbacks, to be compared with the headers. */
export function callbackTypes(): readonly string[] {
  return typedefs;
}

/** A C function of one type, with its listeners by their numbers. */
export class Callback<T> {
  readonly #listeners = new Map<bigint, (value: T) => void>();
  readonly #prototype: string;
  readonly #read: (args: readonly CallbackArgument[]) => T;
  #last = 0n;
  #address: Pointer | undefined;

  /** By the typedef, word for word as in the header; `read` is given all arguments but the last, which is `void *opaque`. */
  constructor(typedef: string, read: (args: readonly CallbackArgument[]) => T) {
    const flat = typedef.replaceAll(/\s+/g, ' ');
    const [, returns, parameters] = /^typedef (\w+) \(\*\w+\)\((.*)\);$/.exec(flat) ?? [];
    assert(returns !== undefined && parameters !== undefined, typedef);
    assert(parameters.endsWith('void *opaque'), typedef);
    typedefs.push(typedef);
    this.#prototype = `${returns} (${parameters.replaceAll(/\bvir\w+Ptr /g, 'void *')})`;
    this.#read = read;
  }

  /** Where the C function begins. */
  address(): Pointer {
    return (this.#address ??= koffi.register(
      (...args: CallbackArgument[]) => this.#tell(args),
      koffi.pointer(koffi.proto(this.#prototype)),
    ));
  }

  /** Gives the number that libvirt is to be given as `opaque`. */
  add(listener: (value: T) => void): bigint {
    this.#listeners.set(++this.#last, listener);
    return this.#last;
  }

  remove(number: bigint): void {
    this.#listeners.delete(number);
  }

  /** In a turn of its own: a listener that throws is an uncaught exception, not something that C gets as 0. */
  #tell(args: CallbackArgument[]): number {
    const number = args.pop() as Pointer | null;
    const listener = this.#listeners.get(number ?? 0n);
    if (listener !== undefined) setImmediate(listener, this.#read(args));
    return 0;
  }
}
