// siphon's own record of images that it is making out of snapshots, in their pool: omap object `siphon.publishing`, by the name under
// which each was begun. So that what a host left that is no more can be found, and told from what is somebody else's.

import type { Pool } from 'ceph-napi';
import type { CloneAt, PublishEntry, PublishMethods } from '../../../wire/publish-protocol.ts';
import type { Session } from './connections.ts';
import { eachPlace } from './each-place.ts';
import { readEntries, readEntry, writeEntry } from './omap.ts';
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

/** Writes nothing where there is none. */
export async function dropPublishEntry(
  session: Session,
  pool: Pool,
  marked: string,
): Promise<void> {
  const found = await readEntry(session, pool, OBJECT, marked);
  if (found !== undefined) await putPublishEntry(session, pool, marked, undefined);
}

/** Idempotent; a pool that is gone has no entry. */
export async function dropEntry(session: Session, at: CloneAt): Promise<null> {
  const pool = await unlessMissing(openPool(session, at.poolId, at.namespace));
  if (!pool) return null;
  await using open = pool;
  await dropPublishEntry(session, open, at.marked);
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
  const found: Found[number][] = [];
  await eachPlace(session, 'look for images in the making', async (open) => {
    found.push(...(await entriesIn(session, open)));
  });
  return found;
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
