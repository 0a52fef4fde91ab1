// The catalogue: one SQLite file, what siphon claims to have. Disk, libvirt and Ceph are the authority; this can be rebuilt.

import { closeSync, openSync } from 'node:fs';
import Database from 'better-sqlite3';
import { codeOfErrno, OperatingError } from '../../wire/errors.ts';
import type { SetCatalogue } from '../../wire/ports.ts';
import { type BaseShelf, openBases } from './bases.ts';
import { type JobShelf, openJobs } from './jobs.ts';
import { type LeaseShelf, openLeases } from './leases.ts';
import { MIGRATIONS } from './migrations.ts';
import { openPauses, type PauseShelf } from './pauses.ts';
import { openPins, type PinShelf } from './pins.ts';
import { openSets } from './sets.ts';
import { type Db, onCatalogue } from './sqlite.ts';
import { openTables, type TableShelf } from './tables.ts';

export interface Catalogue extends Disposable {
  readonly bases: BaseShelf;
  readonly tables: TableShelf;
  readonly pins: PinShelf;
  readonly leases: LeaseShelf;
  readonly jobs: JobShelf;
  readonly sets: SetCatalogue;
  readonly pauses: PauseShelf;
}

const OP = 'open catalogue';
const BUSY_TIMEOUT_MS = 2000;

/**
 * Opens the catalogue, makes it where there is none, and brings its schema up to date. Every write is on disk when it returns.
 * @throws OperatingError `corrupt`; `mismatch` for the catalogue of a newer siphon; `denied`, `unavailable`, `exhausted`.
 */
export function openCatalogue(path: string): Catalogue {
  createPrivately(path);
  return onCatalogue(OP, path, () => {
    const db = new Database(path, { timeout: BUSY_TIMEOUT_MS });
    try {
      prepare(db, path);
      return shelves(db, path);
    } catch (error) {
      db.close();
      throw error;
    }
  });
}

/** Mode 0600: domain XML is in it. SQLite gives -wal and -shm the same. */
function createPrivately(path: string): void {
  try {
    closeSync(openSync(path, 'a', 0o600));
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).errno;
    if (errno === undefined) throw cause;
    throw new OperatingError({ code: codeOfErrno(-errno), op: OP, subject: path, cause });
  }
}

function prepare(db: Db, path: string): void {
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('foreign_keys = ON');
  const [check] = db.pragma('quick_check(1)', { simple: false }) as { quick_check: string }[];
  if (check?.quick_check !== 'ok') {
    const hint = 'Stop siphond and move it aside: siphon rebuilds it from the files of the bases.';
    const why = check?.quick_check ?? 'SQLite could not check it';
    throw new OperatingError({ code: 'corrupt', op: OP, subject: path, why, hint });
  }
  migrate(db, path);
}

function migrate(db: Db, path: string): void {
  const found = db.pragma('user_version', { simple: true }) as number;
  if (found > MIGRATIONS.length) {
    const why = `its schema is version ${found}, and this siphon knows up to ${MIGRATIONS.length}`;
    const hint = 'A newer siphon wrote it: install that one again, or move the file aside.';
    throw new OperatingError({ code: 'mismatch', op: OP, subject: path, why, hint });
  }
  for (const [version, sql] of MIGRATIONS.entries()) {
    if (version < found) continue;
    db.transaction(() => {
      db.exec(sql);
      db.pragma(`user_version = ${version + 1}`);
    }).exclusive();
  }
}

function shelves(db: Db, path: string): Catalogue {
  const tables = openTables(db, path);
  return {
    bases: openBases(db, path, tables),
    tables,
    pins: openPins(db, path),
    leases: openLeases(db, path),
    jobs: openJobs(db, path),
    sets: openSets(db, path),
    pauses: openPauses(db, path),
    [Symbol.dispose]: () => {
      db.close();
    },
  };
}
