// The shelf of jobs, under the journal. Open jobs stay; of those that have ended, the newest.

import type { WireError } from '../../wire/errors.ts';
import type { JobKind, JobRecord, JobState } from '../../wire/journal.ts';
import { type Db, onCatalogue } from './sqlite.ts';

/** How many ended jobs are kept. */
export const ENDED_JOBS_MAX = 1000;

export interface JobShelf {
  /** Writes a whole record, new or known by its id. */
  put(record: JobRecord): void;
  get(id: string): JobRecord | undefined;
  /** The oldest first. */
  open(): readonly JobRecord[];
  /** The newest first. */
  list(limit: number): readonly JobRecord[];
}

interface Stored {
  readonly id: string;
  readonly kind: string;
  readonly subject: string;
  readonly state: string;
  readonly step: string;
  readonly data: string;
  readonly error: string | null;
  readonly result: string | null;
  readonly created_at_ms: number;
  readonly updated_at_ms: number;
}

export function openJobs(db: Db, path: string): JobShelf {
  const insert = db.prepare<Stored>(`INSERT INTO jobs VALUES
    (@id, @kind, @subject, @state, @step, @data, @error, @result, @created_at_ms, @updated_at_ms)
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, step = excluded.step, data = excluded.data,
      error = excluded.error, result = excluded.result, updated_at_ms = excluded.updated_at_ms`);
  const prune = db.prepare<[number]>(`DELETE FROM jobs WHERE state <> 'open' AND id IN
    (SELECT id FROM jobs WHERE state <> 'open' ORDER BY updated_at_ms DESC, rowid DESC LIMIT -1 OFFSET ?)`);
  const byId = db.prepare<[string], Stored>('SELECT * FROM jobs WHERE id = ?');
  const open = db.prepare<[], Stored>(
    "SELECT * FROM jobs WHERE state = 'open' ORDER BY created_at_ms, rowid",
  );
  const newest = db.prepare<[number], Stored>(
    'SELECT * FROM jobs ORDER BY created_at_ms DESC, rowid DESC LIMIT ?',
  );
  const put = db.transaction((record: JobRecord) => {
    insert.run(storedOf(record));
    if (record.state !== 'open') prune.run(ENDED_JOBS_MAX);
  });
  return {
    put: (record) => onCatalogue('record job', path, () => put(record)),
    get(id) {
      const stored = byId.get(id);
      return stored && recordOf(stored);
    },
    open: () => open.all().map(recordOf),
    list: (limit) => newest.all(limit).map(recordOf),
  };
}

function storedOf(record: JobRecord): Stored {
  const { id, kind, subject, state, step, data, error, result } = record;
  return {
    id,
    kind,
    subject,
    state,
    step,
    data: JSON.stringify(data ?? null),
    error: error === undefined ? null : JSON.stringify(error),
    result: result === undefined ? null : JSON.stringify(result),
    created_at_ms: Math.trunc(record.createdAtMs),
    updated_at_ms: Math.trunc(record.updatedAtMs),
  };
}

function recordOf(stored: Stored): JobRecord {
  return {
    id: stored.id,
    kind: stored.kind as JobKind,
    subject: stored.subject,
    state: stored.state as JobState,
    step: stored.step,
    data: JSON.parse(stored.data) as unknown,
    ...(stored.error === null ? {} : { error: JSON.parse(stored.error) as WireError }),
    ...(stored.result === null ? {} : { result: JSON.parse(stored.result) as unknown }),
    createdAtMs: stored.created_at_ms,
    updatedAtMs: stored.updated_at_ms,
  };
}
