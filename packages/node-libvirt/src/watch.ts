// How any event of domains is watched. libvirt sends events in order; none is sent for what happened while nobody watched.

import { bind } from './call.ts';
import { Callback } from './callbacks.ts';
import type { Connection } from './connection.ts';
import { type DomainIdentity, identityOf } from './domain.ts';
import type { Pointer } from './library.ts';

const virConnectDomainEventRegisterAny = bind(
  `int virConnectDomainEventRegisterAny(virConnectPtr conn, virDomainPtr dom, int eventID,
     virConnectDomainEventGenericCallback cb, void *opaque, virFreeCallback freecb)`,
);
const virConnectDomainEventDeregisterAny = bind(
  'int virConnectDomainEventDeregisterAny(virConnectPtr conn, int callbackID)',
);

/** A C function that libvirt calls with (conn, dom, …, opaque): `read` is given what stands in between. */
export function domainCallback<T>(
  typedef: string,
  read: (...args: never[]) => T,
): Callback<DomainIdentity & T> {
  return new Callback(typedef, ([, domain, ...rest]) => ({
    ...identityOf(domain as Pointer),
    ...read(...(rest as never[])),
  }));
}

/** A kind of event: virDomainEventID, and the C function for it. */
export interface EventKind<T> {
  readonly id: number;
  readonly callback: Callback<T>;
}

type Listeners<T> = Set<(event: T) => void>;

/** libvirt refuses a second registration of the same kind on a connection: one serves all of its watchers. */
const watched = new WeakMap<Connection, Map<number, Promise<Listeners<never>>>>();

/**
 * Tells `listener` each event of that kind of any domain, until the result, or the connection, is disposed of. A listener that
 * throws is an uncaught exception. Watch `connection.closed` too: after it nothing comes, and what came meanwhile is to be
 * looked up.
 *
 * Implements: virConnectDomainEventRegisterAny, virConnectDomainEventDeregisterAny.
 * @throws LibvirtError NO_SUPPORT, INVALID_ARG: this libvirt has no such event
 */
export async function watch<T>(
  connection: Connection,
  kind: EventKind<T>,
  listener: (event: T) => void,
): Promise<Disposable> {
  const listeners = await listenersOf(connection, kind);
  const own = (event: T): void => listener(event);
  listeners.add(own);
  return {
    [Symbol.dispose]() {
      listeners.delete(own);
    },
  };
}

async function listenersOf<T>(connection: Connection, kind: EventKind<T>): Promise<Listeners<T>> {
  const kinds = watched.get(connection) ?? new Map<number, Promise<Listeners<never>>>();
  watched.set(connection, kinds);
  const registered =
    (kinds.get(kind.id) as Promise<Listeners<T>> | undefined) ?? register(connection, kind);
  kinds.set(kind.id, registered);
  try {
    return await registered;
  } catch (error) {
    kinds.delete(kind.id);
    throw error;
  }
}

async function register<T>(
  connection: Connection,
  { id, callback }: EventKind<T>,
): Promise<Listeners<T>> {
  const listeners: Listeners<T> = new Set();
  const number = callback.add((event) => {
    for (const listener of listeners) listener(event);
  });
  connection.onDispose(async () => callback.remove(number));
  const registration = await connection.use((it) =>
    virConnectDomainEventRegisterAny(it, null, id, callback.address(), number, null),
  );
  connection.onDispose(() =>
    connection.forget((it) => virConnectDomainEventDeregisterAny(it, registration)),
  );
  return listeners;
}

/** Several watches that end together. */
export async function watchAll(watches: readonly Promise<Disposable>[]): Promise<Disposable> {
  const stack = new DisposableStack();
  const settled = await Promise.allSettled(watches);
  for (const each of settled) if (each.status === 'fulfilled') stack.use(each.value);
  const failed = settled.find((each) => each.status === 'rejected');
  if (failed === undefined) return stack;
  stack.dispose();
  throw failed.reason;
}
