// The calls of one worker: who waits for a place, who waits for an answer, and whose caller has left while the worker still works
// on it. Each call settles once; its place is free again only when the worker answered, since until then it holds a thread.

import assert from 'node:assert/strict';
import { type ErrorCode, fromWire, OperatingError } from '../../wire/errors.ts';
import type { CallOptions, FromWorker, ToWorker } from '../../wire/worker-protocol.ts';
import type { WorkerLimits } from './limits.ts';

/** Timers hold 31 bits of ms, about 24 days. */
const DEADLINE_MS_MAX = 2 ** 31 - 1;

interface Call {
  readonly id: number;
  readonly method: string;
  readonly params: unknown;
  readonly onProgress: ((progress: never) => void) | undefined;
  readonly resolve: (result: unknown) => void;
  /** Settles the caller; the call may live on in the worker. */
  readonly reject: (error: OperatingError) => void;
  /** Set once the caller has left: kills the worker if it does not answer the cancel in time. */
  graceTimer?: NodeJS.Timeout;
}

export interface CallsOptions {
  /** The role, for messages. */
  readonly subject: string;
  readonly limits: Pick<WorkerLimits, 'callsMax' | 'queueMax' | 'graceMs'>;
  /** Where frames go now, if a worker is ready. */
  readonly send: () => ((message: ToWorker) => void) | undefined;
  readonly kill: (why: string) => void;
  /** Why there is no worker now, for those who waited in vain for one. */
  readonly whyAbsent: () => string | undefined;
}

export class Calls {
  readonly #options: CallsOptions;
  readonly #queue = new Map<number, Call>();
  readonly #sent = new Map<number, Call>();
  #lastId = 0;

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  get inFlight(): number {
    return this.#sent.size;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** Queues a call, and sends it when there is a worker with a place. Its deadline counts from now. */
  add(method: string, params: unknown, options: CallOptions): Promise<unknown> {
    const { limits } = this.#options;
    assert(options.deadlineMs > 0 && options.deadlineMs <= DEADLINE_MS_MAX, 'not a deadline');
    if (options.signal?.aborted) return Promise.reject(this.#error('cancelled', method));
    if (this.#queue.size >= limits.queueMax) {
      return Promise.reject(this.#error('busy', method, `${this.#queue.size} calls are waiting`));
    }
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const id = ++this.#lastId;
    const leave = (error: OperatingError) => this.#abandon(call, error);
    const timer = setTimeout(() => leave(this.#lateError(call, options)), options.deadlineMs);
    const onAbort = () => leave(this.#error('cancelled', method));
    options.signal?.addEventListener('abort', onAbort, { once: true });
    const settle =
      <T>(how: (value: T) => void) =>
      (value: T) => {
        clearTimeout(timer);
        options.signal?.removeEventListener('abort', onAbort);
        how(value);
      };
    const { onProgress } = options;
    const call: Call = {
      id,
      method,
      params,
      onProgress,
      resolve: settle(resolve),
      reject: settle(reject),
    };
    this.#queue.set(id, call);
    this.pump();
    return promise;
  }

  /** Sends what waits, while there is a worker with a place for it. */
  pump(): void {
    for (const call of this.#queue.values()) {
      const send = this.#options.send();
      if (!send || this.#sent.size >= this.#options.limits.callsMax) return;
      this.#queue.delete(call.id);
      try {
        send({ kind: 'call', id: call.id, method: call.method, params: call.params });
        this.#sent.set(call.id, call);
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause);
        call.reject(this.#error('exhausted', call.method, why));
      }
    }
  }

  /** Takes what the worker says of a call. False where it never had such a call: a defect. */
  take(message: Extract<FromWorker, { readonly id: number }>): boolean {
    const call = this.#sent.get(message.id);
    if (!call) return false;
    if (message.kind === 'progress') {
      if (!call.graceTimer) call.onProgress?.(message.progress as never);
      return true;
    }
    clearTimeout(call.graceTimer);
    this.#sent.delete(call.id);
    if (message.kind === 'result') call.resolve(message.result);
    else call.reject(fromWire(message.error));
    this.pump();
    return true;
  }

  /** The worker is gone: those whom it had hear why. Those who wait may wait for the next, if there will be one. */
  lose(why: string, also: { readonly queued: boolean }): void {
    const lost = [...this.#sent.values(), ...(also.queued ? this.#queue.values() : [])];
    this.#sent.clear();
    if (also.queued) this.#queue.clear();
    for (const call of lost) {
      clearTimeout(call.graceTimer);
      call.reject(this.#error('unavailable', call.method, why));
    }
  }

  #abandon(call: Call, error: OperatingError): void {
    const { send, kill, limits } = this.#options;
    call.reject(error);
    if (this.#queue.delete(call.id)) return;
    send()?.({ kind: 'cancel', id: call.id });
    const why = `it did not answer a cancelled ${call.method} within ${limits.graceMs} ms`;
    call.graceTimer = setTimeout(() => kill(why), limits.graceMs);
  }

  #lateError(call: Call, { deadlineMs }: CallOptions): OperatingError {
    const inTime = `within its deadline of ${deadlineMs} ms`;
    if (this.#sent.has(call.id))
      return this.#error('unavailable', call.method, `no answer ${inTime}`);
    const cause = this.#options.send() ? 'all its places were taken' : this.#options.whyAbsent();
    return this.#error(
      'unavailable',
      call.method,
      `no worker took it ${inTime}: ${cause ?? 'it is starting'}`,
    );
  }

  #error(code: ErrorCode, op: string, why?: string): OperatingError {
    const { subject } = this.#options;
    return new OperatingError({ code, op, subject, ...(why !== undefined && { why }) });
  }
}
