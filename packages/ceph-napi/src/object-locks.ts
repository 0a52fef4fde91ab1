// Advisory locks on RADOS objects (cls lock): who asks for one is told whether others hold it. Nothing else is held back by them, and a
// holder that died keeps its lock until it expires or is broken.
import assert from 'node:assert/strict';
import { check, errno } from './errors.ts';
import { librados } from './library.ts';
import { type Lockers, readLockers } from './locks.ts';
import { words } from './memory.ts';
import type { Pool } from './pool.ts';

const lockExclusive = librados(`int rados_lock_exclusive(rados_ioctx_t io, const char * oid,
  const char * name, const char * cookie, const char * desc, struct timeval * duration,
  uint8_t flags)`);
const lockShared = librados(`int rados_lock_shared(rados_ioctx_t io, const char * o,
  const char * name, const char * cookie, const char * tag, const char * desc,
  struct timeval * duration, uint8_t flags)`);
const unlock = librados(
  'int rados_unlock(rados_ioctx_t io, const char *o, const char *name, const char *cookie)',
);
const breakLockC = librados(`int rados_break_lock(rados_ioctx_t io, const char *o,
  const char *name, const char *client, const char *cookie)`);
const listLockersC = librados(`ssize_t rados_list_lockers(rados_ioctx_t io, const char *o,
  const char *name, int *exclusive, char *tag, size_t *tag_len, char *clients,
  size_t *clients_len, char *cookies, size_t *cookies_len, char *addrs, size_t *addrs_len)`);

const renewal = { never: 0, may: 1, must: 2 } as const; // LIBRADOS_LOCK_FLAG_*

export interface ObjectLock {
  readonly oid: string;
  /** One of the object's locks. */
  readonly name: string;
  /** Which of this client's holds on it. */
  readonly cookie: string;
}

export interface ObjectLockOptions {
  /** Held by all who give the same tag. Default: exclusive. */
  readonly sharedTag?: string;
  readonly description?: string;
  /** After which the OSD forgets the lock, by its own clock. Default: never. */
  readonly durationMs?: number;
  /** What a lock that is held already, with this cookie, becomes: an error (default), a new duration, or nothing else will do. */
  readonly renew?: keyof typeof renewal;
}

/**
 * Takes the lock, and makes the object where there is none; false where others hold it. Throws CephError: EEXIST (held already, and not to
 * be renewed), ENOENT (`must` renew, and not held).
 * Implements: rados_lock_exclusive, rados_lock_shared
 */
export async function lockObject(
  pool: Pool,
  { oid, name, cookie }: ObjectLock,
  options: ObjectLockOptions = {},
): Promise<boolean> {
  const { sharedTag, description = '', durationMs, renew = 'never' } = options;
  const [f, tags] = sharedTag === undefined ? [lockExclusive, []] : [lockShared, [sharedTag]];
  const duration = durationMs === undefined ? null : timeval(durationMs);
  const rest = [...tags, description, duration, renewal[renew]];
  const result = await pool.try(f, oid, name, cookie, ...rest);
  if (result === -errno.EBUSY) return false;
  check(result, f.symbol, `${oid} ${name}`);
  return true;
}

/** Throws ENOENT where this client does not hold it with this cookie. Implements: rados_unlock */
export async function unlockObject(pool: Pool, { oid, name, cookie }: ObjectLock): Promise<void> {
  check(await pool.try(unlock, oid, name, cookie), unlock.symbol, `${oid} ${name}`);
}

/**
 * Takes the lock from `client` (`client.4123`, as {@link listObjectLockers} names it), which is not told: blocklist it first, if it may
 * still write. Throws ENOENT where it does not hold it.
 * Implements: rados_break_lock
 */
export async function breakObjectLock(
  pool: Pool,
  { oid, name, cookie }: ObjectLock,
  client: string,
): Promise<void> {
  check(await pool.try(breakLockC, oid, name, client, cookie), breakLockC.symbol, `${oid} ${name}`);
}

/** Who holds the lock now; null where nobody does. Throws ENOENT where there is no such object. Implements: rados_list_lockers */
export function listObjectLockers(pool: Pool, oid: string, name: string): Promise<Lockers | null> {
  return readLockers(listLockersC.symbol, (...room) => pool.try(listLockersC, oid, name, ...room));
}

/** struct timeval: seconds, microseconds. */
function timeval(ms: number): BigUint64Array {
  assert(Number.isSafeInteger(ms) && ms > 0, `not a duration: ${ms}`);
  const value = words(2);
  value[0] = BigInt(Math.floor(ms / 1000));
  value[1] = BigInt((ms % 1000) * 1000);
  return value;
}
