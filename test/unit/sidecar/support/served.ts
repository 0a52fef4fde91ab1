// A served siphond whose parts are stand-ins, on unix sockets of its own, and a client for it.

import type { IncomingMessage } from 'node:http';
import { request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createJournal, type JobJournal } from '../../../../src/sidecar/journal.ts';
import { createMetrics } from '../../../../src/sidecar/metrics.ts';
import { startServers } from '../../../../src/sidecar/server/servers.ts';
import type { Services } from '../../../../src/sidecar/server/services.ts';
import type { JobRecord } from '../../../../src/wire/journal.ts';
import { keptLog, temporaryFolder } from './quiet.ts';

export interface Asked {
  readonly method?: string;
  readonly body?: string | object;
  readonly socket?: 'api' | 'read' | 'hook';
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export async function serveFakes(fakes: (journal: JobJournal) => Partial<Services>) {
  const folder = await temporaryFolder();
  const { log, lines } = keptLog();
  const journal = createJournal({ rows: rowsInMemory(), log });
  const sockets = {
    socket: join(folder.path, 'api.sock'),
    readSocket: join(folder.path, 'read.sock'),
    hookSocket: join(folder.path, 'hook.sock'),
  };
  const pathOf = { api: sockets.socket, read: sockets.readSocket, hook: sockets.hookSocket };
  const defects: unknown[] = [];
  const metrics = createMetrics();
  const services = { jobs: journal, ...fakes(journal) } as Services;
  const { counts } = metrics;
  const parts = { config: sockets, services, counts, log, given: new Map<string, number>() };
  const servers = await startServers({ ...parts, onDefect: (error) => defects.push(error) });
  const send = (path: string, asked: Asked = {}) =>
    sendTo(pathOf[asked.socket ?? 'api'], path, asked);
  return {
    journal,
    metrics,
    defects,
    sockets,
    logged: lines,
    send,
    async json(path: string, asked?: Asked) {
      const answer = await send(path, asked);
      return { status: answer.statusCode, body: JSON.parse(await text(answer)) as unknown };
    },
    async lines(path: string, asked?: Asked) {
      const whole = await text(await send(path, asked));
      return whole
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as { kind: string });
    },
    stop: () => servers[Symbol.asyncDispose](),
    async [Symbol.asyncDispose]() {
      await servers[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function sendTo(
  socketPath: string,
  path: string,
  { method, body, signal, headers = {} }: Asked,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const sent = typeof body === 'object' ? JSON.stringify(body) : body;
  const type = typeof body === 'object' ? 'application/json' : 'application/xml';
  const outgoing = request({
    socketPath,
    path,
    agent: false,
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: body === undefined ? headers : { 'content-type': type, ...headers },
    ...(signal === undefined ? {} : { signal }),
  });
  outgoing.once('response', resolve);
  outgoing.once('error', reject);
  outgoing.end(sent);
  return promise;
}

export function rowsInMemory() {
  const rows = new Map<string, JobRecord>();
  return {
    put: (record: JobRecord) => void rows.set(record.id, record),
    get: (id: string) => rows.get(id),
    open: () => [...rows.values()].filter((record) => record.state === 'open'),
    list: (limit: number) => [...rows.values()].toReversed().slice(0, limit),
  };
}
