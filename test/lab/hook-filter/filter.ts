// The filter as it is installed, but for its paths, against a small server on a unix socket.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';

const FILTER = path.join(import.meta.dirname, '../../../src/hook/siphon-hook.sh');

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

export interface Bench extends AsyncDisposable {
  readonly folder: string;
  readonly run: string;
  readonly spool: string;
  readonly socket: string;
  /** Runs the filter as libvirt does: argv, XML on stdin, nearly no environment. */
  call(argv: readonly string[], xml: string | Buffer): Promise<Ended>;
  spooled(): Promise<readonly { readonly name: string; readonly text: string }[]>;
}

/** A folder of its own with the filter in it, its constants replaced. */
export async function openBench(): Promise<Bench> {
  const folder = await mkdtemp(path.join(tmpdir(), 'siphon-filter-'));
  const [run, spool] = [path.join(folder, 'run'), path.join(folder, 'spool')];
  await mkdir(run);
  const filter = path.join(folder, '50-siphon');
  const text = await readFile(FILTER, 'utf8');
  const placed = text.replace(/^run=.*$/m, `run=${run}`).replace(/^spool=.*$/m, `spool=${spool}`);
  await writeFile(filter, placed);
  await chmod(filter, 0o755);
  return {
    folder,
    run,
    spool,
    socket: path.join(run, 'hook.sock'),
    call: (argv, xml) => callFilter(filter, argv, xml),
    spooled: () => readSpool(spool),
    async [Symbol.asyncDispose]() {
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function callFilter(
  filter: string,
  argv: readonly string[],
  xml: string | Buffer,
): Promise<Ended> {
  const startMs = performance.now();
  const child = spawn(filter, argv, { cwd: '/', env: { LC_ALL: 'C', PATH: '/usr/bin:/bin' } });
  child.stdin.on('error', () => undefined); // EPIPE: a filter need not read
  child.stdin.end(xml);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const [code] = (await once(child, 'close')) as [number | null];
  const ms = performance.now() - startMs;
  return { code, stdout: await stdout, stderr: await stderr, ms };
}

async function collect(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString();
}

async function readSpool(spool: string) {
  const names = await readdir(spool).catch(() => []);
  return Promise.all(
    names
      .toSorted((a, b) => (a < b ? -1 : 1))
      .map(async (name) => {
        return { name, text: await readFile(path.join(spool, name), 'utf8') };
      }),
  );
}

export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly body: string;
}

export interface Listener extends AsyncDisposable {
  readonly asked: Asked[];
  readonly connections: () => number;
}

/** Answers events by `answer`; `ready` by 204, as siphond does. */
export async function listen(
  socket: string,
  answer: (response: ServerResponse, asked: Asked) => void,
): Promise<Listener> {
  const asked: Asked[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    void receive(request).then((body) => {
      const one = { method: request.method ?? '', url: request.url ?? '', body };
      asked.push(one);
      if (one.method === 'GET') response.writeHead(204).end();
      else answer(response, one);
    });
  });
  server.on('connection', () => {
    connections += 1;
  });
  server.listen(socket);
  await once(server, 'listening');
  return {
    asked,
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function receive(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** Signs of life every 250 ms for so long, then the line. */
export function answerAfter(response: ServerResponse, ms: number, line: string): void {
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  response.write(' ');
  const alive = setInterval(() => response.write(' '), 250);
  setTimeout(() => {
    clearInterval(alive);
    response.end(`\n${line}\n`);
  }, ms);
  response.once('close', () => clearInterval(alive));
}
