// What siphond asks of the cache by itself when it starts: fills that were cut off, and bases that domains of this host need
// and that are not here. Nobody waits for them.

import type { Logger } from 'pino';
import type { Cache, WarmAsk } from '../cache/index.ts';
import { ERROR_TABLE, OperatingError } from '../wire/errors.ts';

/**
 * A function for a loop: each call tries all that is left, unless fills are paused: then they wait for the next call.
 * @throws OperatingError: some are left, and may succeed later
 */
export function createAskAgain(
  cache: Cache,
  cutOff: readonly WarmAsk[],
  isPaused: () => boolean,
  log: Logger,
): () => Promise<void> {
  let left: readonly WarmAsk[] = [
    ...cutOff,
    ...cache
      .missing()
      .map(({ ids, format }): WarmAsk => ({ source: ids, format, priority: 'operator' })),
  ];
  return async () => {
    if (isPaused()) return;
    if (left.length > 0) log.info({ bases: left.length }, 'asking for bases that are missing');
    const outcomes = await Promise.all(left.map((ask) => tryOne(cache, ask, isPaused, log)));
    const failures = outcomes.filter((each) => each !== undefined);
    left = failures.map((each) => each.ask);
    if (failures[0] !== undefined) throw failures[0].error;
  };
}

/** undefined: it is here, or will never be. */
async function tryOne(cache: Cache, ask: WarmAsk, isPaused: () => boolean, log: Logger) {
  try {
    const fill = await cache.warm(ask);
    await fill.done;
    return undefined;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    if (ERROR_TABLE[error.code].retry === 'later' || isPaused()) return { ask, error };
    // Cancelled: an operator said so, or siphond stops, whose next start asks again.
    const level = error.code === 'cancelled' ? 'info' : 'warn';
    log[level]({ source: ask.source, error: error.toWire() }, 'a missing base is given up');
    return undefined;
  }
}
