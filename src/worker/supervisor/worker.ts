// A supervised worker: the child program in one role, started, bounded, killed and (if it is kept warm) started again. Nothing here
// waits on the worker: every deadline is this process's own.

import { OperatingError } from '../../wire/errors.ts';
import type { CallOptions, FromWorker, Port, WorkerRole } from '../../wire/worker-protocol.ts';
import { countFailures, nextDelay } from './back-off.ts';
import type { WorkerLog, WorkerProgram } from './body.ts';
import { Calls } from './calls.ts';
import { type Life, startLife } from './life.ts';
import { WORKER_LIMITS, type WorkerLimits } from './limits.ts';
import { type Pulse, startPulse } from './pulse.ts';

export interface WorkerOptions<E = never> {
  readonly role: WorkerRole;
  /** CephSettings, LibvirtSettings, or null for `fill`. */
  readonly settings: unknown;
  readonly program: WorkerProgram;
  readonly log: WorkerLog;
  /** `one-shot`: not started again once it ended. Default: `warm`. */
  readonly kind?: 'warm' | 'one-shot';
  readonly onEvent?: (event: E) => void;
  readonly limits?: Partial<WorkerLimits>;
  /** For messages: which cluster. Default: the role. */
  readonly name?: string;
  /** 0 to 1, for the back-off. */
  readonly random?: () => number;
}

export interface WorkerStats {
  readonly state: 'starting' | 'ready' | 'waiting' | 'ended';
  readonly pid?: number;
  readonly starts: number;
  readonly inFlight: number;
  readonly queued: number;
  /** When the supervisor acts next by itself, on performance.now()'s clock: ends a start, or begins one. */
  readonly dueAtMs?: number;
  /** Why the last life ended, or could not begin. */
  readonly lastEnding?: string;
}

/** Calls reject with an OperatingError. A call whose worker ended is `unavailable`: whether it took effect could not be told. */
export interface Worker<M> extends Port<M>, AsyncDisposable {
  readonly stats: WorkerStats;
}

/** Starts the child program; calls may be made at once. Dispose asks it to end, kills it after a grace, and waits for its exit. */
export function startWorker<M, E = never>(options: WorkerOptions<E>): Worker<M> {
  return new SupervisedWorker<E>(options) as Worker<M>;
}

class SupervisedWorker<E> implements AsyncDisposable {
  readonly #options: WorkerOptions<E>;
  readonly #limits: WorkerLimits;
  readonly #subject: string;
  readonly #calls: Calls;
  #life: Life | undefined;
  #state: WorkerStats['state'] = 'waiting';
  #starts = 0;
  #failures = 0;
  #lastEnding: string | undefined;
  #pulse: Pulse | undefined;
  /** The start's deadline while `starting`, the back-off's end while `waiting`; and when that is due. */
  #timer: NodeJS.Timeout | undefined;
  #dueAtMs: number | undefined;

  constructor(options: WorkerOptions<E>) {
    this.#options = options;
    this.#limits = { ...WORKER_LIMITS[options.role], ...options.limits };
    this.#subject = `${options.name ?? options.role} worker`;
    this.#calls = new Calls({
      subject: this.#subject,
      limits: this.#limits,
      send: () => (this.#state === 'ready' ? this.#life?.send : undefined),
      kill: (why) => this.#life?.kill(why),
      whyAbsent: () => this.#lastEnding,
    });
    this.#start();
  }

  get stats(): WorkerStats {
    const { inFlight, queued } = this.#calls;
    const pid = this.#life?.pid;
    const lastEnding = this.#lastEnding;
    return {
      state: this.#state,
      starts: this.#starts,
      inFlight,
      queued,
      ...(pid !== undefined && { pid }),
      ...(this.#dueAtMs !== undefined && { dueAtMs: this.#dueAtMs }),
      ...(lastEnding !== undefined && { lastEnding }),
    };
  }

  call(method: string, params: unknown, options: CallOptions): Promise<unknown> {
    if (this.#state !== 'ended') return this.#calls.add(method, params, options);
    const why = this.#lastEnding ?? 'it was ended';
    const fields = { code: 'unavailable', op: method, subject: this.#subject, why } as const;
    return Promise.reject(new OperatingError(fields));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const life = this.#life;
    this.#life = undefined;
    this.#pulse?.[Symbol.dispose]();
    this.#endForGood('it was ended');
    await life?.end(this.#limits.endMs);
  }

  #start(): void {
    const { role, program, log, settings } = this.#options;
    const { threads, startMs } = this.#limits;
    this.#starts++;
    this.#state = 'starting';
    const life: Life = startLife({
      role,
      program,
      threads,
      log,
      onMessage: (message) => this.#life === life && this.#take(life, message),
      onEnd: (why) => this.#life === life && this.#onLifeEnd(life, why),
    });
    this.#life = life;
    this.#wait(startMs, () => life.kill(`it was not ready within ${startMs} ms`));
    life.send({ kind: 'init', role, settings });
  }

  #take(life: Life, message: FromWorker): void {
    this.#pulse?.heard();
    switch (message.kind) {
      case 'ready':
        this.#stopWaiting();
        this.#state = 'ready';
        this.#pulse = this.#pulseOf(life);
        return this.#calls.pump();
      case 'pong':
        return;
      case 'init-failed':
        return life.refuse(`${message.error.op}: ${message.error.subject}: ${message.error.why}`);
      case 'event':
        return this.#options.onEvent?.(message.event as E);
      case 'result':
      case 'error':
      case 'progress':
        if (!this.#calls.take(message)) life.kill(`it answered a call that it never had`);
        return;
      default:
        return life.kill('it sent a message of no known kind');
    }
  }

  #pulseOf(life: Life): Pulse {
    const { pulseMs, missesMax } = this.#limits;
    return startPulse({
      everyMs: pulseMs,
      missesMax,
      ask: () => life.send({ kind: 'ping' }),
      onLost: () => life.kill(`it has not said that it lives for ${missesMax * pulseMs} ms`),
    });
  }

  #onLifeEnd(life: Life, why: string): void {
    const livedMs = performance.now() - life.startedAtMs;
    this.#life = undefined;
    this.#pulse?.[Symbol.dispose]();
    if (this.#options.kind === 'one-shot') return this.#endForGood(why);
    this.#lastEnding = why;
    this.#state = 'waiting';
    this.#calls.lose(why, { queued: false });
    this.#failures = countFailures(this.#failures, livedMs);
    const delayMs = nextDelay(this.#failures, livedMs, (this.#options.random ?? Math.random)());
    this.#wait(delayMs, () => this.#start());
    const { log, role } = this.#options;
    log.warn(
      { role, pid: life.pid, failures: this.#failures, delayMs },
      `${this.#subject}: ${why}`,
    );
  }

  #wait(ms: number, act: () => void): void {
    clearTimeout(this.#timer);
    this.#dueAtMs = performance.now() + ms;
    this.#timer = setTimeout(act, ms);
  }

  #stopWaiting(): void {
    clearTimeout(this.#timer);
    this.#dueAtMs = undefined;
  }

  #endForGood(why: string): void {
    this.#stopWaiting();
    this.#state = 'ended';
    this.#lastEnding = why;
    this.#calls.lose(why, { queued: true });
  }
}
