// siphon's own objects: omap tables of JSON values. An object that is not there is an empty table.

import { errno, isErrno, omapGet, omapGetAll, omapRemove, omapSet, type Pool } from 'ceph-napi';
import type { Session } from './connections.ts';
import { inImage, placeOf } from './open.ts';

/** The value of one key, or undefined. */
export async function readEntry(
  session: Session,
  pool: Pool,
  oid: string,
  key: string,
): Promise<Buffer | undefined> {
  return (await readKeys(session, pool, oid, [key])).get(key);
}

/** The values of those that are there. */
export async function readKeys(
  session: Session,
  pool: Pool,
  oid: string,
  keys: readonly string[],
): Promise<Map<string, Buffer>> {
  const subject = `${placeOf(pool)}/${oid} ${keys.length === 1 ? keys[0] : `(${keys.length} keys)`}`;
  return await inImage(session, pool, `read ${oid}`, subject, () =>
    absentAs(omapGet(pool, oid, keys), new Map<string, Buffer>()),
  );
}

export async function readEntries(
  session: Session,
  pool: Pool,
  oid: string,
): Promise<Map<string, Buffer>> {
  return await inImage(session, pool, `read ${oid}`, `${placeOf(pool)}/${oid}`, () =>
    absentAs(omapGetAll(pool, oid), new Map<string, Buffer>()),
  );
}

/** Sets a key to a value's JSON; undefined removes the key. */
export async function writeEntry(
  session: Session,
  pool: Pool,
  oid: string,
  key: string,
  value: unknown,
): Promise<void> {
  await inImage(session, pool, `write ${oid}`, `${placeOf(pool)}/${oid} ${key}`, () =>
    value === undefined
      ? absentAs(omapRemove(pool, oid, [key]), undefined)
      : omapSet(pool, oid, { [key]: JSON.stringify(value) }),
  );
}

/** `absent`, where there is no such object. */
export async function absentAs<T>(reading: Promise<T>, absent: T): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if (isErrno(error, errno.ENOENT)) return absent;
    throw error;
  }
}
