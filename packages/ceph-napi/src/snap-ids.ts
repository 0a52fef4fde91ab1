// Self-managed snapshot ids of a pool: what librbd takes for its snapshots. Each is a commit of the monitors, at most one for each
// `paxos_propose_interval` (1 s): whatever else is asked while one is pending goes into the same commit. An id without an image's
// snapshot costs nothing, but should be removed.

import { completed } from './callbacks.ts';
import { check } from './errors.ts';
import { librados } from './library.ts';
import { assertSize, safeInteger, word, words } from './memory.ts';
import type { Pool } from './pool.ts';

const create = librados(
  'int rados_ioctx_selfmanaged_snap_create(rados_ioctx_t io, rados_snap_t *snapid)',
);
const remove = librados(
  'int rados_ioctx_selfmanaged_snap_remove(rados_ioctx_t io, rados_snap_t snapid)',
);
const aioCreate = librados(`void rados_aio_ioctx_selfmanaged_snap_create(rados_ioctx_t io,
  rados_snap_t *snapid, rados_completion_t completion)`);
const aioRemove = librados(`void rados_aio_ioctx_selfmanaged_snap_remove(rados_ioctx_t io,
  rados_snap_t snapid, rados_completion_t completion)`);

/**
 * A new snapshot id of the pool, just after the commit that made it. Throws CephError: EINVAL (the pool has snapshots of its own), EPERM,
 * ETIMEDOUT.
 * Implements: rados_ioctx_selfmanaged_snap_create
 */
export async function createSnapId(pool: Pool): Promise<number> {
  const out = words();
  await pool.call(create, out);
  return safeInteger(word(out), 'snapshot id');
}

/** Removes an id, with what it keeps of any object. Implements: rados_ioctx_selfmanaged_snap_remove */
export async function removeSnapId(pool: Pool, id: number): Promise<void> {
  assertSize(id, 'snapshot id');
  await pool.call(remove, id);
}

/**
 * {@link createSnapId}, without a thread that waits: sent when this returns.
 * Implements: rados_aio_ioctx_selfmanaged_snap_create
 */
export async function aioCreateSnapId(pool: Pool): Promise<number> {
  const out = words();
  check(
    await completed(pool, (io, completion) => aioCreate.call(io, out, completion)),
    aioCreate.symbol,
  );
  return safeInteger(word(out), 'snapshot id');
}

/**
 * {@link removeSnapId}, without a thread that waits: sent when this returns.
 * Implements: rados_aio_ioctx_selfmanaged_snap_remove
 */
export async function aioRemoveSnapId(pool: Pool, id: number): Promise<void> {
  assertSize(id, 'snapshot id');
  check(
    await completed(pool, (io, completion) => aioRemove.call(io, id, completion)),
    aioRemove.symbol,
  );
}
