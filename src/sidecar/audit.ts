// The audit: one line in the log for every change that an operator makes, whatever the log's level. Node does not tell who is
// at the other end of a unix socket (SO_PEERCRED): what is certain is the socket, whose mode and group say who may open it.
// A name that comes with the request is told as a claim.

import type { Logger } from 'pino';
import { OperatingError } from '../wire/errors.ts';

export type Change =
  | 'warm'
  | 'describe'
  | 'sign'
  | 'pin'
  | 'unpin'
  | 'evict'
  | 'scrub'
  | 'start'
  | 'snapshot create'
  | 'snapshot delete'
  | 'snapshot protect'
  | 'snapshot unprotect'
  | 'snapshot prune'
  | 'restore'
  | 'restore undo'
  | 'verify-restore'
  | 'export'
  | 'import'
  | 'publish'
  | 'flatten'
  | 'reconcile'
  | 'cancel'
  | 'pause'
  | 'resume'
  | 'reload';

export interface Who {
  readonly socket: 'write';
  readonly claimedUser?: string;
}

export interface AuditEntry {
  readonly who: Who;
  readonly what: Change;
  readonly subject: string;
}

/** Does the change, tells how it went, and gives what it gave. Long work is told with the job that it became. */
export type Audit = <T>(entry: AuditEntry, change: () => T | Promise<T>) => Promise<T>;

export function createAudit(log: Logger): Audit {
  const lines = log.child({ audit: true }, { level: 'info' });
  return async (entry, change) => {
    try {
      const result = await change();
      lines.info({ ...entry, ...resultOf(result) }, 'change');
      return result;
    } catch (error) {
      if (error instanceof OperatingError)
        lines.info({ ...entry, result: error.code, why: error.why }, 'change');
      throw error;
    }
  };
}

/** What siphond changes by itself, because of what others changed: of several bases at once. */
export function auditOwn(log: Logger, what: 'doubt' | 'absolve', told: object): void {
  const lines = log.child({ audit: true }, { level: 'info' });
  lines.info({ who: { self: 'siphond' }, what, ...told, result: 'done' }, 'change');
}

function resultOf(result: unknown): { readonly result: string; readonly job?: string } {
  const { kind, id } = (result ?? {}) as { kind?: unknown; id?: unknown };
  return kind === 'job' && typeof id === 'string'
    ? { result: 'begun', job: id }
    : { result: 'done' };
}

const NAME = /^[\w.@-]{1,64}$/;

/** A claim that is no user's name is left out: it could be made to look like anything in a log. */
export function claimedUserOf(header: unknown): string | undefined {
  return typeof header === 'string' && NAME.test(header) ? header : undefined;
}
