// The shelf of snapshot sets.

import type { SetState } from '../../wire/api.ts';
import type { SetCatalogue } from '../../wire/ports.ts';
import type { SnapshotSet } from '../../wire/vocabulary.ts';
import { type Db, onCatalogue } from './sqlite.ts';

interface Stored {
  readonly state: string;
  readonly record: string;
}

/** Lists the newest first. */
export function openSets(db: Db, path: string): SetCatalogue {
  const insert = db.prepare<[string, string, string, number, string]>(
    'INSERT OR REPLACE INTO snapshot_sets VALUES (?, ?, ?, ?, ?)',
  );
  const remove = db.prepare<[string]>('DELETE FROM snapshot_sets WHERE id = ?');
  const byId = db.prepare<[string], Stored>('SELECT state, record FROM snapshot_sets WHERE id = ?');
  const order = 'ORDER BY created_at_ms DESC, id DESC';
  const all = db.prepare<[], Stored>(`SELECT state, record FROM snapshot_sets ${order}`);
  const byDomain = db.prepare<[string], Stored>(
    `SELECT state, record FROM snapshot_sets WHERE domain_uuid = ? ${order}`,
  );
  return {
    put(set, state) {
      const created = Math.trunc(set.createdAtMs);
      onCatalogue('record snapshot set', path, () =>
        insert.run(set.id, set.domainUuid, state, created, JSON.stringify(set)),
      );
    },
    remove: (id) => void onCatalogue('forget snapshot set', path, () => remove.run(id)),
    get(id) {
      const stored = byId.get(id);
      return stored && setOf(stored);
    },
    list: (domainUuid) =>
      (domainUuid === undefined ? all.all() : byDomain.all(domainUuid)).map(setOf),
  };
}

function setOf({ state, record }: Stored): SnapshotSet & { readonly state: SetState } {
  return { ...(JSON.parse(record) as SnapshotSet), state: state as SetState };
}
