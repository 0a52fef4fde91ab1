// The two servers, listening: the API for operators and the hook's own, which no slow request of an operator can fill.

import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { Config } from '../config/load.ts';
import { listenAt, type SocketPlace } from '../sockets.ts';
import { createApp } from './app.ts';
import { addBaseRoutes } from './routes-bases.ts';
import { addHookRoute, HOOK_BODY_BYTES_MAX } from './routes-hook.ts';
import { addJobRoutes } from './routes-jobs.ts';
import { addSnapshotRoutes } from './routes-snapshots.ts';
import type { Services } from './services.ts';

/** Of these in flight, one more is told to come again: a bound on memory, not on anybody's work. */
const CONNECTIONS_MAX = 1024;
/** How long answers may end after the last connection was accepted. */
const CLOSE_MS_MAX = 1000;

export interface ServerParts {
  readonly config: Config['api'];
  readonly services: Services;
  readonly log: Logger;
  readonly given: ReadonlyMap<string, number>;
  readonly onDefect: (error: unknown) => void;
}

/** Listens on both sockets; dispose stops accepting, ends the hook's answers (allow) and the watches, and closes. */
export async function startServers(parts: ServerParts): Promise<AsyncDisposable> {
  const { config, services, log, given, onDefect } = parts;
  const stopping = new AbortController();
  await using undo = new AsyncDisposableStack();
  const open = async (app: FastifyInstance, place: SocketPlace) => {
    app.server.maxConnections = CONNECTIONS_MAX;
    await app.ready();
    await listenAt(app.server, place, given);
    undo.defer(() => close(app));
    log.info({ socket: place.path, isGiven: given.has(place.name) }, 'listening');
  };
  const api = createApp({ log, onDefect });
  api.get('/v1/status', () => services.status());
  addBaseRoutes(api, services);
  addSnapshotRoutes(api, services);
  addJobRoutes(api, services);
  const hook = createApp({ log, bodyBytesMax: HOOK_BODY_BYTES_MAX, onDefect });
  addHookRoute(hook, { hook: services.hook, log, stopping: stopping.signal });
  await open(hook, { name: 'siphon-hook.socket', path: config.hookSocket, mode: 0o600 });
  await open(api, { name: 'siphon.socket', path: config.socket, mode: 0o660 });
  undo.defer(() => stopping.abort());
  return undo.move();
}

async function close(app: FastifyInstance): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  app.server.close(() => resolve());
  app.server.closeIdleConnections();
  const late = setTimeout(() => app.server.closeAllConnections(), CLOSE_MS_MAX);
  await promise;
  clearTimeout(late);
  await app.close();
}
