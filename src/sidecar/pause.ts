// The pauses that are in force, kept in the catalogue, and who wants to know when one ends.

import type { Logger } from 'pino';
import type { Catalogue } from '../cache/index.ts';
import { type Pausable, type Pause, pausablesOf } from '../wire/pause.ts';

export interface PauseParts {
  readonly shelf: Catalogue['pauses'];
  readonly log: Logger;
  readonly now: () => number;
}

export interface Pauses {
  /** From memory. */
  current(): readonly Pause[];
  /** Durable when it returns; what is paused already stays as it is. @throws OperatingError */
  pause(what: Pausable | 'all', claimedBy?: string): void;
  /** Durable when it returns. @throws OperatingError */
  resume(what: Pausable | 'all'): void;
  /** What waited for the end of a pause may go on. */
  onResume(goOn: () => void): void;
}

export function openPauses({ shelf, log, now }: PauseParts): Pauses {
  const waiting: (() => void)[] = [];
  if (shelf.all().length > 0) log.warn({ pauses: shelf.all() }, 'paused by an operator');
  return {
    current: () => shelf.all(),
    pause(what, claimedBy) {
      const by = claimedBy === undefined ? {} : { claimedBy };
      for (const work of pausablesOf(what)) shelf.put({ work, sinceMs: now(), ...by });
    },
    resume(what) {
      for (const work of pausablesOf(what)) shelf.remove(work);
      for (const goOn of waiting) goOn();
    },
    onResume: (goOn) => void waiting.push(goOn),
  };
}
