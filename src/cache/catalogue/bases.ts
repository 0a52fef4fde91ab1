// The shelf of bases. What it holds is in memory too, written after the disk has it, so that reading costs no SQL.

import assert from 'node:assert/strict';
import { parseBaseId } from '../../domain/base-path.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { FileHead } from '../../wire/scrub-protocol.ts';
import type { Base, BaseState, ChunkTableRef, DiskFormat } from '../../wire/vocabulary.ts';
import { type BaseEvent, transition } from '../states.ts';
import { type Db, onCatalogue } from './sqlite.ts';
import type { TableShelf } from './tables.ts';

/** A base's row: what of a Base is its own, and what only siphond needs. */
export interface BaseRow extends Omit<Base, 'isPinned' | 'leases'> {
  /** The signatures (base64) that were found good for its bytes. */
  readonly signatures: readonly string[];
  /** Its file as it was published; undefined before that. */
  readonly file?: FileFacts;
  /** Why it is suspect: suspicion.ts reads it. */
  readonly problem?: string | undefined;
  /** It is suspect for its file, if not for doubts alone: a scrub settles that. */
  readonly isFileInDoubt?: true | undefined;
}

/** By these a file is known again. */
export interface FileFacts {
  readonly sizeBytes: number;
  readonly mtimeMs: number;
  /** Absent: an earlier siphon recorded it. */
  readonly inode?: number;
  /** Absent: it has none, or an earlier siphon made it. */
  readonly head?: FileHead;
  /** Its digest (SHA-256, hex), where the kernel lets nobody change it. */
  readonly fsVerity?: string;
}

export interface BaseShelf {
  get(id: string): BaseRow | undefined;
  all(): readonly BaseRow[];
  /** Writes the whole row of a base that comes in. Asserts that it may. */
  enter(event: 'reserve' | 'adopted', row: Omit<BaseRow, 'state'>): BaseRow;
  /** Moves a base by the table of states. undefined: its row is gone now. Asserts that it may. */
  move(id: string, event: BaseEvent, change?: Partial<BaseRow>): BaseRow | undefined;
  /** Makes several suspect at once, on disk together. */
  doubt(found: readonly { readonly id: string; readonly problem: string }[]): void;
  /** Changes facts of a base that is there, not its state. */
  amend(id: string, change: Partial<Omit<BaseRow, 'id' | 'state'>>): BaseRow;
}

interface Stored {
  readonly id: string;
  readonly state: string;
  readonly name: string;
  readonly format: string;
  readonly source_format: string;
  readonly virtual_size_bytes: number;
  readonly source_size_bytes: number;
  readonly allocated_bytes: number;
  readonly digests: string;
  readonly chunk_table: string | null;
  readonly verification: string;
  readonly signatures: string;
  readonly file: string | null;
  readonly problem: string | null;
  readonly created_at_ms: number;
  readonly last_used_at_ms: number;
  readonly scrubbed_at_ms: number | null;
  readonly is_file_in_doubt: number;
}

const COLUMNS = [
  'id',
  'state',
  'name',
  'format',
  'source_format',
  'virtual_size_bytes',
  'source_size_bytes',
  'allocated_bytes',
  'digests',
  'chunk_table',
  'verification',
  'signatures',
  'file',
  'problem',
  'created_at_ms',
  'last_used_at_ms',
  'scrubbed_at_ms',
  'is_file_in_doubt',
] as const satisfies readonly (keyof Stored)[];

export function openBases(db: Db, path: string, tables: TableShelf): BaseShelf {
  const insert = db.prepare<Stored>(
    `INSERT OR REPLACE INTO bases (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map((each) => `@${each}`).join(', ')})`,
  );
  const insertAll = db.transaction((all: readonly Stored[]) => {
    for (const each of all) insert.run(each);
  });
  const remove = db.prepare<[string]>('DELETE FROM bases WHERE id = ?');
  const rows = new Map<string, BaseRow>();
  for (const stored of db.prepare<[], Stored>('SELECT * FROM bases').iterate()) {
    rows.set(stored.id, rowOf(stored, path));
  }
  const dropTable = (sha256: string | undefined) => {
    if (sha256 === undefined) return;
    for (const { chunkTable } of rows.values()) if (chunkTable?.sha256 === sha256) return;
    tables.drop(sha256);
  };
  const put = (row: BaseRow, named?: ChunkTableRef): BaseRow => {
    onCatalogue('record base', path, () => insert.run(storedOf(row)));
    const before = rows.get(row.id)?.chunkTable?.sha256;
    rows.set(row.id, row);
    if (named !== undefined) tables.named(named.sha256);
    if (row.chunkTable?.sha256 !== before) dropTable(before);
    return row;
  };
  const next = (id: string, event: BaseEvent) => {
    const verdict = transition(rows.get(id)?.state ?? 'absent', event);
    assert(verdict.kind === 'to', `base ${id}: ${verdict.kind === 'to' ? '' : verdict.reason}`);
    return verdict.state;
  };
  return {
    get: (id) => rows.get(id),
    all: () => [...rows.values()],
    enter(event, row) {
      const state = next(row.id, event);
      assert(state !== 'absent');
      return put({ ...row, state });
    },
    move(id, event, change = {}) {
      const state = next(id, event);
      const row = rows.get(id);
      assert(row !== undefined, `base ${id} comes in by enter`);
      // Whoever does not say that it is for its file doubts something else, which a look at the file must not settle.
      const doubt = event === 'damaged' ? { isFileInDoubt: undefined } : {};
      if (state !== 'absent')
        return put({ ...row, ...doubt, ...change, id, state }, change.chunkTable);
      onCatalogue('forget base', path, () => remove.run(id));
      rows.delete(id);
      dropTable(row.chunkTable?.sha256);
      return undefined;
    },
    doubt(found) {
      const next = found.map(({ id, problem }) => doubtedRow(rows.get(id), problem));
      onCatalogue('record bases', path, () => insertAll(next.map(storedOf)));
      for (const row of next) rows.set(row.id, row);
    },
    amend(id, change) {
      const row = rows.get(id);
      assert(row !== undefined, `base ${id} is not in the catalogue`);
      return put({ ...row, ...change }, change.chunkTable);
    },
  };
}

function doubtedRow(row: BaseRow | undefined, problem: string): BaseRow {
  const verdict = transition(row?.state ?? 'absent', 'doubted');
  assert(row !== undefined && verdict.kind === 'to' && verdict.state === 'suspect');
  return { ...row, state: verdict.state, problem };
}

function storedOf(row: BaseRow): Stored {
  return {
    id: row.id,
    state: row.state,
    name: JSON.stringify(row.name),
    format: row.format,
    source_format: row.sourceFormat,
    virtual_size_bytes: row.virtualSizeBytes,
    source_size_bytes: row.sourceSizeBytes,
    allocated_bytes: row.allocatedBytes,
    digests: JSON.stringify(row.digests),
    chunk_table: row.chunkTable === undefined ? null : JSON.stringify(row.chunkTable),
    verification: JSON.stringify(row.verification),
    signatures: JSON.stringify(row.signatures),
    file: row.file === undefined ? null : JSON.stringify(row.file),
    problem: row.problem ?? null,
    created_at_ms: Math.trunc(row.createdAtMs),
    last_used_at_ms: Math.trunc(row.lastUsedAtMs),
    scrubbed_at_ms: row.scrubbedAtMs === undefined ? null : Math.trunc(row.scrubbedAtMs),
    is_file_in_doubt: row.isFileInDoubt ? 1 : 0,
  };
}

function rowOf(stored: Stored, path: string): BaseRow {
  const ids = parseBaseId(stored.id);
  if (ids === null) {
    const why = `it holds '${stored.id}', which is no base's id`;
    throw new OperatingError({ code: 'corrupt', op: 'read catalogue', subject: path, why });
  }
  return {
    id: stored.id,
    ids,
    name: JSON.parse(stored.name) as BaseRow['name'],
    state: stored.state as BaseState,
    format: stored.format as DiskFormat,
    sourceFormat: stored.source_format as DiskFormat,
    virtualSizeBytes: stored.virtual_size_bytes,
    sourceSizeBytes: stored.source_size_bytes,
    allocatedBytes: stored.allocated_bytes,
    digests: JSON.parse(stored.digests) as BaseRow['digests'],
    ...(stored.chunk_table === null
      ? {}
      : { chunkTable: JSON.parse(stored.chunk_table) as ChunkTableRef }),
    verification: JSON.parse(stored.verification) as BaseRow['verification'],
    signatures: JSON.parse(stored.signatures) as BaseRow['signatures'],
    ...(stored.file === null ? {} : { file: JSON.parse(stored.file) as FileFacts }),
    ...(stored.problem === null ? {} : { problem: stored.problem }),
    createdAtMs: stored.created_at_ms,
    lastUsedAtMs: stored.last_used_at_ms,
    ...(stored.scrubbed_at_ms === null ? {} : { scrubbedAtMs: stored.scrubbed_at_ms }),
    ...(stored.is_file_in_doubt === 1 ? { isFileInDoubt: true as const } : {}),
  };
}
