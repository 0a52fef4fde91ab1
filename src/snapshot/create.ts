// The snapshots of one set: of a domain that is off, or of one disk, as they are; of a running one, under a hold. What was achieved
// is told by what was got, not by what was planned.

import { OperatingError } from '../wire/errors.ts';
import type { CephPort } from '../wire/ports.ts';
import type { Instant, Quiesced } from '../wire/vocabulary.ts';
import type { SnapshotAt } from '../wire/worker-protocol.ts';
import { DEADLINE_MS } from './deadlines.ts';
import type { HoldPlan } from './hold-plan.ts';
import type { Got, Member } from './holds.ts';
import type { Plan } from './job-data.ts';
import { snapshotName } from './set-id.ts';
import type { Seat } from './together.ts';

export interface Achieved {
  readonly quiesced: Quiesced;
  readonly instant: Instant;
  /** Why the guest was not, though it was tried. */
  readonly whyNotQuiesced?: string;
  /** The guest was not itself for so long; absent: it was not held, or let go by its guard. */
  readonly holdMs?: number;
}

export type Creation =
  | {
      readonly kind: 'made';
      /** In the order of the plan's disks. */
      readonly made: readonly (SnapshotAt & {
        readonly sizeBytes: number;
        readonly stallMs?: number;
      })[];
      readonly achieved: Achieved;
    }
  | {
      readonly kind: 'failed';
      readonly error: OperatingError;
      readonly known: readonly SnapshotAt[];
      /** More may be there, or come: a call that failed can yet be carried out by the lock's owner. */
      readonly isUncertain: boolean;
    };

export async function createAtOnce(
  ceph: CephPort,
  plan: Plan,
  { quiesced, instant, whyNotQuiesced }: Achieved,
): Promise<Creation> {
  const snap = snapshotName(plan.setId);
  const settled = await Promise.allSettled(
    plan.disks.map(({ at }) => {
      return ceph.call('createSnapshot', { ...at, snap }, DEADLINE_MS.snapshot);
    }),
  );
  const made = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const failed = settled.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
  const told = whyNotQuiesced === undefined ? {} : { whyNotQuiesced };
  if (failed.length === 0) return { kind: 'made', made, achieved: { quiesced, instant, ...told } };
  const defect = failed.find((each) => !(each instanceof OperatingError));
  if (defect !== undefined) throw defect;
  const [error] = failed as OperatingError[];
  return {
    kind: 'failed',
    error: error as OperatingError,
    known: made,
    isUncertain: failed.some(mayStillBe),
  };
}

export async function createHeld(ceph: CephPort, seat: Seat, member: Member): Promise<Creation> {
  const outcome = await seat.take(ceph, member);
  if (outcome.kind === 'got') {
    const { made } = outcome;
    const achieved = achievedBy(outcome, member.plan);
    if (member.plan.quiesce !== 'require' || achieved.quiesced === 'filesystem') {
      return { kind: 'made', made, achieved };
    }
    return {
      kind: 'failed',
      error: notQuiesced(member, achieved),
      known: made,
      isUncertain: false,
    };
  }
  const { error, wasAsked } = outcome;
  return { kind: 'failed', error, known: [], isUncertain: wasAsked && mayStillBe(error) };
}

/**
 * A freeze alone is no instant of several disks: who writes to a disk without a filesystem goes on. Nothing is claimed of a hold that
 * somebody else, or its guard, ended before the snapshots had come.
 */
function achievedBy({ made, held, let: gone }: Got, { quiesce }: HoldPlan): Achieved {
  const wasHeld = gone?.wasHeldThroughout === true;
  const isFrozen = wasHeld && held.frozen !== undefined;
  const why = wasHeld ? held.whyNotFrozen : LET_GO_EARLY;
  return {
    quiesced: isFrozen ? 'filesystem' : 'none',
    instant: made.length === 1 ? 'single' : wasHeld && held.isSuspended ? 'barrier' : 'none',
    ...(!isFrozen && quiesce !== 'none' && { whyNotQuiesced: why ?? 'nothing was frozen' }),
    ...(gone && { holdMs: gone.holdMs }),
  };
}

const LET_GO_EARLY = 'the guest was let go by somebody else before its snapshots had come';

/** The caller gave up, or was told so. */
function mayStillBe(error: unknown): boolean {
  return (
    !(error instanceof OperatingError) || ['unavailable', 'busy', 'cancelled'].includes(error.code)
  );
}

function notQuiesced({ domainUuid }: Member, { whyNotQuiesced: why = '' }: Achieved) {
  const hint = 'With --quiesce try it is taken all the same, and says so.';
  return new OperatingError({ code: 'refused', op: 'quiesce', subject: domainUuid, why, hint });
}
