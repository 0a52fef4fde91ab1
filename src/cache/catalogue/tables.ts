// The shelf of chunk tables: what the sources of bases were read as, chunk by chunk. By their own SHA-256, so that none can be another's, and
// bases of one content share one.

import { type Db, onCatalogue } from './sqlite.ts';

export interface TableShelf {
  /** For a base that names it next; until then nothing removes it but the next start. */
  put(sha256: string, bytes: Uint8Array): void;
  get(sha256: string): Buffer | undefined;
  /** A base names it now. */
  named(sha256: string): void;
  /** No base names it any more. */
  drop(sha256: string): void;
  /** Removes those that `isUsed` does not know; gives how many. */
  prune(isUsed: (sha256: string) => boolean): number;
}

export function openTables(db: Db, path: string): TableShelf {
  const insert = db.prepare<[string, Uint8Array]>(
    'INSERT OR IGNORE INTO chunk_tables (sha256, bytes) VALUES (?, ?)',
  );
  const select = db.prepare<[string], { readonly bytes: Buffer }>(
    'SELECT bytes FROM chunk_tables WHERE sha256 = ?',
  );
  const all = db.prepare<[], { readonly sha256: string }>('SELECT sha256 FROM chunk_tables');
  const remove = db.prepare<[string]>('DELETE FROM chunk_tables WHERE sha256 = ?');
  const expected = new Set<string>();
  return {
    put(sha256, bytes) {
      onCatalogue('record chunk table', path, () => insert.run(sha256, bytes));
      expected.add(sha256);
    },
    get: (sha256) => onCatalogue('read chunk table', path, () => select.get(sha256)?.bytes),
    named: (sha256) => void expected.delete(sha256),
    drop(sha256) {
      if (expected.has(sha256)) return;
      onCatalogue('forget chunk table', path, () => remove.run(sha256));
    },
    prune: (isUsed) =>
      onCatalogue('forget chunk tables', path, () => {
        const unused = all.all().filter(({ sha256 }) => !isUsed(sha256));
        for (const { sha256 } of unused) remove.run(sha256);
        return unused.length;
      }),
  };
}
