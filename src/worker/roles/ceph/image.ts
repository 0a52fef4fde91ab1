// Looking at a domain's disk: its first bytes, and who uses it.

import assert from 'node:assert/strict';
import { type Image, ImageReader, listLockers, listSnapshots, listWatchers } from 'ceph-napi';
import { formatImage } from '../../../wire/source.ts';
import type { CephMethods, DiskAt, ImageUse } from '../../../wire/worker-protocol.ts';
import type { Session } from './connections.ts';
import { inImage, openImage, openPool, refOf } from './open.ts';

/** A qcow2 header with its extensions and backing name fits. */
const HEAD_BYTES_MAX = 64 * 1024;

/** Lists of a read-only handle are of the moment of its opening: each call opens anew. */
export async function imageUse(session: Session, at: DiskAt): Promise<ImageUse> {
  await using pool = await openPool(session, at.pool, at.namespace);
  await using image = await openImage(session, pool, refOf(at));
  return await inImage(session, image, 'look who uses image', formatImage(at), async () => ({
    imageId: await image.id(),
    poolId: pool.id,
    sizeBytes: await image.size(),
    ...(await usersOf(image)),
    snapshots: (await listSnapshots(image)).length,
  }));
}

/** Lock owners and watchers, as Ceph prints them. */
async function usersOf(image: Image): Promise<Pick<ImageUse, 'lockOwners' | 'watchers'>> {
  const lockers = await listLockers(image);
  const watchers = await listWatchers(image);
  return {
    lockOwners: lockers?.lockers.map((locker) => locker.client) ?? [],
    watchers: watchers.map((watcher) => `client.${watcher.client}`),
  };
}

/** Of a snapshot, or of the image as it is now. Fewer bytes where the image is smaller. */
export async function readHead(
  session: Session,
  at: CephMethods['readHead']['params'],
): Promise<{ readonly base64: string }> {
  const { snap, lengthBytes } = at;
  assert(lengthBytes >= 0 && lengthBytes <= HEAD_BYTES_MAX, `not a head's length: ${lengthBytes}`);
  await using pool = await openPool(session, at.pool, at.namespace);
  const ref = { name: at.image };
  await using image = await openImage(session, pool, ref, snap === undefined ? {} : { snap });
  return await inImage(session, image, 'read head', formatImage(at), async () => {
    const buffer = Buffer.from(new ArrayBuffer(Math.min(lengthBytes, await image.size())));
    if (buffer.length > 0) await ImageReader.attach(image).read(buffer, 0);
    return { base64: buffer.toString('base64') };
  });
}
