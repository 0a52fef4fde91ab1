// A catalogue with many bases and domains on them, written at once: for what must hold, and be quick, with ten thousand.

import path from 'node:path';
import Database from 'better-sqlite3';
import { openCatalogue } from '../../src/cache/index.ts';
import { baseId } from '../../src/domain/base-path.ts';
import type { SourceIds, Verification } from '../../src/wire/vocabulary.ts';

export interface ManyBase {
  readonly verification: Verification;
  readonly signatures?: readonly string[];
  /** Domains that lease it. */
  readonly holders?: readonly {
    readonly uuid: string;
    readonly name: string;
    readonly kind: 'running' | 'defined';
  }[];
}

const FSID = '7b7e4c4e-6c1a-4b7e-9a55-0d7c5e0a9b11';

const idsAt = (at: number): SourceIds => ({
  fsid: FSID,
  poolId: 3,
  namespace: '',
  imageId: (0x10_0000 + at).toString(16),
  snapId: 4,
});

/** The id of the base at a place of the list. */
export const manyBaseId = (at: number): string => baseId(idsAt(at));

/** Writes `siphon.db` into a folder; its bases are ready, and have no files. */
export function writeManyBases(folder: string, bases: readonly ManyBase[]): void {
  const file = path.join(folder, 'siphon.db');
  openCatalogue(file)[Symbol.dispose]();
  const db = new Database(file);
  try {
    const base = db.prepare(`INSERT INTO bases (id, state, name, format, source_format,
      virtual_size_bytes, source_size_bytes, allocated_bytes, digests, verification, signatures,
      file, created_at_ms, last_used_at_ms)
      VALUES (?, 'ready', ?, 'qcow2', 'raw', 1, 1, 1, '{"sha256":"aa"}', ?, ?, ?, 1, 1)`);
    const lease = db.prepare("INSERT INTO leases VALUES (?, 'qcow2', ?, ?, ?)");
    db.transaction(() => {
      for (const [at, { verification, signatures = [], holders = [] }] of bases.entries()) {
        const name = { fsid: FSID, pool: 'images', namespace: '', image: `i${at}`, snap: 's' };
        const file = JSON.stringify({ sizeBytes: 1, mtimeMs: 1 });
        const told = [name, verification, signatures].map((each) => JSON.stringify(each));
        base.run(manyBaseId(at), ...told, file);
        for (const { uuid, name: domain, kind } of holders)
          lease.run(manyBaseId(at), uuid, domain, kind);
      }
    })();
  } finally {
    db.close();
  }
}
