// One life of the child program: its body and its channel, from start to end. It ends once, with one reason.

import { setTimeout as delay } from 'node:timers/promises';
import type { FromWorker, ToWorker, WorkerRole } from '../../wire/worker-protocol.ts';
import { FrameError, openChannel } from '../channel.ts';
import { startBody, type WorkerLog, type WorkerProgram } from './body.ts';
import { describeEnding, type EndingFacts } from './ending.ts';

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
  /** undefined for one that is not a child of ours. */
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

/** A process whose channel broke is about to exit, which says more; wait this long for it. */
const EXIT_AFTER_CHANNEL_MS = 1000;

export function startLife(options: LifeOptions): Life {
  const { log, role } = options;
  const facts: { -readonly [K in keyof EndingFacts]: EndingFacts[K] } = {};
  let isEnded = false;
  let isAsked = false;
  const body = startBody({ ...options, onErrorLine: (line) => (facts.lastLine = line) });
  const { pid, stream, exited } = body;
  const finish = () => {
    if (isEnded) return;
    isEnded = true;
    body.kill();
    options.onEnd(describeEnding(facts));
  };
  const kill = (why: string) => {
    facts.killedFor ??= why;
    finish();
  };
  const channel =
    stream &&
    openChannel<ToWorker>(stream, {
      message: (message) => !isEnded && options.onMessage(message as FromWorker),
      closed: (cause) => {
        if (cause instanceof FrameError) return kill(cause.message);
        facts.channelError = cause?.message ?? 'closed by the worker';
        // Asked to end, it may take its time: until `end` kills it.
        if (!isAsked) setTimeout(finish, EXIT_AFTER_CHANNEL_MS).unref();
      },
    });
  void exited.then((exit) => {
    Object.assign(facts, exit);
    log.info({ role, pid, ...exit }, 'worker exited');
    finish();
  });
  return {
    pid,
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
