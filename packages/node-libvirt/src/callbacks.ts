// The C functions by which libvirt calls JavaScript: one of each for the whole life of the process, so that none is freed while
// libvirt may still call it. `opaque` carries a listener's number, not memory; a number that is gone is a late call, ignored.
//
// libvirt calls on the thread of the event loop, or on that of a call which finds the connection dead. koffi queues that to
// JavaScript's thread and lets the other wait; so these only read their arguments, and listeners run afterwards. Nothing in
// this binding waits for libvirt on JavaScript's thread, hence no deadlock.

import * as koffi from 'koffi';
import { libvirt, type Pointer } from './library.ts';

export interface DomainEvent {
  readonly uuid: string;
  readonly name: string;
  /** virDomainEventType. */
  readonly event: number;
  /** virDomainEvent…DetailType of that event. */
  readonly detail: number;
}

/** Listeners by their numbers. */
class Listeners<T> {
  readonly #listeners = new Map<bigint, (value: T) => void>();
  #last = 0n;

  add(listener: (value: T) => void): bigint {
    this.#listeners.set(++this.#last, listener);
    return this.#last;
  }

  remove(number: bigint): void {
    this.#listeners.delete(number);
  }

  /** In a turn of its own: a listener that throws is an uncaught exception, not something that C gets as 0. */
  tell(number: Pointer | null, value: T): void {
    const listener = this.#listeners.get(number ?? 0n);
    if (listener !== undefined) setImmediate(listener, value);
  }
}

export const closeListeners = new Listeners<number>();
export const lifecycleListeners = new Listeners<DomainEvent>();

let closeFunction: Pointer | undefined;
let lifecycleFunction: Pointer | undefined;

/** typedef void (*virConnectCloseFunc)(virConnectPtr conn, int reason, void *opaque); */
export function closeCallback(): Pointer {
  return (closeFunction ??= koffi.register(
    (_connection: Pointer, reason: number, number: Pointer | null) =>
      closeListeners.tell(number, reason),
    koffi.pointer(koffi.proto('void (void *conn, int reason, void *opaque)')),
  ));
}

/** typedef int (*virConnectDomainEventCallback)(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *opaque); */
export function lifecycleCallback(): Pointer {
  return (lifecycleFunction ??= koffi.register(
    (
      _connection: Pointer,
      domain: Pointer,
      event: number,
      detail: number,
      number: Pointer | null,
    ) => {
      lifecycleListeners.tell(number, { ...identityOf(domain), event, detail });
      return 0;
    },
    koffi.pointer(koffi.proto('int (void *conn, void *dom, int event, int detail, void *opaque)')),
  ));
}

const VIR_UUID_STRING_BUFLEN = 37;
let getName: ((domain: Pointer) => string) | undefined;
let getUuid: ((domain: Pointer, buffer: Uint8Array) => number) | undefined;

/** Name and UUID as the handle itself has them: no call to libvirtd, no lock. */
export function identityOf(domain: Pointer): { readonly uuid: string; readonly name: string } {
  getName ??= libvirt().func('const char *virDomainGetName(void *domain)') as typeof getName & {};
  getUuid ??= libvirt().func(
    'int virDomainGetUUIDString(void *domain, void *buf)',
  ) as typeof getUuid & {};
  const buffer = Buffer.alloc(VIR_UUID_STRING_BUFLEN);
  getUuid(domain, buffer);
  return { uuid: buffer.toString('latin1', 0, VIR_UUID_STRING_BUFLEN - 1), name: getName(domain) };
}
