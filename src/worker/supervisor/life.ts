// One life of the child program: a process and its channel, from spawn to exit. It ends once, with one reason.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex, Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { FromWorker, ToWorker, WorkerRole } from '../../wire/worker-protocol.ts';
import { type Channel, FrameError, openChannel } from '../channel.ts';
import { describeEnding, type EndingFacts } from './ending.ts';
import { forwardLines } from './lines.ts';

/** How to run the child program: `{execPath: process.execPath, args: ['…/worker/main.ts']}`. */
export interface WorkerProgram {
  readonly execPath: string;
  readonly args: readonly string[];
}

/** As much of pino as workers need. */
export interface WorkerLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

export interface LifeOptions {
  readonly role: WorkerRole;
  readonly program: WorkerProgram;
  readonly threads: number;
  readonly log: WorkerLog;
  readonly onMessage: (message: FromWorker) => void;
  /** Called once, as soon as nothing more can come of this life; the process itself may still be on its way out. */
  readonly onEnd: (why: string) => void;
}

export interface Life {
  readonly pid: number | undefined;
  readonly startedAtMs: number;
  readonly send: (message: ToWorker) => void;
  /** Kills it now; `onEnd` is called before this returns. */
  readonly kill: (why: string) => void;
  /** The worker said that it cannot start its work. */
  readonly refuse: (why: string) => void;
  /** Asks it to end, kills it after `endMs`, and resolves when the process is gone. */
  readonly end: (endMs: number) => Promise<void>;
}

/** Output that came before the exit may be read after it: wait this long for it. */
const DRAIN_MS = 500;
/** A process whose channel broke is about to exit, which says more; wait this long for it. */
const EXIT_AFTER_CHANNEL_MS = 1000;

export function startLife(options: LifeOptions): Life {
  const { log, role } = options;
  const child = spawnProgram(options);
  const exited = exitOf(child);
  const facts: { -readonly [K in keyof EndingFacts]: EndingFacts[K] } = {};
  let isEnded = false;
  let isAsked = false;
  const finish = () => {
    if (isEnded) return;
    isEnded = true;
    child.kill('SIGKILL');
    options.onEnd(describeEnding(facts));
  };
  const kill = (why: string) => {
    facts.killedFor ??= why;
    finish();
  };
  forwardOutput(child, options, (line) => {
    facts.lastLine = line;
  });
  const channel = channelOf(
    child,
    (message) => !isEnded && options.onMessage(message),
    (cause) => {
      if (cause instanceof FrameError) return kill(cause.message);
      facts.channelError = cause?.message ?? 'closed by the worker';
      // Asked to end, it may take its time: until `end` kills it.
      if (!isAsked) setTimeout(finish, EXIT_AFTER_CHANNEL_MS).unref();
    },
  );
  void exited.then((exit) => {
    Object.assign(facts, exit);
    log.info({ role, pid: child.pid, ...exit }, 'worker exited');
    finish();
  });
  return {
    pid: child.pid,
    startedAtMs: performance.now(),
    kill,
    send: (message) => channel?.send(message),
    refuse: (why) => {
      facts.initError ??= why;
      finish();
    },
    end: async (endMs) => {
      isAsked = true;
      channel?.end();
      const timer = setTimeout(() => kill('it did not end when asked'), endMs);
      // A process in uninterruptible sleep outlives SIGKILL: it is not waited for without bound.
      await Promise.race([exited, delay(endMs * 2, undefined, { ref: false })]);
      clearTimeout(timer);
    },
  };
}

/** The role is an argument for those who read `ps`; the worker takes it from `init`. */
function spawnProgram({ program, threads, role }: LifeOptions): ChildProcess {
  const { PATH = '/usr/sbin:/usr/bin:/sbin:/bin', HOME = '/root' } = process.env;
  return spawn(program.execPath, [...program.args, role], {
    cwd: '/',
    env: { PATH, HOME, LANG: 'C.UTF-8', UV_THREADPOOL_SIZE: String(threads) },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
}

function channelOf(
  child: ChildProcess,
  message: (message: FromWorker) => void,
  closed: (cause?: Error) => void,
): Channel<ToWorker> | undefined {
  const stream = child.stdio[3] as Duplex | null | undefined; // absent where spawn itself failed
  if (!stream) return undefined;
  return openChannel<ToWorker>(stream, {
    message: (each) => message(each as FromWorker),
    closed,
  });
}

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

function forwardOutput(
  child: ChildProcess,
  { log, role }: LifeOptions,
  onErrorLine: (line: string) => void,
): void {
  const forward = (stream: Readable | null, say: (line: string) => void) => {
    if (stream) forwardLines(stream, say);
  };
  forward(child.stdout, (line) => log.info({ role, pid: child.pid }, line));
  forward(child.stderr, (line) => {
    onErrorLine(line);
    log.warn({ role, pid: child.pid }, line);
  });
}
