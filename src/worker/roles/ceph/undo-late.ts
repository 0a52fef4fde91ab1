// A create that failed may yet appear: its request may sit in the lock's owner, or in a monitor that was slow. Look, and remove.

import { setTimeout as delay } from 'node:timers/promises';
import { OperatingError } from '../../../wire/errors.ts';
import type { SnapshotAt } from '../../../wire/worker-protocol.ts';
import { translateError } from '../../translate-error.ts';
import type { Session } from './connections.ts';
import { freshSnapshots, openPool } from './open.ts';
import { removeSnapshot } from './snapshots.ts';

const ATTEMPTS = 3;
const PAUSE_MS = 500;

/** The error to throw: the create's own, which says what became of the snapshot. */
export async function undoLate(
  session: Session,
  image: Pick<SnapshotAt, 'poolId' | 'namespace' | 'imageId'>,
  snap: string,
  { error, signal }: { readonly error: unknown; readonly signal: AbortSignal },
): Promise<OperatingError> {
  const failure = translateError(error, { op: 'create snapshot', subject: snap });
  for (let attempt = 1; attempt <= ATTEMPTS && !signal.aborted; attempt++) {
    if (attempt > 1) await delay(PAUSE_MS);
    const outcome = await removeIfThere(session, image, snap);
    if (outcome === 'removed') return saying(failure, 'it had appeared, and was removed');
  }
  return mayAppear(failure);
}

async function removeIfThere(
  session: Session,
  image: Pick<SnapshotAt, 'poolId' | 'namespace' | 'imageId'>,
  snap: string,
): Promise<'removed' | 'absent' | 'unknown'> {
  try {
    await using pool = await openPool(session, image.poolId, image.namespace);
    const snapshots = await freshSnapshots(session, pool, { id: image.imageId });
    const found = snapshots.find((each) => each.name === snap && each.type === 'user');
    if (!found) return 'absent';
    return (await removeSnapshot(session, { ...image, snapId: found.id, snap })).was;
  } catch (error) {
    // The create's failure is what the caller hears; that this look failed too changes only "absent" to "unknown".
    if (error instanceof OperatingError) return 'unknown';
    throw error;
  }
}

/** The same failure, of a snapshot that nobody has looked for since. */
export function mayAppear(failure: OperatingError): OperatingError {
  return saying(failure, 'it may still appear: look for it again');
}

function saying(failure: OperatingError, more: string): OperatingError {
  const { code, op, subject, why, hint, cause } = failure;
  const fields = { code, op, subject, why: `${why}; ${more}`, cause };
  return new OperatingError(hint === undefined ? fields : { ...fields, hint });
}
