// How much of a snapshot is allocated, told by its object map alone: one small read, whatever the disk's size.

import { errno, feature, type Image, isErrno, type Pool, readObject } from 'ceph-napi';
import type { CephMethods, SnapshotAt } from '../../../wire/worker-protocol.ts';
import type { Session } from './connections.ts';
import { countObjects, mapBytesMax } from './object-map.ts';
import { inImage, openImage, openPool } from './open.ts';

/** Of a disk of 16 TiB in objects of 4 MiB. */
const MAP_BYTES_MAX = 2 * 1024 * 1024;

type Measured = CephMethods['measureSnapshot']['result'];

/** Its own objects: what a clone reads from its parent is its parent's. */
export async function measureSnapshot(session: Session, at: SnapshotAt): Promise<Measured> {
  const { poolId, namespace, imageId, snap } = at;
  await using pool = await openPool(session, poolId, namespace);
  await using image = await openImage(session, pool, { id: imageId }, { snap });
  return await inImage(session, image, 'measure snapshot', `${imageId}@${snap}`, () =>
    measure(pool, image, at),
  );
}

async function measure(pool: Pool, image: Image, at: SnapshotAt): Promise<Measured> {
  if (((await image.features()) & feature.objectMap) === 0) return { why: 'it has no object map' };
  if ((await image.flags()).objectMapInvalid) return { why: 'its object map is invalid' };
  const { sizeBytes, objectSizeBytes, objects } = await image.stat();
  const mapBytes = mapBytesMax(objects);
  if (mapBytes > MAP_BYTES_MAX) return { why: 'its object map is too large to be read' };
  const map = await readMap(pool, at, mapBytes);
  const count = map && countObjects(map, objects);
  if (count === undefined) return { why: 'its object map is not understood' };
  return { allocatedBytes: Math.min(count * objectSizeBytes, sizeBytes) };
}

/** A snapshot's map has its id in 16 hex digits at its end (librbd, ObjectMap::object_map_name). */
async function readMap(
  pool: Pool,
  { imageId, snapId }: SnapshotAt,
  maxBytes: number,
): Promise<Buffer | undefined> {
  const oid = `rbd_object_map.${imageId}.${snapId.toString(16).padStart(16, '0')}`;
  try {
    return await readObject(pool, oid, maxBytes);
  } catch (error) {
    if (isErrno(error, errno.ENOENT)) return undefined;
    throw error;
  }
}
