// The way to siphond: HTTP on its unix sockets, bounded in time and in size. Whoever may not open the socket for everything
// reads by way of the one for reading.

import type { IncomingMessage } from 'node:http';
import { userInfo } from 'node:os';
import { API_SOCKET, type JobLine, READ_SOCKET, USER_HEADER } from '../wire/api.ts';
import { fromWire, OperatingError, type WireError } from '../wire/errors.ts';

/** siphond answers a reading request from what it knows; a change, or a question to Ceph, may take longer. */
const READ_MS = 5000;
const ANSWER_MS = 60_000;
/** A watched job says at least `alive` every 2 s. */
const SILENCE_MS = 15_000;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

export interface Client {
  get<T>(path: string, query?: Query): Promise<T>;
  /** For what siphond may have to ask Ceph. A siphond that does not answer at all is found out as soon as by `get`. */
  getByCeph<T>(path: string, query: Query): Promise<T>;
  post<T>(path: string, body: object): Promise<T>;
  remove<T>(path: string): Promise<T>;
  /** The lines of a watched job, up to its last. */
  watch(path: string, body: object): AsyncGenerator<JobLine>;
  /** The same of a job that was begun already. */
  watchJob(id: string): AsyncGenerator<JobLine>;
}

type Query = Record<string, string | undefined>;

export interface Sockets {
  /** Of everything. */
  readonly all: string;
  /** For those who may not open it. */
  readonly read?: string;
}

export function createClient(sockets: Sockets = socketsFrom(process.env)): Client {
  const ask = async <T>(request: Omit<Request, 'body'> & { body?: object }): Promise<T> =>
    JSON.parse(await text(await send(sockets, { body: undefined, ...request }))) as T;
  const read = <T>(path: string) => ask<T>({ method: 'GET', path, silenceMs: READ_MS });
  return {
    get: (path, query = {}) => read(path + queryText(query)),
    async getByCeph(path, query) {
      await read('/v1/jobs?limit=1');
      return ask({ method: 'GET', path: path + queryText(query), silenceMs: ANSWER_MS });
    },
    post: (path, body) => ask({ method: 'POST', path, body, silenceMs: ANSWER_MS }),
    remove: (path) => ask({ method: 'DELETE', path, silenceMs: ANSWER_MS }),
    async *watch(path, body) {
      const answer = await send(sockets, { method: 'POST', path, body, silenceMs: SILENCE_MS });
      yield* lines(answer);
    },
    async *watchJob(id) {
      const path = `/v1/jobs/${encodeURIComponent(id)}/watch`;
      yield* lines(
        await send(sockets, { method: 'GET', path, body: undefined, silenceMs: SILENCE_MS }),
      );
    },
  };
}

function queryText(query: Query): string {
  const given = Object.entries(query).filter(
    (pair): pair is [string, string] => pair[1] !== undefined,
  );
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`;
}

/** The one that the environment names, or siphon's own two. */
function socketsFrom(env: NodeJS.ProcessEnv): Sockets {
  const named = env['SIPHON_SOCKET'];
  return named === undefined ? { all: API_SOCKET, read: READ_SOCKET } : { all: named };
}

interface Request {
  readonly method: string;
  readonly path: string;
  readonly body: object | undefined;
  readonly silenceMs: number;
}

/** Sends one request; gives the answer's head and its body as a stream. Rejects with siphond's own error. */
async function send({ all, read }: Sockets, request: Request): Promise<IncomingMessage> {
  const answer = await sendTo(all, request).catch((cause: NodeJS.ErrnoException) => {
    const mayRead = request.method === 'GET' && read !== undefined;
    if (!isDenied(cause)) throw unreachable(all, cause);
    if (!mayRead) throw denied(all, cause, CHANGE_HINT);
    return sendTo(read, request).catch((readCause: NodeJS.ErrnoException) => {
      throw isDenied(readCause) ? denied(read, readCause, READ_HINT) : unreachable(read, readCause);
    });
  });
  const status = answer.statusCode ?? 500;
  if (status >= 200 && status < 300) return answer;
  throw errorOf(await text(answer), status, request.path);
}

async function sendTo(
  socketPath: string,
  { method, path, body, silenceMs }: Request,
): Promise<IncomingMessage> {
  // Loaded when it is needed: it takes longer than all the rest of this program.
  const { default: http } = await import('node:http');
  return await new Promise((resolve, reject) => {
    const headers = {
      ...(body && { 'content-type': 'application/json' }),
      accept: '*/*',
      [USER_HEADER]: userName(),
    };
    const request = http.request({ socketPath, method, path, headers, agent: false }, resolve);
    request.setTimeout(silenceMs, () => request.destroy(new Silence(silenceMs)));
    request.on('error', reject);
    request.end(body && JSON.stringify(body));
  });
}

/** For siphond's audit, which tells it as a claim: behind sudo, who called it. */
function userName(): string {
  const { SUDO_USER } = process.env;
  if (SUDO_USER !== undefined && SUDO_USER !== '') return SUDO_USER;
  try {
    return userInfo().username;
  } catch {
    return `uid-${process.getuid?.() ?? 'unknown'}`; // a user without a name, as in a container
  }
}

function errorOf(body: string, status: number, path: string): OperatingError {
  try {
    return fromWire((JSON.parse(body) as { error: WireError }).error);
  } catch (cause) {
    return new OperatingError({
      code: 'unavailable',
      op: 'ask siphond',
      subject: path,
      why: `status ${status}`,
      cause,
    });
  }
}

async function text(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of wholeAnswer(answer)) {
    sizeBytes += chunk.length;
    if (sizeBytes > ANSWER_BYTES_MAX) {
      throw new OperatingError({
        code: 'exhausted',
        op: 'read answer',
        subject: 'siphond',
        why: 'over 64 MiB',
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** @throws OperatingError where siphond stops in the middle of it */
async function* wholeAnswer(answer: IncomingMessage): AsyncGenerator<Buffer> {
  try {
    yield* answer as AsyncIterable<Buffer>;
  } catch (cause) {
    const fields = { code: 'unavailable', op: 'read answer', subject: 'siphond' } as const;
    throw new OperatingError({ ...fields, cause });
  }
}

async function* lines(answer: IncomingMessage): AsyncGenerator<JobLine> {
  let rest = '';
  try {
    for await (const chunk of answer.setEncoding('utf8') as AsyncIterable<string>) {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) if (line !== '') yield JSON.parse(line) as JobLine;
    }
  } catch (cause) {
    throw new OperatingError({
      code: 'unavailable',
      op: 'follow job',
      subject: 'siphond',
      cause,
      hint: 'The job goes on, or is taken up again when siphond starts: see siphon jobs.',
    });
  }
}

const CHANGE_HINT = 'This needs root, or the group siphon-admin; siphon-read may only read.';
const READ_HINT = 'Run siphon as root, or as a member of the group siphon-admin or siphon-read.';

const DOWN_HINT = 'Is it running? systemctl start siphond; siphon doctor finds what keeps it.';
const SILENT_HINT = 'It hangs, or has much to do. If it stays so: systemctl restart siphond.';

class Silence extends Error {
  constructor(silenceMs: number) {
    super(`siphond said nothing for ${silenceMs / 1000} s`);
  }
}

function isDenied({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EACCES' || code === 'EPERM';
}

function denied(socketPath: string, cause: Error, hint: string): OperatingError {
  const fields = { code: 'denied', op: 'reach siphond', subject: socketPath } as const;
  return new OperatingError({ ...fields, cause, hint });
}

function unreachable(socketPath: string, cause: Error): OperatingError {
  const fields = { code: 'unavailable', op: 'reach siphond', subject: socketPath } as const;
  const hint = cause instanceof Silence ? SILENT_HINT : DOWN_HINT;
  return new OperatingError({ ...fields, cause, hint });
}
