// Lifecycle events of domains. libvirt sends them in order; none is sent for what happened while no connection watched.

import { bind } from './call.ts';
import { lifecycleCallback, lifecycleListeners } from './callbacks.ts';
import type { Connection } from './connection.ts';

const virConnectDomainEventRegisterAny = bind(
  `int virConnectDomainEventRegisterAny(virConnectPtr conn, virDomainPtr dom, int eventID,
     virConnectDomainEventGenericCallback cb, void *opaque, virFreeCallback freecb)`,
);
const virConnectDomainEventDeregisterAny = bind(
  'int virConnectDomainEventDeregisterAny(virConnectPtr conn, int callbackID)',
);

const VIR_DOMAIN_EVENT_ID_LIFECYCLE = 0;

/** virDomainEventType, in its order. */
export const LIFECYCLE_EVENTS = [
  'defined',
  'undefined',
  'started',
  'suspended',
  'resumed',
  'stopped',
  'shutdown',
  'pmsuspended',
  'crashed',
] as const;

/** virDomainEventStoppedDetailType, in its order: why a domain stopped. */
export const STOPPED_DETAILS = [
  'shutdown',
  'destroyed',
  'crashed',
  'migrated',
  'saved',
  'failed',
  'from snapshot',
] as const;

export interface LifecycleEvent {
  readonly uuid: string;
  readonly name: string;
  /** `unknown`: newer than this binding. */
  readonly event: (typeof LIFECYCLE_EVENTS)[number] | 'unknown';
  /** virDomainEvent…DetailType of that event; of `stopped` an index into {@link STOPPED_DETAILS}. */
  readonly detail: number;
}

type Listener = (event: LifecycleEvent) => void;

/** libvirt refuses a second registration of the same C function on a connection: one serves all of its watchers. */
const watchers = new WeakMap<Connection, Promise<Set<Listener>>>();

/**
 * Tells `listener` each change of any domain, until the result, or the connection, is disposed of. A listener that throws is an
 * uncaught exception. Watch `connection.closed` too: after it nothing comes, and what came meanwhile is to be looked up.
 *
 * Implements: virConnectDomainEventRegisterAny, virConnectDomainEventDeregisterAny.
 */
export async function watchLifecycle(
  connection: Connection,
  listener: Listener,
): Promise<Disposable> {
  const registered = watchers.get(connection) ?? register(connection);
  watchers.set(connection, registered);
  let listeners: Set<Listener>;
  try {
    listeners = await registered;
  } catch (error) {
    watchers.delete(connection);
    throw error;
  }
  const own: Listener = (event) => listener(event);
  listeners.add(own);
  return {
    [Symbol.dispose]() {
      listeners.delete(own);
    },
  };
}

async function register(connection: Connection): Promise<Set<Listener>> {
  const listeners = new Set<Listener>();
  const number = lifecycleListeners.add(({ event, ...rest }) => {
    const told = { ...rest, event: LIFECYCLE_EVENTS[event] ?? 'unknown' } as const;
    for (const listener of listeners) listener(told);
  });
  connection.onDispose(async () => lifecycleListeners.remove(number));
  const id = await connection.use((it) =>
    virConnectDomainEventRegisterAny(
      it,
      null,
      VIR_DOMAIN_EVENT_ID_LIFECYCLE,
      lifecycleCallback(),
      number,
      null,
    ),
  );
  connection.onDispose(() => connection.forget((it) => virConnectDomainEventDeregisterAny(it, id)));
  return listeners;
}
