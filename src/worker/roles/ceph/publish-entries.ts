// siphon's own record of images that it is making out of snapshots, in their pool: omap object `siphon.publishing`, by the name under
// which each was begun. So that what a host left that is no more can be found, and told from what is somebody else's.

import { listNamespaces, type Pool } from 'ceph-napi';
import { OperatingError } from '../../../wire/errors.ts';
import type { CloneAt, PublishEntry, PublishMethods } from '../../../wire/publish-protocol.ts';
import { during } from '../../translate-error.ts';
import type { Session } from './connections.ts';
import { readEntries, writeEntry } from './omap.ts';
import { openPool, placeOf } from './open.ts';
import { imagesOf } from './publish-look.ts';
import { unlessMissing } from './source.ts';

const OBJECT = 'siphon.publishing';

export function putPublishEntry(
  session: Session,
  pool: Pool,
  marked: string,
  entry: PublishEntry | undefined,
): Promise<void> {
  return writeEntry(session, pool, OBJECT, marked, entry);
}

/** Idempotent; a pool that is gone has no entry. */
export async function dropEntry(session: Session, at: CloneAt): Promise<null> {
  const pool = await unlessMissing(openPool(session, at.poolId, at.namespace));
  if (!pool) return null;
  await using open = pool;
  await putPublishEntry(session, open, at.marked, undefined);
  return null;
}

type Found = PublishMethods['findEntries']['result'];

export async function findEntries(
  session: Session,
  { pool, namespace = '' }: PublishMethods['findEntries']['params'],
): Promise<Found> {
  if (pool !== undefined) {
    await using open = await openPool(session, pool, namespace);
    return await entriesIn(session, open);
  }
  const step = { op: 'list pools', subject: session.fsid };
  const found: Found[number][] = [];
  for (const name of await during(step, () => session.cluster.listPools())) {
    found.push(...(await entriesOfPool(session, name)));
  }
  return found;
}

/** Of the namespaces, too. A pool that this user may not read has nothing that siphon made. */
async function entriesOfPool(session: Session, name: string): Promise<Found> {
  try {
    const found: Found[number][] = [];
    const namespaces = await during({ op: 'list namespaces', subject: name }, async () => {
      await using pool = await openPool(session, name, '');
      found.push(...(await entriesIn(session, pool)));
      return await listNamespaces(pool);
    });
    for (const namespace of namespaces) {
      await using pool = await openPool(session, name, namespace);
      found.push(...(await entriesIn(session, pool)));
    }
    return found;
  } catch (error) {
    const isClosed =
      error instanceof OperatingError && ['denied', 'not-found', 'refused'].includes(error.code);
    if (isClosed) return [];
    throw error;
  }
}

async function entriesIn(session: Session, pool: Pool): Promise<Found> {
  const entries = await readEntries(session, pool, OBJECT);
  if (entries.size === 0) return [];
  const images = await imagesOf(session, pool);
  return [...entries].flatMap(([marked, value]): Found => {
    const entry = parseEntry(value.toString('utf8'));
    if (entry === undefined) {
      console.error(`${OBJECT} in ${placeOf(pool)}: ${marked} is no entry of schema 1`);
      return [];
    }
    const { imageId } = entry;
    const of = { poolId: pool.id, namespace: pool.namespace, marked };
    const at = { ...of, ...(imageId !== undefined && { imageId }) };
    const image = images.find(({ id, name }) => name === marked || id === imageId);
    const state = image === undefined ? 'gone' : image.name === marked ? 'unnamed' : 'named';
    return [{ ...entry, at, pool: pool.name, state }];
  });
}

function parseEntry(text: string): PublishEntry | undefined {
  try {
    const entry = JSON.parse(text) as PublishEntry | null;
    return entry?.schema === 1 ? entry : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
