// The shelf of pins: an operator's "keep". A pin outlives its base: a file that got lost is pinned again when it is back.

import { type Db, onCatalogue } from './sqlite.ts';

export interface PinShelf {
  has(baseId: string): boolean;
  /** Idempotent. */
  add(baseId: string, nowMs: number): void;
  /** Idempotent. */
  remove(baseId: string): void;
}

export function openPins(db: Db, path: string): PinShelf {
  const insert = db.prepare<[string, number]>('INSERT OR IGNORE INTO pins VALUES (?, ?)');
  const remove = db.prepare<[string]>('DELETE FROM pins WHERE base_id = ?');
  const pinned = new Set(db.prepare<[], string>('SELECT base_id FROM pins').pluck().all());
  return {
    has: (baseId) => pinned.has(baseId),
    add(baseId, nowMs) {
      onCatalogue('pin', path, () => insert.run(baseId, Math.trunc(nowMs)));
      pinned.add(baseId);
    },
    remove(baseId) {
      onCatalogue('unpin', path, () => remove.run(baseId));
      pinned.delete(baseId);
    },
  };
}
