// Is a set to be taken, and what may it claim? Facts about the stop and the disks' users to a decision.

import type { Holdable, Quiesce } from '../wire/hold-protocol.ts';
import type {
  Instant,
  LifecycleName,
  Quiesced,
  ReleaseReason,
  WantedInstant,
} from '../wire/vocabulary.ts';
import { type HoldPlan, planHold } from './hold-plan.ts';

/** Who uses a disk, as Ceph prints them (`client.4123`). */
export interface DiskUse {
  readonly target: string;
  readonly lockOwners: readonly string[];
  readonly watchers: readonly string[];
}

export type TakeDecision =
  | {
      readonly kind: 'take';
      readonly quiesced: Quiesced;
      readonly instant: Instant;
      readonly whyNotQuiesced?: string;
      /** Of a guest that stands still: of one instant, if it does so afterwards, too. */
      readonly isStill?: true;
    }
  | { readonly kind: 'hold'; readonly plan: HoldPlan }
  | { readonly kind: 'skip'; readonly why: string };

export interface ReleaseFacts {
  readonly reason: ReleaseReason;
  readonly disks: readonly DiskUse[];
  /** Whether libvirt says that the domain runs; undefined: it was not asked, or does not answer. */
  readonly isActiveNow: boolean | undefined;
  /** The event is an old one: others may have used the disks since. */
  readonly isLate: boolean;
}

const NEVER: Readonly<Partial<Record<ReleaseReason, string>>> = {
  migrated: 'the guest runs on another host',
  saved: "the guest's state is saved, not ended",
  failed: 'the guest never ran here',
  'from snapshot': 'the guest is being reverted',
};

/** Why nothing is ever taken after this reason; undefined where looking decides. */
export function whyNever(reason: ReleaseReason): string | undefined {
  return NEVER[reason];
}

export function decideRelease(facts: ReleaseFacts): TakeDecision {
  const never = whyNever(facts.reason);
  if (never !== undefined) return skip(never);
  if (facts.disks.length === 0) return skip('no disk of it is in RBD');
  if (facts.isActiveNow === true) return skip('the domain runs again');
  const dead = deadOwner(facts.disks);
  if (dead !== undefined) return skip(dead);
  const owned = facts.disks.find((disk) => disk.lockOwners.length > 0);
  if (owned === undefined) return unowned(facts);
  const user = `disk ${owned.target} is locked by ${owned.lockOwners.join(', ')}`;
  if (facts.isLate) return skip(`the event is an old one, and ${user}`);
  if (facts.reason !== 'shutdown' && facts.reason !== 'destroyed') {
    return skip(`the reason '${facts.reason}' does not say that the guest is gone, and ${user}`);
  }
  return running(facts.disks);
}

export interface AskedFacts {
  readonly disks: readonly DiskUse[];
  /** Whether the domain runs here; undefined: libvirt does not answer. */
  readonly isActive: boolean | undefined;
  readonly quiesce: Quiesce;
  readonly instant: WantedInstant;
}

/** By a schedule: of hosts that know the domain, the one on which it runs takes it. */
export function decideScheduled(facts: AskedFacts): TakeDecision {
  const { disks, isActive } = facts;
  if (isActive === undefined) return skip('libvirt did not say whether it runs');
  const open = disks.find((disk) => disk.lockOwners.length + disk.watchers.length > 0);
  if (isActive || open === undefined) return decideAsked(facts);
  const users = [...open.lockOwners, ...open.watchers].join(', ');
  return skip(`it does not run here, and disk ${open.target} is open at ${users}`);
}

/** A set of a domain that may run: one that an operator, its start or another event of its life asked for. */
export function decideAsked({ disks, isActive, quiesce, instant }: AskedFacts): TakeDecision {
  if (disks.length === 0) return skip('no disk of it is in RBD');
  const dead = deadOwner(disks);
  if (dead !== undefined) return skip(dead);
  if (isActive === true) {
    const plan = planHold({ disks: disks.length, quiesce, instant });
    return plan.kind === 'hold' ? { kind: 'hold', plan } : running(disks);
  }
  const isOpen = isActive === undefined || disks.some((disk) => disk.lockOwners.length > 0);
  if (quiesce === 'require' && isOpen) return skip('who runs it cannot be asked to freeze it');
  if (isOpen) return unasked(disks, quiesce, isActive);
  if (disks.length === 1) return running(disks);
  return { kind: 'take', quiesced: 'none', instant: 'barrier' };
}

function unasked(
  disks: readonly DiskUse[],
  quiesce: Quiesce,
  isActive: boolean | undefined,
): TakeDecision {
  if (quiesce === 'none') return running(disks);
  const whyNotQuiesced =
    isActive === undefined
      ? 'libvirt did not say whether it runs'
      : 'it does not run here, but its disks are open elsewhere';
  return { ...running(disks), whyNotQuiesced };
}

/** After these the guest stands still: there is nothing to hold, and nothing is siphon's to let go. */
const STANDING: readonly (LifecycleName | undefined)[] = [
  'suspended',
  'shutdown',
  'pmsuspended',
  'crashed',
];

/** Whether a domain that cannot be held may be taken as it stands; undefined: it has to be waited for. */
export function decideStill(facts: {
  readonly lifecycle?: LifecycleName;
  readonly found: Exclude<Holdable, { kind: 'running' }>;
  readonly quiesce: Quiesce;
  readonly disks: readonly DiskUse[];
}): TakeDecision | undefined {
  const { lifecycle, found, quiesce, disks } = facts;
  if (!STANDING.includes(lifecycle)) return undefined;
  if (found.kind === 'busy' && found.isStill !== true) return undefined;
  const whyNot = found.kind === 'busy' && quiesce !== 'none' ? found.why : undefined;
  if (whyNot !== undefined && quiesce === 'require') return skip(`it cannot be frozen: ${whyNot}`);
  const instant = disks.length > 1 ? 'none' : 'single';
  const taken = { kind: 'take', quiesced: 'none', instant, isStill: true } as const;
  return whyNot === undefined ? taken : { ...taken, whyNotQuiesced: whyNot };
}

/** Before a start: nobody writes to its disks, or it is not the only one who may. */
export function decidePrepare({ disks }: { readonly disks: readonly DiskUse[] }): TakeDecision {
  if (disks.length === 0) return skip('no disk of it is in RBD');
  const used = disks.find((disk) => disk.lockOwners.length + disk.watchers.length > 0);
  if (used !== undefined) {
    return skip(
      `disk ${used.target} is open at ${[...used.lockOwners, ...used.watchers].join(', ')}`,
    );
  }
  return { kind: 'take', quiesced: 'none', instant: disks.length > 1 ? 'barrier' : 'single' };
}

/** Targets of disks that somebody has locked since the first look. */
export function newlyLocked(
  before: readonly DiskUse[],
  after: readonly DiskUse[],
): readonly string[] {
  const known = new Set(before.flatMap((disk) => disk.lockOwners));
  return after
    .filter((disk) => disk.lockOwners.some((owner) => !known.has(owner)))
    .map((disk) => disk.target);
}

/** Asking such an owner ends, after half a minute, in a failure or in its being blocklisted. */
function deadOwner(disks: readonly DiskUse[]): string | undefined {
  for (const { target, lockOwners, watchers } of disks) {
    const dead = lockOwners.find((owner) => !watchers.includes(owner));
    if (dead !== undefined) {
      return `disk ${target} is locked by ${dead}, which does not answer; nothing breaks its lock`;
    }
  }
  return undefined;
}

/** A guest that moved away has its disks open, and locks them only when it first writes. */
function unowned({ reason, disks }: ReleaseFacts): TakeDecision {
  const open = disks.find((disk) => disk.watchers.length > 0);
  if (reason === 'unknown' && open !== undefined) {
    const users = open.watchers.join(', ');
    return skip(`nobody says why it stopped, and disk ${open.target} is open at ${users}`);
  }
  const quiesced = reason === 'shutdown' ? 'shutdown' : 'none';
  return { kind: 'take', quiesced, instant: disks.length > 1 ? 'barrier' : 'single' };
}

function running(disks: readonly DiskUse[]): Extract<TakeDecision, { kind: 'take' }> {
  return { kind: 'take', quiesced: 'none', instant: disks.length > 1 ? 'none' : 'single' };
}

function skip(why: string): TakeDecision {
  return { kind: 'skip', why };
}
