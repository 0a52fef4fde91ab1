// The guard of a held domain: a timer of PID 1's, and the service that it starts (systemd/siphon-guard@.*). A rule of polkit lets
// this worker's user start and stop them: docs/privileges.md.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { OperatingError } from '../../../wire/errors.ts';

export interface Guards {
  /** Sets the timer, anew. @throws OperatingError unavailable */
  start(domain: string): Promise<void>;
  /** When it returns, neither the timer nor its service is there. @throws OperatingError unavailable */
  stop(domain: string): Promise<void>;
}

const BOUND_MS = 5000;
const run = promisify(execFile);

export const guards: Guards = {
  start: (domain) => systemctl('start', domain, 'timer'),
  // The timer first: it starts the service.
  async stop(domain) {
    await systemctl('stop', domain, 'timer');
    await systemctl('stop', domain, 'service');
  },
};

/** One unit a call: for several, systemctl 262 uses a method that the bus lets nobody but root call. */
async function systemctl(verb: string, domain: string, type: 'timer' | 'service'): Promise<void> {
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
}

/** The first line that systemctl wrote, else how it ended. */
function reasonOf(error: unknown): string {
  const { stderr = '', message } = error as Error & { readonly stderr?: string };
  return stderr.split('\n')[0] || message;
}
