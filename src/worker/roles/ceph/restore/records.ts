// Restores that can be undone: omap object `siphon.restores`, key the restore's id, in each pool and namespace that holds one of its disks.

import type { Pool } from 'ceph-napi';
import type { FoundRestore, NameAt, RestoreRecord } from '../../../../wire/restore-protocol.ts';
import type { Session } from '../connections.ts';
import { eachPlace } from '../each-place.ts';
import { readEntries, writeEntry } from '../omap.ts';
import { openPool, placeOf } from '../open.ts';
import { assertFsid, unlessMissing } from '../source.ts';
import { type Names, readNames } from './names.ts';

const OBJECT = 'siphon.restores';

export async function writeRestore(
  session: Session,
  record: RestoreRecord,
  isThere: boolean,
): Promise<null> {
  assertFsid(session, record.fsid, `restore ${record.id}`);
  const places = new Map(record.disks.map(({ to }) => [`${to.poolId} ${to.namespace}`, to]));
  for (const { poolId, namespace } of places.values()) {
    const open = await unlessMissing(openPool(session, poolId, namespace));
    if (!open) continue;
    await using pool = open;
    await writeEntry(session, pool, OBJECT, record.id, isThere ? record : undefined);
  }
  return null;
}

/** Of all pools and their namespaces that the user may read. */
export async function findRestores(session: Session): Promise<readonly FoundRestore[]> {
  const found = new Map<string, RestoreRecord>();
  await eachPlace(session, 'look for restores', async (pool) => {
    for (const record of await recordsIn(session, pool)) found.set(record.id, record);
  });
  const newestFirst = [...found.values()].toSorted((a, b) => b.createdAtMs - a.createdAtMs);
  return await withPurged(session, newestFirst);
}

/** Each pool's names are read once. */
async function withPurged(
  session: Session,
  records: readonly RestoreRecord[],
): Promise<FoundRestore[]> {
  const read = new Map<string, Names | undefined>();
  const namesAt = async ({ poolId, namespace }: NameAt) => {
    const place = `${poolId} ${namespace}`;
    if (!read.has(place)) read.set(place, await namesIn(session, poolId, namespace));
    return read.get(place);
  };
  const told: FoundRestore[] = [];
  for (const record of records) {
    let isPurged = false;
    for (const { to, oldId } of record.disks) {
      if (oldId === undefined) continue;
      isPurged ||= (await namesAt(to))?.isTrashed(oldId) !== true;
    }
    told.push(isPurged ? { ...record, isPurged } : record);
  }
  return told;
}

async function namesIn(
  session: Session,
  poolId: number,
  namespace: string,
): Promise<Names | undefined> {
  const open = await unlessMissing(openPool(session, poolId, namespace));
  if (!open) return undefined;
  await using pool = open;
  return await readNames(session, pool);
}

async function recordsIn(session: Session, pool: Pool): Promise<RestoreRecord[]> {
  const entries = await readEntries(session, pool, OBJECT);
  return [...entries].flatMap(([id, value]) => {
    const record = parseRecord(value.toString('utf8'));
    if (record?.id === id) return [record];
    console.error(`${OBJECT} in ${placeOf(pool)}: ${id} is no restore of schema 1`);
    return [];
  });
}

function parseRecord(text: string): RestoreRecord | undefined {
  try {
    const record = JSON.parse(text) as RestoreRecord | null;
    return record?.schema === 1 && Array.isArray(record.disks) ? record : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
