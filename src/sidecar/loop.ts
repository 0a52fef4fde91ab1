// One concern's loop: poked by events, it works at its own pace, never twice at once, and tries again what failed.

import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { OperatingError } from '../wire/errors.ts';

/** siphond's usual bounds: from an event to the work that follows it, and to the first new try after a failure. */
export const SETTLE_EVENTS_MS = 200;
export const RETRY_MS = 15_000;
const RETRY_MS_MAX = 10 * 60_000;

export interface LoopParts {
  readonly name: string;
  readonly log: Logger;
  /** From a poke to the work, so that a burst of events is one. */
  readonly settleMs: number;
  /** From a failure to the next try; twice as long after each more, up to ten minutes. */
  readonly retryMs: number;
  /** Works at least this often, poked or not: as it is said after each work; not stated: only when poked. */
  readonly everyMs?: number | (() => number);
  /** Rejects with OperatingErrors, or with what the signal's abort made of it; anything else is a defect. */
  readonly work: (signal: AbortSignal) => Promise<void>;
}

export interface Loop extends AsyncDisposable {
  /** There is something to do. What comes while the loop works is done after it. */
  poke(): void;
}

/** Starts a loop that waits for its first poke, or for `everyMs`. Dispose aborts the work and waits for its end. */
export function startLoop(parts: LoopParts): Loop {
  const stop = new AbortController();
  let poked = Promise.withResolvers<void>();
  const ended = run(parts, stop.signal, async (waitMs) => {
    const timer = waitMs === undefined ? undefined : setTimeout(() => poked.resolve(), waitMs);
    await poked.promise;
    clearTimeout(timer);
    // Pokes count from here on: the work that follows begins after all that came before.
    if (!stop.signal.aborted)
      await delay(parts.settleMs, undefined, { signal: stop.signal }).catch(ignoreAbort);
    poked = Promise.withResolvers<void>();
  });
  return {
    poke: () => poked.resolve(),
    async [Symbol.asyncDispose]() {
      stop.abort();
      poked.resolve();
      await ended;
    },
  };
}

async function run(
  { name, log, retryMs, everyMs, work }: LoopParts,
  signal: AbortSignal,
  next: (waitMs: number | undefined) => Promise<void>,
): Promise<void> {
  const everyNow = () => (typeof everyMs === 'function' ? everyMs() : everyMs);
  let waitMs = everyNow();
  let failures = 0;
  for (;;) {
    await next(waitMs);
    if (signal.aborted) return;
    try {
      await work(signal);
      waitMs = everyNow();
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof OperatingError)) throw error;
      log.warn({ loop: name, error: error.toWire() }, 'failed, and is tried again');
      waitMs = Math.min(retryMs * 2 ** failures, RETRY_MS_MAX);
      failures += 1;
    }
  }
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof Error) || error.name !== 'AbortError') throw error;
}
