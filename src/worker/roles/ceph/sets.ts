// Snapshot sets in Ceph: omap object `siphon.sets`, key the set's id, in each pool and namespace that holds one of its disks; and beside its
// first disk an object for each file that it keeps.

import {
  errno,
  isErrno,
  listNamespaces,
  type Pool,
  readObject,
  removeObject,
  writeObject,
} from 'ceph-napi';
import { OperatingError } from '../../../wire/errors.ts';
import type { SetDisk, SnapshotSet } from '../../../wire/vocabulary.ts';
import type { CephMethods } from '../../../wire/worker-protocol.ts';
import { during } from '../../translate-error.ts';
import type { Session } from './connections.ts';
import { readEntries, writeEntry } from './omap.ts';
import { inImage, openPool, placeOf } from './open.ts';
import { assertFsid, unlessMissing } from './source.ts';

const OBJECT = 'siphon.sets';

export async function putSet(session: Session, set: SnapshotSet): Promise<null> {
  assertFsid(session, set.fsid, `set ${set.id}`);
  for (const { poolId, namespace } of placesOf(set)) {
    await using pool = await openPool(session, poolId, namespace);
    await writeEntry(session, pool, OBJECT, set.id, set);
  }
  return null;
}

type Kept = CephMethods['keepFile']['params'];

/** Under the prefix that the user's caps name. */
const objectOf = (setId: string, what: Kept['what']) => `${OBJECT}.${setId}.${what}`;

/** Whole, over what is there. */
export async function keepFile(
  session: Session,
  { set, what, base64 }: Kept,
): Promise<CephMethods['keepFile']['result']> {
  assertFsid(session, set.fsid, `set ${set.id}`);
  const object = objectOf(set.id, what);
  const { poolId, namespace } = firstPlaceOf(set);
  await using pool = await openPool(session, poolId, namespace);
  await inImage(session, pool, `write ${object}`, placeOf(pool), () =>
    writeObject(pool, object, Buffer.from(base64, 'base64')),
  );
  return { object };
}

const KEPT_BYTES_MAX = 4 * 1024 * 1024;

/** @throws OperatingError not-found: there is no copy */
export async function readKept(
  session: Session,
  { set, what }: Pick<Kept, 'set' | 'what'>,
): Promise<{ readonly base64: string }> {
  assertFsid(session, set.fsid, `set ${set.id}`);
  const object = objectOf(set.id, what);
  const { poolId, namespace } = firstPlaceOf(set);
  await using pool = await openPool(session, poolId, namespace);
  return await inImage(session, pool, `read ${object}`, placeOf(pool), async () => {
    return { base64: (await readObject(pool, object, KEPT_BYTES_MAX)).toString('base64') };
  });
}

/** Also what the set does not claim: its copy may have been made just before siphond ended. */
async function removeKept(session: Session, set: SnapshotSet): Promise<void> {
  const { keptFiles = [] } = set;
  if (keptFiles.length === 0) return;
  const { poolId, namespace } = firstPlaceOf(set);
  const open = await unlessMissing(openPool(session, poolId, namespace));
  if (!open) return;
  await using pool = open;
  for (const { what } of keptFiles) {
    const object = objectOf(set.id, what);
    await inImage(session, pool, `remove ${object}`, placeOf(pool), () =>
      removeIfThere(pool, object),
    );
  }
}

async function removeIfThere(pool: Pool, object: string): Promise<void> {
  try {
    await removeObject(pool, object);
  } catch (error) {
    if (!isErrno(error, errno.ENOENT)) throw error;
  }
}

/** Idempotent; a pool that is gone holds no record. What the set keeps goes first: the record leads to it. */
export async function removeSet(session: Session, set: SnapshotSet): Promise<null> {
  assertFsid(session, set.fsid, `set ${set.id}`);
  await removeKept(session, set);
  for (const { poolId, namespace } of placesOf(set)) {
    const pool = await unlessMissing(openPool(session, poolId, namespace));
    if (!pool) continue;
    await using open = pool;
    await writeEntry(session, open, OBJECT, set.id, undefined);
  }
  return null;
}

/** Records that this siphon cannot read (a newer one's) are named in the log and left alone. */
export async function setsIn(session: Session, pool: Pool): Promise<SnapshotSet[]> {
  const sets: SnapshotSet[] = [];
  for (const [id, value] of await readEntries(session, pool, OBJECT)) {
    const set = parseSet(value.toString('utf8'));
    if (set && set.id === id) sets.push(set);
    else console.error(`${OBJECT} in ${placeOf(pool)}: ${id} is no set of schema 1`);
  }
  return sets;
}

/** A set of several pools is in each of them, and told once. */
export async function findSets(session: Session): Promise<CephMethods['findSets']['result']> {
  const found = new Map<string, SnapshotSet>();
  const closed: string[] = [];
  const look = async (name: string, namespace: string) => {
    const pool = await unlessMissing(openPool(session, name, namespace));
    if (!pool) return [];
    await using open = pool;
    const step = { op: 'look for sets', subject: placeOf(open) };
    try {
      for (const set of await setsIn(session, open)) found.set(set.id, set);
      return namespace === '' ? await during(step, () => listNamespaces(open)) : [];
    } catch (error) {
      if (!(error instanceof OperatingError) || error.code !== 'denied') throw error;
      closed.push(placeOf(open));
      return [];
    }
  };
  const step = { op: 'list pools', subject: session.fsid };
  for (const name of await during(step, () => session.cluster.listPools())) {
    for (const namespace of await look(name, '')) await look(name, namespace);
  }
  return { sets: [...found.values()], closed };
}

function parseSet(text: string): SnapshotSet | undefined {
  try {
    const set = JSON.parse(text) as SnapshotSet | null;
    return set?.schema === 1 && Array.isArray(set.disks) ? set : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

type Place = Pick<SetDisk, 'poolId' | 'namespace'>;

function firstPlaceOf({ id, disks: [first] }: Pick<SnapshotSet, 'id' | 'disks'>): Place {
  if (first !== undefined) return first;
  const why = 'it has no disk, so there is no pool for its record';
  throw new OperatingError({ code: 'usage', op: 'record set', subject: id, why });
}

function placesOf(set: SnapshotSet): Place[] {
  firstPlaceOf(set);
  const { disks } = set;
  return [...new Map(disks.map((disk) => [`${disk.poolId} ${disk.namespace}`, disk])).values()];
}
