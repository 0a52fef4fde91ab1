// The shelf of pauses: what an operator has stopped from beginning, across restarts of siphond.

import type { Pausable, Pause } from '../../wire/pause.ts';
import { type Db, onCatalogue } from './sqlite.ts';

export interface PauseShelf {
  all(): readonly Pause[];
  /** A pause that is there already stays as it is. */
  put(pause: Pause): void;
  /** Idempotent. */
  remove(work: Pausable): void;
}

interface Stored {
  readonly work: string;
  readonly since_ms: number;
  readonly claimed_by: string | null;
}

export function openPauses(db: Db, path: string): PauseShelf {
  const insert = db.prepare<[string, number, string | null]>('INSERT INTO pauses VALUES (?, ?, ?)');
  const remove = db.prepare<[string]>('DELETE FROM pauses WHERE work = ?');
  const stored = db.prepare<[], Stored>('SELECT * FROM pauses ORDER BY work').all();
  const pauses = new Map(stored.map((row) => [row.work, pauseOf(row)]));
  return {
    all: () => [...pauses.values()],
    put(pause) {
      const { work, sinceMs, claimedBy = null } = pause;
      if (pauses.has(work)) return;
      onCatalogue('pause', path, () => insert.run(work, Math.trunc(sinceMs), claimedBy));
      pauses.set(work, pause);
    },
    remove(work) {
      onCatalogue('resume', path, () => remove.run(work));
      pauses.delete(work);
    },
  };
}

function pauseOf({ work, since_ms: sinceMs, claimed_by: by }: Stored): Pause {
  return { work: work as Pausable, sinceMs, ...(by === null ? {} : { claimedBy: by }) };
}
