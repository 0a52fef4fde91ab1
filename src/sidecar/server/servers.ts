// The three servers, listening: the API for operators, what of it only reads, and the hook's own, which no slow request of the
// others can fill. Who may do what is who may open which socket.

import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { createAudit } from '../audit.ts';
import type { Config } from '../config/load.ts';
import type { Counts } from '../metrics-port.ts';
import { listenAt, type SocketPlace } from '../sockets.ts';
import { createApp } from './app.ts';
import { type ChangeParts, changesOf } from './changes.ts';
import { addBaseChanges, addBaseReads } from './routes-bases.ts';
import { addHookRoute, HOOK_BODY_BYTES_MAX } from './routes-hook.ts';
import { addJobChanges, addJobReads } from './routes-jobs.ts';
import { addLeftoversChanges } from './routes-leftovers.ts';
import { addPolicyReads } from './routes-policies.ts';
import { addPublishChanges } from './routes-publish.ts';
import { addRestoreChanges, addRestoreReads } from './routes-restores.ts';
import { addSiphondChanges, addSiphondReads } from './routes-siphond.ts';
import { addSnapshotChanges, addSnapshotReads } from './routes-snapshots.ts';
import { addTransferChanges } from './routes-transfers.ts';
import { addTrustReads } from './routes-trust.ts';
import { addProofChanges } from './routes-verify.ts';
import type { Services } from './services.ts';

/** Of these in flight, one more is told to come again: a bound on memory, not on anybody's work. */
const CONNECTIONS_MAX = 1024;
/** How long answers may end after the last connection was accepted. */
const CLOSE_MS_MAX = 1000;

export interface ServerParts {
  readonly config: Config['api'];
  readonly services: Services;
  readonly counts: Pick<Counts, 'hookAnswered'>;
  readonly log: Logger;
  readonly given: ReadonlyMap<string, number>;
  readonly onDefect: (error: unknown) => void;
}

/** Listens on all sockets; dispose stops accepting, ends the hook's answers (allow) and the watches, and closes. */
export async function startServers(parts: ServerParts): Promise<AsyncDisposable> {
  const { config, services, counts, log, given, onDefect } = parts;
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
  addReads(api, services);
  addChanges(api, changesOf(services, createAudit(log)));
  const reading = createApp({ log, isReadOnly: true, onDefect });
  addReads(reading, services);
  const hook = createApp({ log, bodyBytesMax: HOOK_BODY_BYTES_MAX, onDefect });
  addHookRoute(hook, { hook: services.hook, counts, log, stopping: stopping.signal });
  await open(hook, { name: 'siphon-hook.socket', path: config.hookSocket, mode: 0o600 });
  await open(api, { name: 'siphon.socket', path: config.socket, mode: 0o660 });
  const place = { name: 'siphon-read.socket', path: config.readSocket, mode: 0o660 } as const;
  // Where systemd gives the others, its folder is not siphond's to make one in: a host may do without.
  if (given.size === 0 || given.has(place.name)) await open(reading, place);
  else log.warn({ socket: place.path }, 'not served: systemd gave no socket for it');
  undo.defer(() => stopping.abort());
  return undo.move();
}

function addReads(app: FastifyInstance, services: Services): void {
  addSiphondReads(app, services);
  addBaseReads(app, services);
  addSnapshotReads(app, services);
  addRestoreReads(app, services);
  addTrustReads(app, services);
  addPolicyReads(app, services);
  addJobReads(app, services);
}

function addChanges(app: FastifyInstance, parts: ChangeParts): void {
  addSiphondChanges(app, parts);
  addBaseChanges(app, parts);
  addSnapshotChanges(app, parts);
  addRestoreChanges(app, parts);
  addProofChanges(app, parts);
  addTransferChanges(app, parts);
  addPublishChanges(app, parts);
  addLeftoversChanges(app, parts);
  addJobChanges(app, parts);
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
