// librbd breaks the exclusive lock of an owner that does not answer, after about 27 s, and blocklists it: a guest that was only
// slow then loses its disk for good. So a snapshot is neither made nor removed past a dead owner, nor waited for that long.

import { breakObjectLock, type Cluster, type Image, listLockers, listWatchers } from 'ceph-napi';
import { OperatingError } from '../../../wire/errors.ts';
import { formatImage } from '../../../wire/source.ts';
import type { CephMethods } from '../../../wire/worker-protocol.ts';
import type { Session } from './connections.ts';
import { inImage, openImage, openPool } from './open.ts';

/** Far enough below the shortest time to a broken lock that was measured (26.7 s). */
const GIVE_UP_MS = 20_000;

/** What librbd's own lock is tagged with (librbd/managed_lock/Utils); any other is a person's, which librbd does not break. */
const EXCLUSIVE_LOCK_TAG = 'internal';

/** @throws OperatingError busy: the lock's owner does not watch the image any more, so it is dead or cut off */
export async function assertOwnerAlive(image: Image, subject: string): Promise<void> {
  const lockers = await listLockers(image);
  if (lockers?.tag !== EXCLUSIVE_LOCK_TAG) return;
  const alive = (await listWatchers(image)).map((watcher) => `client.${watcher.client}`);
  const dead = lockers.lockers.find((locker) => !alive.includes(locker.client))?.client;
  if (dead === undefined) return;
  throw new OperatingError({
    code: 'busy',
    op: 'look who uses image',
    subject,
    why: `${dead} owns the exclusive lock and is not there any more`,
    hint: 'Start the domain again, or break the lock with `rbd lock rm` once its host is surely off.',
  });
}

/** As Ceph prints who holds a lock. */
export function clientOf(cluster: Cluster): string {
  return `client.${cluster.instanceId()}`;
}

/**
 * A worker that was killed while it made or removed a snapshot leaves its lock, which neither ends nor is broken: no later call would get
 * past it. It wrote no data, so nothing of it has to be kept out, and its lock is taken without blocklisting it.
 */
export async function dropLock(
  session: Session,
  { client, ...at }: CephMethods['dropLock']['params'],
): Promise<CephMethods['dropLock']['result']> {
  if (client === clientOf(session.cluster)) return { was: 'absent' }; // it lives, and closes its images by itself
  await using pool = await openPool(session, at.pool, at.namespace);
  await using image = await openImage(session, pool, { name: at.image });
  return await inImage(session, image, 'drop lock', formatImage(at), async () => {
    const lockers = await listLockers(image);
    const held = lockers?.lockers.find((locker) => locker.client === client);
    if (held === undefined || lockers?.tag !== EXCLUSIVE_LOCK_TAG) return { was: 'absent' };
    const lock = { oid: `rbd_header.${await image.id()}`, name: 'rbd_lock', cookie: held.cookie };
    await breakObjectLock(pool, lock, client);
    return { was: 'dropped' };
  });
}

/** Ends the whole worker rather than let librbd break the lock: a native call cannot be taken back otherwise. */
export async function beforeLockBreak<T>(subject: string, body: () => Promise<T>): Promise<T> {
  const timer = setTimeout(() => {
    console.error(`${subject}: no answer in ${GIVE_UP_MS} ms; ended before a lock is broken`);
    process.kill(process.pid, 'SIGKILL');
  }, GIVE_UP_MS);
  try {
    return await body();
  } finally {
    clearTimeout(timer);
  }
}
