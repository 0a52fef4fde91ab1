// The way to siphond: HTTP on its unix socket, bounded in time and in size.

import http from 'node:http';
import { API_SOCKET, type JobLine } from '../wire/api.ts';
import { fromWire, OperatingError, type WireError } from '../wire/errors.ts';

/** A plain answer comes within this; a watched job says at least `alive` every 2 s. */
const ANSWER_MS = 60_000;
const SILENCE_MS = 15_000;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

export interface Client {
  get<T>(path: string, query?: Record<string, string | undefined>): Promise<T>;
  post<T>(path: string, body: object): Promise<T>;
  remove<T>(path: string): Promise<T>;
  /** The lines of a watched job, up to its last. */
  watch(path: string, body: object): AsyncGenerator<JobLine>;
}

export function createClient(
  socketPath: string = process.env['SIPHON_SOCKET'] ?? API_SOCKET,
): Client {
  const ask = async <T>(method: string, path: string, body?: object): Promise<T> =>
    JSON.parse(await text(await send(socketPath, method, path, body, ANSWER_MS))) as T;
  return {
    get: (path, query = {}) => ask('GET', path + queryText(query)),
    post: (path, body) => ask('POST', path, body),
    remove: (path) => ask('DELETE', path),
    async *watch(path, body) {
      const answer = await send(socketPath, 'POST', path, body, SILENCE_MS);
      yield* lines(answer);
    },
  };
}

function queryText(query: Record<string, string | undefined>): string {
  const given = Object.entries(query).filter(
    (pair): pair is [string, string] => pair[1] !== undefined,
  );
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`;
}

/** Sends one request; gives the answer's head and its body as a stream. Rejects with siphond's own error. */
async function send(
  socketPath: string,
  method: string,
  path: string,
  body: object | undefined,
  silenceMs: number,
): Promise<http.IncomingMessage> {
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const headers = { ...(body && { 'content-type': 'application/json' }), accept: '*/*' };
    const request = http.request({ socketPath, method, path, headers, agent: false }, resolve);
    request.setTimeout(silenceMs, () =>
      request.destroy(new Error(`siphond said nothing for ${silenceMs / 1000} s`)),
    );
    request.on('error', (cause) => reject(unreachable(socketPath, cause)));
    request.end(body && JSON.stringify(body));
  });
  const status = answer.statusCode ?? 500;
  if (status >= 200 && status < 300) return answer;
  throw errorOf(await text(answer), status, path);
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

async function text(answer: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
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

async function* lines(answer: http.IncomingMessage): AsyncGenerator<JobLine> {
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

function unreachable(socketPath: string, cause: NodeJS.ErrnoException): OperatingError {
  const isDenied = cause.code === 'EACCES' || cause.code === 'EPERM';
  return new OperatingError({
    code: isDenied ? 'denied' : 'unavailable',
    op: 'reach siphond',
    subject: socketPath,
    cause,
    hint: isDenied
      ? 'Run siphon as root.'
      : 'Is it running? systemctl status siphond.service siphond.socket',
  });
}
