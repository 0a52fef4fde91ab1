// SQLite's failures as operating errors: a full disk or a broken file is the world's fault.

import Database from 'better-sqlite3';
import { type ErrorCode, OperatingError } from '../../wire/errors.ts';

export type Db = Database.Database;

/** Primary result codes (sqlite.org/rescode.html); an extended one begins with its primary one's name. */
const CODES: readonly (readonly [prefix: string, code: ErrorCode])[] = [
  ['SQLITE_CORRUPT', 'corrupt'],
  ['SQLITE_NOTADB', 'corrupt'],
  ['SQLITE_FULL', 'exhausted'],
  ['SQLITE_BUSY', 'busy'],
  ['SQLITE_LOCKED', 'busy'],
  ['SQLITE_PERM', 'denied'],
  ['SQLITE_READONLY', 'denied'],
  ['SQLITE_CANTOPEN', 'unavailable'],
  ['SQLITE_IOERR', 'unavailable'],
];
const HINTS: Partial<Record<ErrorCode, string>> = {
  corrupt:
    'Stop siphond and move the file (with its -wal and -shm) aside: siphon rebuilds it from the files of the bases.',
  busy: 'Another process has the catalogue open: only one siphond may.',
};

/** Runs `work` on the catalogue. @throws OperatingError where SQLite says that the world is at fault. */
export function onCatalogue<T>(op: string, path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw translate(op, path, cause);
  }
}

function translate(op: string, subject: string, cause: unknown): unknown {
  if (!(cause instanceof Database.SqliteError)) return cause;
  const code = CODES.find(([prefix]) => cause.code.startsWith(prefix))?.[1];
  // Anything else (a constraint, a misuse) is a defect.
  if (code === undefined) return cause;
  const hint = HINTS[code];
  return new OperatingError({ code, op, subject, cause, ...(hint === undefined ? {} : { hint }) });
}
