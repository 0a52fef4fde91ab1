// Functions that C may call at any time, from threads of its own: one for each purpose and the whole life of the process, so that none is
// freed while C may still call it. `arg` carries a listener's number and not memory; a number that is gone is a late call, ignored.
//
// koffi hands such a call to the event loop, and C's thread waits until it was taken. So these only read their arguments, and listeners run
// in a turn of their own. Nothing here waits for C on JavaScript's thread, hence no deadlock. koffi's own hook into the event loop does not
// keep the process alive: whoever waits for a call says so with `keepAlive`.
import koffi from 'koffi';
import { check } from './errors.ts';
import type { Handle } from './handle.ts';
import { librados } from './library.ts';
import { word, words } from './memory.ts';

const createCompletion = librados(`int rados_aio_create_completion2(void *cb_arg,
  rados_callback_t cb_complete, rados_completion_t *pc)`);
const returnValue = librados('int rados_aio_get_return_value(rados_completion_t c)');
const release = librados('void rados_aio_release(rados_completion_t c)');

/** An argument of C's, as koffi gives it: null is NULL. */
export type CArgument = number | bigint | null;
type Read<T> = (values: readonly CArgument[]) => readonly [number: CArgument | undefined, value: T];

/** Listeners by their numbers, and C's one function that calls them. */
export class Listeners<T> {
  readonly #prototype: string;
  readonly #read: Read<T>;
  readonly #listeners = new Map<bigint, (value: T) => void>();
  #last = 0n;
  #function: bigint | undefined;

  /** `read` takes what C called with, as koffi gives it, and picks out the number and what the listener is told. */
  constructor(prototype: string, read: Read<T>) {
    this.#prototype = prototype;
    this.#read = read;
  }

  /** To be given to C as the callback. */
  get function(): bigint {
    return (this.#function ??= koffi.register(
      (...values: CArgument[]) => {
        const [number, value] = this.#read(values);
        const listener = this.#listeners.get(BigInt(number ?? 0));
        if (listener) setImmediate(listener, value);
      },
      koffi.pointer(koffi.proto(this.#prototype)),
    ));
  }

  /** The number to be given to C as `arg`. */
  add(listener: (value: T) => void): bigint {
    this.#last += 1n;
    this.set(this.#last, listener);
    return this.#last;
  }

  /** Another listener by the number of one of another kind: where C takes two callbacks and one `arg`. */
  set(number: bigint, listener: (value: T) => void): void {
    this.#listeners.set(number, listener);
  }

  remove(number: bigint): void {
    this.#listeners.delete(number);
  }
}

let holders = 0;
let timer: NodeJS.Timeout | undefined;

/** Keeps the process alive until the result is called: a timer that is never due, since nothing else of koffi does. */
export function keepAlive(): () => void {
  const longest = 2 ** 31 - 1;
  holders += 1;
  timer ??= setInterval(() => undefined, longest);
  return () => {
    holders -= 1;
    if (holders > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

const completions = new Listeners<undefined>('void (void *completion, void *arg)', ([, number]) => [
  number,
  undefined,
]);

/**
 * Starts an asynchronous call of librados on `handle`, and gives what it answered, unchecked. No thread waits for it.
 * Implements: rados_aio_create_completion2, rados_aio_get_return_value, rados_aio_release
 */
export function completed(
  handle: Handle,
  start: (pointer: bigint, completion: bigint) => void,
): Promise<number> {
  return handle.during(async (pointer) => {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const number = completions.add(resolve);
    const done = keepAlive();
    const out = words();
    try {
      check(createCompletion.call(number, completions.function, out), createCompletion.symbol);
      start(pointer, word(out));
      await promise;
      return returnValue.call(word(out));
    } finally {
      completions.remove(number);
      if (word(out) !== 0n) release.call(word(out));
      done();
    }
  });
}
