// All pools and their namespaces that a user may read: siphon's records of other hosts are looked for in each.

import { listNamespaces, type Pool } from 'ceph-napi';
import { type ErrorCode, OperatingError } from '../../../wire/errors.ts';
import { during } from '../../translate-error.ts';
import type { Session } from './connections.ts';
import { openPool, placeOf } from './open.ts';
import { unlessMissing } from './source.ts';

/** Refused: a pool of erasure code has no omap. */
const CLOSED: readonly ErrorCode[] = ['denied', 'not-found', 'refused'];

/** One after the other; a pool that this user may not read has nothing of it. */
export async function eachPlace(
  session: Session,
  op: string,
  look: (pool: Pool) => Promise<void>,
): Promise<void> {
  const visit = async (name: string, namespace: string): Promise<readonly string[]> => {
    const open = await unlessMissing(openPool(session, name, namespace));
    if (!open) return [];
    await using pool = open;
    try {
      await look(pool);
      const step = { op, subject: placeOf(pool) };
      return namespace === '' ? await during(step, () => listNamespaces(pool)) : [];
    } catch (error) {
      if (error instanceof OperatingError && CLOSED.includes(error.code)) return [];
      throw error;
    }
  };
  const step = { op: 'list pools', subject: session.fsid };
  for (const name of await during(step, () => session.cluster.listPools())) {
    for (const namespace of await visit(name, '')) await visit(name, namespace);
  }
}
