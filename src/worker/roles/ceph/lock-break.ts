// librbd breaks the exclusive lock of an owner that does not answer, after about 27 s, and blocklists it: a guest that was only
// slow then loses its disk for good. So a snapshot is neither made nor removed past a dead owner, nor waited for that long.

import { setTimeout as delay } from 'node:timers/promises';
import {
  breakObjectLock,
  type Cluster,
  type Image,
  type ImageRef,
  listLockers,
  listWatchers,
  type Pool,
} from 'ceph-napi';
import { OperatingError } from '../../../wire/errors.ts';
import type { CephMethods } from '../../../wire/worker-protocol.ts';
import type { Session } from './connections.ts';
import { inImage, openImage, openPool, refOf, subjectOf } from './open.ts';

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

/** Longer than a dead client's watch (osd_client_watch_timeout, 30 s). */
const WATCH_MS_MAX = 45_000;
const LOOK_EVERY_MS = 500;

/**
 * A worker that was killed while it made or removed a snapshot leaves its lock, which neither ends nor is broken: no later call would get
 * past it. It wrote no data, so nothing of it has to be kept out, and its lock is taken without blocklisting it. Then its watch is
 * waited for: every change of the image would wait for a word of that watcher, longer than a snapshot may take.
 * @throws OperatingError unavailable: the watch does not end
 */
export async function dropLock(
  session: Session,
  { client, ...at }: CephMethods['dropLock']['params'],
  signal: AbortSignal,
): Promise<CephMethods['dropLock']['result']> {
  await using pool = await openPool(session, at.pool, at.namespace);
  return { was: await dropLockOf(session, pool, refOf(at), client, signal) };
}

/** The same of an image of an open pool. */
export async function dropLockOf(
  session: Session,
  pool: Pool,
  ref: ImageRef,
  client: string,
  signal: AbortSignal,
): Promise<'dropped' | 'absent'> {
  if (client === clientOf(session.cluster)) return 'absent'; // it lives, and closes its images by itself
  const subject = subjectOf(pool, ref);
  // Lists of a read-only handle are of the moment of its opening.
  const look = async <T>(body: (image: Image) => Promise<T>): Promise<T> => {
    await using image = await openImage(session, pool, ref);
    return await inImage(session, image, 'drop lock', subject, () => body(image));
  };
  const was = await look((image) => takeFrom(client, pool, image));
  const endMs = performance.now() + WATCH_MS_MAX;
  while (await look((image) => isWatching(client, image))) {
    if (performance.now() > endMs) throw stillWatching(client, subject);
    signal.throwIfAborted();
    await delay(LOOK_EVERY_MS);
  }
  return was;
}

async function takeFrom(client: string, pool: Pool, image: Image): Promise<'dropped' | 'absent'> {
  const lockers = await listLockers(image);
  const held = lockers?.lockers.find((locker) => locker.client === client);
  if (held === undefined || lockers?.tag !== EXCLUSIVE_LOCK_TAG) return 'absent';
  const lock = { oid: `rbd_header.${await image.id()}`, name: 'rbd_lock', cookie: held.cookie };
  await breakObjectLock(pool, lock, client);
  return 'dropped';
}

async function isWatching(client: string, image: Image): Promise<boolean> {
  return (await listWatchers(image)).some((watcher) => `client.${watcher.client}` === client);
}

function stillWatching(client: string, subject: string): OperatingError {
  const why = `${client}, which was siphon's, still watches it`;
  return new OperatingError({ code: 'unavailable', op: 'drop lock', subject, why });
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
