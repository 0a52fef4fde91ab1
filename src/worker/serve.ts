// The worker's side of the protocol: frozen until `init`, then calls, each with its own AbortController, until siphond is gone.

import type { Duplex } from 'node:stream';
import { OperatingError } from '../wire/errors.ts';
import type { FromWorker, ToWorker, WorkerRole } from '../wire/worker-protocol.ts';
import { type Channel, FrameError, openChannel } from './channel.ts';
import type { StartRole } from './role.ts';
import { translateError } from './translate-error.ts';

export interface ServeOptions {
  readonly stream: Duplex;
  readonly roles: Readonly<Record<WorkerRole, () => Promise<StartRole>>>;
  /** siphond is gone or wants an end, and all calls were aborted; `settled` settles when the last has returned, and the role has ended. */
  readonly onEnd: (settled: Promise<unknown>, cause?: Error) => void;
}

interface Served {
  readonly channel: Channel<FromWorker>;
  readonly calls: Map<number, { readonly abort: AbortController; readonly ended: Promise<void> }>;
  role?: ReturnType<StartRole>;
}

/** A defect in here throws out of an event and ends the process: the supervisor reports its last words. */
export function serve({ stream, roles, onEnd }: ServeOptions): void {
  const calls: Served['calls'] = new Map();
  const channel = openChannel<FromWorker>(stream, {
    message: (message) => void take(served, message as ToWorker, roles),
    closed: (cause) => {
      for (const call of calls.values()) call.abort.abort();
      const returned = Promise.all([...calls.values()].map((call) => call.ended));
      onEnd(
        returned.then(() => served.role?.end?.()),
        cause,
      );
    },
  });
  const served: Served = { channel, calls };
}

async function take(
  served: Served,
  message: ToWorker,
  roles: ServeOptions['roles'],
): Promise<void> {
  switch (message.kind) {
    case 'init':
      return init(served, message, roles);
    case 'call':
      return accept(served, message);
    case 'cancel':
      return served.calls.get(message.id)?.abort.abort();
    case 'ping':
      return served.channel.send({ kind: 'pong' });
  }
}

async function init(
  served: Served,
  { role, settings }: ToWorker & { kind: 'init' },
  roles: ServeOptions['roles'],
): Promise<void> {
  const { channel } = served;
  try {
    const start = await roles[role]();
    served.role = start(settings, (event) => channel.send({ kind: 'event', event }));
    channel.send({ kind: 'ready' });
  } catch (error) {
    const operating = translateError(error, { op: 'start worker', subject: role });
    channel.send({ kind: 'init-failed', error: operating.toWire() });
  }
}

function accept(served: Served, message: ToWorker & { kind: 'call' }): void {
  const abort = new AbortController();
  const ended = answer(served, message, abort.signal).finally(() =>
    served.calls.delete(message.id),
  );
  served.calls.set(message.id, { abort, ended });
}

async function answer(
  { channel, role }: Served,
  { id, method, params }: ToWorker & { kind: 'call' },
  signal: AbortSignal,
): Promise<void> {
  const { handlers = {} } = role ?? {};
  const handler = Object.hasOwn(handlers, method) ? handlers[method] : undefined;
  try {
    if (!handler) throw new TypeError(`no method ${method}, or no init before it`);
    const onProgress = (progress: unknown) => channel.send({ kind: 'progress', id, progress });
    const result = await handler(params as never, { signal, onProgress });
    channel.send({ kind: 'result', id, result });
  } catch (error) {
    channel.send({ kind: 'error', id, error: wireError(error, method).toWire() });
  }
}

function wireError(error: unknown, method: string): OperatingError {
  const step = { op: method, subject: 'worker' };
  if (!(error instanceof FrameError)) return translateError(error, step);
  return new OperatingError({ ...step, code: 'exhausted', cause: error });
}
