// What a worker's life is lived in: a child process of ours, or a connection to a socket at which systemd starts the worker as
// another user. Either way its channel is its life.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { WorkerRole } from '../../wire/worker-protocol.ts';
import type { EndingFacts } from './ending.ts';
import { forwardLines } from './lines.ts';

/** How to run the child program: `{execPath: process.execPath, args: ['…/worker/main.ts']}`. */
export interface ChildProgram {
  readonly execPath: string;
  readonly args: readonly string[];
  /** Called with the process as soon as it is there, before it is told what it is. */
  readonly adopt?: (pid: number) => void;
}

/** A unix socket: each connection to it is a worker of its own (systemd.socket(5), Accept=yes). */
export interface SocketProgram {
  readonly socketPath: string;
}

export type WorkerProgram = ChildProgram | SocketProgram;

/** As much of pino as workers need. */
export interface WorkerLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

export interface BodyOptions {
  readonly role: WorkerRole;
  readonly program: WorkerProgram;
  readonly threads: number;
  readonly log: WorkerLog;
  /** A line of its standard error. */
  readonly onErrorLine: (line: string) => void;
}

export interface Body {
  readonly pid: number | undefined;
  /** Absent where it could not even begin. */
  readonly stream: Duplex | undefined;
  /** It is gone, and how; never rejects. */
  readonly exited: Promise<EndingFacts>;
  readonly kill: () => void;
}

export function startBody(options: BodyOptions): Body {
  const { program } = options;
  return 'socketPath' in program ? connectBody(program) : spawnBody(program, options);
}

/** A worker ends itself when its connection is closed; systemd ends one that hangs. */
function connectBody({ socketPath }: SocketProgram): Body {
  const socket = connect({ path: socketPath });
  const { promise: exited, resolve } = Promise.withResolvers<EndingFacts>();
  let isConnected = false;
  let spawnError: string | undefined;
  socket.once('connect', () => (isConnected = true));
  socket.on('error', (error) => {
    if (!isConnected) spawnError = error.message;
  });
  socket.on('close', () => resolve(spawnError === undefined ? {} : { spawnError }));
  return { pid: undefined, stream: socket, exited, kill: () => void socket.destroy() };
}

function spawnBody(program: ChildProgram, options: BodyOptions): Body {
  const child = spawnProgram(program, options);
  const exited = exitOf(child);
  if (child.pid !== undefined) program.adopt?.(child.pid);
  forwardOutput(child, options);
  const stream = child.stdio[3] as Duplex | null | undefined; // absent where spawn itself failed
  return {
    pid: child.pid,
    stream: stream ?? undefined,
    exited,
    kill: () => void child.kill('SIGKILL'),
  };
}

/** librados has a buffer of each read in flight: 4 MiB, which glibc would keep for the next ones in each of its arenas (mallopt(3), M_MMAP_THRESHOLD). */
const MALLOC = { MALLOC_MMAP_THRESHOLD_: String(1024 * 1024) };

/** The role is an argument for those who read `ps`, and the one role that the worker then takes. */
function spawnProgram(program: ChildProgram, { threads, role }: BodyOptions): ChildProcess {
  const { PATH = '/usr/sbin:/usr/bin:/sbin:/bin', HOME = '/root' } = process.env;
  return spawn(program.execPath, [...program.args, role], {
    cwd: '/',
    env: { PATH, HOME, LANG: 'C.UTF-8', UV_THREADPOOL_SIZE: String(threads), ...MALLOC },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
}

/** Output that came before the exit may be read after it: wait this long for it. */
const DRAIN_MS = 500;

async function exitOf(child: ChildProcess): Promise<EndingFacts> {
  try {
    const [exitCode, signal] = (await once(child, 'exit')) as [number | null, string | null];
    const streams = [child.stdout, child.stderr].filter((stream) => stream && !stream.closed);
    const drained = Promise.all(streams.map((stream) => once(stream!, 'close')));
    await Promise.race([drained, delay(DRAIN_MS, undefined, { ref: false })]);
    return { exitCode, signal };
  } catch (error) {
    return { spawnError: error instanceof Error ? error.message : String(error) };
  }
}

function forwardOutput(child: ChildProcess, { log, role, onErrorLine }: BodyOptions): void {
  const forward = (stream: Readable | null, say: (line: string) => void) => {
    if (stream) forwardLines(stream, say);
  };
  forward(child.stdout, (line) => log.info({ role, pid: child.pid }, line));
  forward(child.stderr, (line) => {
    onErrorLine(line);
    log.warn({ role, pid: child.pid }, line);
  });
}
