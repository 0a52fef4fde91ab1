// The warm libvirt worker, and what it last said of its connection.

import type { StatusAnswer } from '../wire/api.ts';
import type { LibvirtPort } from '../wire/ports.ts';
import type { LibvirtEvent, LibvirtMethods } from '../wire/worker-protocol.ts';
import {
  startWorker,
  type WorkerLog,
  type WorkerProgram,
  type WorkerStats,
} from '../worker/supervisor/index.ts';

export interface LibvirtParts {
  readonly uri: string;
  readonly program: WorkerProgram;
  readonly log: WorkerLog;
  readonly onEvent: (event: LibvirtEvent) => void;
}

export interface OpenLibvirt extends LibvirtPort, AsyncDisposable {
  readonly standing: StatusAnswer['libvirt'];
  /** Starts of the worker after its first. */
  restarts(): number;
  stats(): WorkerStats;
}

/** Starts the worker, which connects, and connects again, by itself. */
export function openLibvirt({ uri, program, log, onEvent }: LibvirtParts): OpenLibvirt {
  let standing: StatusAnswer['libvirt'] = { state: 'unavailable', why: 'it has not answered yet' };
  const worker = startWorker<LibvirtMethods, LibvirtEvent>({
    role: 'libvirt',
    settings: { uri },
    program,
    log,
    onEvent(event) {
      if (event.what === 'connected') standing = { state: 'connected' };
      if (event.what === 'closed') standing = { state: 'unavailable', why: event.why };
      if (event.what !== 'lifecycle') log.info({ libvirt: event }, 'libvirt connection');
      onEvent(event);
    },
  });
  return {
    call: (method, params, options) => worker.call(method, params, options),
    get standing() {
      const { state, lastEnding = `its worker is ${state}` } = worker.stats;
      return state === 'ready' ? standing : { state: 'unavailable' as const, why: lastEnding };
    },
    restarts: () => worker.stats.starts - 1,
    stats: () => worker.stats,
    [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
  };
}
