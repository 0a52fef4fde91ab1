// siphon's properties record beside an image: omap object `siphon.sources` in the image's pool and namespace, key `IMAGEID@SNAPID`.
// A record that is there but cannot be read is an error, never "none": what it says must be checked may not be lost.

import type { Pool } from 'ceph-napi';
import { OperatingError } from '../../../wire/errors.ts';
import type { SourceIds, SourceProperties } from '../../../wire/vocabulary.ts';
import type { CephMethods } from '../../../wire/worker-protocol.ts';
import type { Session } from './connections.ts';
import { readEntry, readKeys, writeEntry } from './omap.ts';
import { openPool } from './open.ts';
import { assertFsid } from './source.ts';

const OBJECT = 'siphon.sources';

export async function readProperties(
  session: Session,
  pool: Pool,
  ids: SourceIds,
): Promise<SourceProperties | undefined> {
  const key = keyOf(ids);
  const value = await readEntry(session, pool, OBJECT, key);
  return value && parseRecord(value.toString('utf8'), key);
}

/** Keys of one read: with the longest of records some hundred KiB. */
const KEYS_MAX = 256;

/** A few reads for all of them; a record that cannot be read is told as that. */
export async function readStatuses(
  session: Session,
  { fsid, poolId, namespace, sources }: CephMethods['readStatuses']['params'],
): Promise<CephMethods['readStatuses']['result']> {
  assertFsid(session, fsid, `pool ${poolId}`);
  await using pool = await openPool(session, poolId, namespace);
  const keys = sources.map(keyOf);
  const found = new Map<string, Buffer>();
  for (let from = 0; from < keys.length; from += KEYS_MAX) {
    const some = keys.slice(from, from + KEYS_MAX);
    for (const [key, value] of await readKeys(session, pool, OBJECT, some)) found.set(key, value);
  }
  return keys.map((key) => statusIn(found.get(key), key));
}

function statusIn(value: Buffer | undefined, key: string): 'on' | 'off' | 'unreadable' {
  if (value === undefined) return 'on';
  try {
    return parseRecord(value.toString('utf8'), key).status === 'deactivated' ? 'off' : 'on';
  } catch (error) {
    if (error instanceof OperatingError) return 'unreadable';
    throw error;
  }
}

/** null removes the record. */
export async function setProperties(
  session: Session,
  ids: SourceIds,
  properties: SourceProperties | null,
): Promise<null> {
  assertFsid(session, ids.fsid, keyOf(ids));
  await using pool = await openPool(session, ids.poolId, ids.namespace);
  const record = properties === null ? undefined : { schema: 1, properties };
  await writeEntry(session, pool, OBJECT, keyOf(ids), record);
  return null;
}

function keyOf({ imageId, snapId }: Pick<SourceIds, 'imageId' | 'snapId'>): string {
  return `${imageId}@${snapId}`;
}

/** @throws OperatingError corrupt; mismatch for a newer siphon's record */
export function parseRecord(text: string, key: string): SourceProperties {
  const step = { op: 'read properties record', subject: `${OBJECT} ${key}` };
  const hint = 'Write it anew with `siphon describe`.';
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch (cause) {
    throw new OperatingError({ ...step, code: 'corrupt', hint, cause });
  }
  if (!isObject(record) || !isObject(record.properties)) {
    throw new OperatingError({ ...step, code: 'corrupt', why: 'it is no such record', hint });
  }
  if (record.schema !== 1) {
    const why = `its schema is ${String(record.schema)}, not 1`;
    throw new OperatingError({ ...step, code: 'mismatch', why, hint });
  }
  const entries = Object.entries(record.properties);
  if (entries.some(([, value]) => typeof value !== 'string')) {
    throw new OperatingError({ ...step, code: 'corrupt', why: 'a property is no text', hint });
  }
  return record.properties;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
