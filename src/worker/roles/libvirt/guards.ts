// The guard of a held domain: a timer of PID 1's, and the service that it starts (systemd/siphon-guard@.*). A rule of polkit lets
// this worker's user start and stop them: docs/privileges.md.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { OperatingError } from '../../../wire/errors.ts';
import { monotonicMs } from './notes.ts';

export interface Guards {
  /** Sets the timer, anew. @throws OperatingError unavailable */
  start(domain: string): Promise<void>;
  /** When it returns, neither the timer nor its service is there. @throws OperatingError unavailable */
  stop(domain: string): Promise<void>;
}

const BOUND_MS = 5000;
/** OnActiveSec= of the timer: it starts its service no sooner. */
export const FIRES_MS = 3000;
/** To forget costs a few calls, no more. */
const KNOWN_MAX = 1000;
const run = promisify(execFile);

/**
 * Each call of systemctl costs a process, and PID 1 and polkitd their part (docs/performance.md): what this process knows, since nobody
 * else sets guards while it lives, is not asked for again.
 */
export function unitGuards(control = systemctl): Guards {
  /** That neither unit is there, or since when the timer is: before the call, of {@link monotonicMs}. */
  const known = new Map<string, 'off' | number>();
  const learn = (domain: string, what: 'off' | number) => {
    if (known.size >= KNOWN_MAX) known.clear();
    known.set(domain, what);
  };
  return {
    async start(domain) {
      known.delete(domain);
      const sinceMs = monotonicMs();
      await control('start', domain, 'timer');
      learn(domain, sinceMs);
    },
    // The timer first: it starts the service.
    async stop(domain) {
      const since = known.get(domain);
      if (since === 'off') return;
      known.delete(domain);
      await control('stop', domain, 'timer');
      const mayHaveFired = since === undefined || monotonicMs() - since >= FIRES_MS;
      if (mayHaveFired) await control('stop', domain, 'service');
      learn(domain, 'off');
    },
  };
}

type Control = (verb: string, domain: string, type: 'timer' | 'service') => Promise<void>;

/** One unit a call: for several, systemctl 262 uses a method that the bus lets nobody but root call. */
const systemctl: Control = async (verb, domain, type) => {
  const unit = `siphon-guard@${domain}.${type}`;
  try {
    await run('/usr/bin/systemctl', ['--no-ask-password', verb, unit], { timeout: BOUND_MS });
  } catch (cause) {
    throw new OperatingError({
      code: 'unavailable',
      op: `${verb} guard`,
      subject: domain,
      why: reasonOf(cause),
      hint: 'polkitd must be installed, and /usr/share/polkit-1/rules.d/50-siphon.rules be there.',
      cause,
    });
  }
};

/** The first line that systemctl wrote, else how it ended. */
function reasonOf(error: unknown): string {
  const { stderr = '', message } = error as Error & { readonly stderr?: string };
  return stderr.split('\n')[0] || message;
}
