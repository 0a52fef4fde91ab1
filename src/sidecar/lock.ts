// One siphond for one state: a second would take the first one's open jobs for those of a life that is over. Node has no
// flock(2); SQLite's lock on a file of its own goes with the process, however that ends.

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { OperatingError } from '../wire/errors.ts';

const WAIT_MS_MAX = 1000;

/** Makes the state's folder where it is not there. @throws OperatingError busy: another siphond has it; unavailable */
export function lockState(statePath: string): Disposable {
  const path = `${statePath}.lock`;
  const fields = { op: 'lock state', subject: path } as const;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    const lock = new Database(path, { timeout: WAIT_MS_MAX });
    lock.exec('BEGIN EXCLUSIVE');
    return { [Symbol.dispose]: () => void lock.close() };
  } catch (cause) {
    const isHeld = cause instanceof Database.SqliteError && cause.code.startsWith('SQLITE_BUSY');
    if (isHeld)
      throw new OperatingError({ ...fields, code: 'busy', why: 'another siphond has it', cause });
    throw new OperatingError({ ...fields, code: 'unavailable', cause });
  }
}
