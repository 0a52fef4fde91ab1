// What siphond asks of its workers to take a set of a running domain: of Ceph's, snapshots that ride on a commit of the monitors
// that is already on its way (armed); of libvirt's, to hold the guest meanwhile, under a guard that outlives them all.

import type { WireError } from './errors.ts';
import type { DiskAt, SnapshotAt } from './worker-protocol.ts';

/** A commit that is foreseen. */
export interface Arm {
  readonly arm: string;
  /** The time between two commits, as the ticks measured it. */
  readonly intervalMs: number;
  /** Ticks until one was still pending at its lead; 1 where nothing else was going on. */
  readonly rounds: number;
  /** Until the foreseen commit. */
  readonly leftMs: number;
}

/** Of the `ceph` role. Times in ms. */
export interface ArmMethods {
  /**
   * Opens the set's images, and looks that nothing is in the way of their snapshots. Kept open until `createPrepared` and
   * `describePrepared` or `dropPrepared`, two minutes at most. @throws OperatingError as createSnapshot, before anything is made
   */
  prepareSnapshots: {
    params: { readonly disks: readonly (DiskAt & { readonly snap: string })[] };
    result: { readonly prepared: string };
  };
  /**
   * Settles when a tick that was asked for after this call is back: the monitors are well. Ticks go on, so that `arm` has one at hand,
   * for a quarter of a minute. @throws OperatingError unavailable: none came back in time
   */
  board: { params: Record<string, never>; result: { readonly board: string } };
  /**
   * Settles `leadMs` before the next commit of the OSD map, with a tick of ours still pending for it: what is asked in that time
   * rides along. Where that cannot be foreseen, it says why: the monitors are well, but only they know which commit it will be.
   * @throws OperatingError unavailable: no tick came back in time, or the board is over
   */
  arm: {
    params: { readonly board: string; readonly leadMs: number };
    result: Arm | { readonly unforeseen: string };
  };
  /** Settles with the commit that this arm foresaw. Snapshots that have not come by then have missed it. */
  armEnd: { params: { readonly arm: string }; result: { readonly tookMs: number } };
  /** Creates them all, in parallel; settles when each has come or failed. In the order of the disks. */
  createPrepared: {
    params: { readonly prepared: string };
    result: readonly (
      | { readonly kind: 'made'; readonly tookMs: number }
      | { readonly kind: 'failed'; readonly error: WireError }
    )[];
  };
  /** The ids of what was made, in the order of the disks, by a fresh look; and closes the images. */
  describePrepared: {
    params: { readonly prepared: string };
    result: readonly (SnapshotAt & { readonly sizeBytes: number })[];
  };
  /** Closes the images, whatever became of them. */
  dropPrepared: { params: { readonly prepared: string }; result: null };
}

export type Quiesce = 'none' | 'try' | 'require';

/** Whether a domain may be held now, as libvirt sees it. */
export type Holdable =
  | { readonly kind: 'running' }
  | { readonly kind: 'off' }
  /**
   * Frozen or paused by somebody else, migrating, under a block job or backup: it goes by. `isStill`: the guest does not run, and
   * will not before somebody has it go on.
   */
  | { readonly kind: 'busy'; readonly why: string; readonly isStill?: true };

/** What a hold got. */
export interface Held {
  /** How many filesystems are frozen; absent where none was asked for, or could be. */
  readonly frozen?: number;
  /** Why none is, though it was tried. */
  readonly whyNotFrozen?: string;
  readonly isSuspended: boolean;
  /** From the call's begin to the guest being held. */
  readonly tookMs: number;
}

/** Of the `libvirt` role. `domain` is a UUID. Times in ms. */
export interface HoldMethods {
  holdable: { params: { readonly domain: string }; result: Holdable };
  /**
   * Notes durably that the domain is about to be held, and has PID 1 release it after `deadlineMs`, whoever is dead by then; a hold
   * brings that forward. Before any hold. @throws OperatingError busy: it is noted already; unavailable: PID 1 does not take it, and the guest must not be held
   */
  guard: { params: { readonly domain: string; readonly deadlineMs: number }; result: null };
  /**
   * Freezes, then suspends, as asked; under a guard. Where it fails, the guest is as it was.
   * @throws OperatingError refused: `require` and it could not be frozen; busy: somebody else paused or froze it meanwhile
   */
  hold: {
    params: {
      readonly domain: string;
      readonly quiesce: Quiesce;
      readonly suspends: boolean;
      /** For the freeze. */
      readonly timeoutMs: number;
      /** From now on: the guard's is no later. */
      readonly deadlineMs: number;
    };
    result: Held;
  };
  /** Resumes and thaws what this siphon holds, until libvirt and the agent say so; then the guard ends. Idempotent. */
  release: {
    params: { readonly domain: string };
    result: {
      /** The guest was not itself for so long: from the first freeze or suspend to the last thaw or resume; 0: it was not held. */
      readonly holdMs: number;
      readonly suspendedMs: number;
      readonly frozenMs: number;
      /** All that `hold` got was still so now. False: an operator or the guard ended it before, and nothing may be claimed of it. */
      readonly wasHeldThroughout: boolean;
    };
  };
  /** Domains that are noted as held by this worker, or by one that is gone. */
  listHeld: { params: Record<string, never>; result: readonly { readonly domain: string }[] };
}
