// What an import that is under way leaves in Ceph, beside the images that it makes: omap object `siphon.imports` of their pool and
// namespace, key the export's id. By it an interrupted import goes on, or is undone, by any host.

import type { Pool } from 'ceph-napi';
import type { Mark } from '../../../export-file/index.ts';
import type { SnapshotSet } from '../../../wire/vocabulary.ts';
import type { Session } from '../ceph/connections.ts';
import { readEntries, readEntry, writeEntry } from '../ceph/omap.ts';

const OBJECT = 'siphon.imports';
/** Images that are not whole are called so, and only those are ever removed. */
export const UNFINISHED_MARK = 'siphon.import.';

export interface ImportDisk {
  readonly target: string;
  /** Absent while the image may not be made yet. */
  readonly imageId?: string;
  /** As it is called when it is whole. */
  readonly name: string;
  /** Of an incremental import: the snapshot whose state it goes back to. */
  readonly base?: { readonly snapId: number; readonly snap: string };
}

export interface ImportRecord {
  readonly schema: 1;
  readonly id: string;
  readonly host: string;
  /** Who writes, as Ceph prints it: should that die, its locks are siphon's to drop. */
  readonly client: string;
  readonly atMs: number;
  readonly setId: string;
  readonly isIncremental: boolean;
  readonly disks: readonly ImportDisk[];
  /** All before it is written, safe, and read back; absent: nothing is. */
  readonly mark?: Mark;
  /** All bytes are there: what is left is to name them. The set, without what is known then. */
  readonly whole?: SnapshotSet;
}

export function unfinishedName({ id }: Pick<ImportRecord, 'id'>, target: string): string {
  return `${UNFINISHED_MARK}${id}.${target}`;
}

/** undefined: there is none that this siphon can read. */
export async function readRecord(
  session: Session,
  pool: Pool,
  id: string,
): Promise<ImportRecord | undefined> {
  const value = await readEntry(session, pool, OBJECT, id);
  return value && parse(value);
}

/** Those of all hosts that this siphon can read. */
export async function readRecords(session: Session, pool: Pool): Promise<ImportRecord[]> {
  const entries = await readEntries(session, pool, OBJECT);
  return [...entries.values()].flatMap((value) => parse(value) ?? []);
}

function parse(value: Buffer): ImportRecord | undefined {
  const record = JSON.parse(value.toString('utf8')) as ImportRecord;
  return record.schema === 1 ? record : undefined;
}

export async function writeRecord(
  session: Session,
  pool: Pool,
  record: ImportRecord,
): Promise<void> {
  await writeEntry(session, pool, OBJECT, record.id, record);
}

export async function removeRecord(session: Session, pool: Pool, id: string): Promise<void> {
  await writeEntry(session, pool, OBJECT, id, undefined);
}
