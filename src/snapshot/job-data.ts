// What the journal keeps of a set's job: enough to record the set, or to leave nothing of it behind.

import { z } from 'zod';
import type { WireError } from '../wire/errors.ts';
import {
  type LifecycleName,
  type ReleaseReason,
  SET_EVENTS,
  type SetEvent,
  type SnapshotSet,
  type Wanted,
} from '../wire/vocabulary.ts';
import type { DiskAt } from '../wire/worker-protocol.ts';

/** The intent. */
export interface Draft {
  readonly setId: string;
  readonly event: SetEvent;
  /** Of a release; absent until it is learnt, where libvirt gives none. */
  readonly reason?: ReleaseReason;
  /** Of `lifecycle`. */
  readonly lifecycle?: LifecycleName;
  /** Which asked for it; of a release known with its reason. */
  readonly policy?: { readonly name: string };
  readonly wanted: Wanted;
  /** Without passwords. */
  readonly domainXml: string;
  /** When the event happened. */
  readonly atMs: number;
  /** The disks may have been used since the event. */
  readonly isLate: boolean;
  /** How often this event was tried before, in earlier lives of siphond. */
  readonly attempt: number;
}

/** What is about to be taken; from here on there may be snapshots. */
export interface Plan {
  readonly setId: string;
  readonly fsid: string;
  readonly disks: readonly { readonly target: string; readonly at: DiskAt }[];
  readonly leftOut: SnapshotSet['leftOut'];
  /** Who takes it, as Ceph prints it: should that die, its locks are siphon's to drop. */
  readonly client: string;
}

/** Of a job `snapshot`. With `set` all snapshots exist, and the set is to be recorded. */
export interface TakeData {
  readonly draft: Draft;
  readonly plan?: Plan;
  readonly set?: SnapshotSet;
  /** Why it failed: what was taken is being removed. Where it {@link isWaiting}, the event is tried again then. */
  readonly error?: WireError;
}

/** Of a job `delete-set`: a recorded set, or what a failed one may have left. */
export type DeleteData = ({ readonly set: SnapshotSet } | { readonly leftovers: Plan }) & {
  /** Who removes it; absent before that has begun. */
  readonly client?: string;
};

/** A stop whose set failed for want of an answer alone; an operator has heard of it, and asks again. */
export function isWaiting({ event }: Draft, { code }: Pick<WireError, 'code'>): boolean {
  return event === 'release' && code === 'unavailable';
}

const Text = z.string().min(1);
const Take = z.looseObject({
  draft: z.looseObject({ setId: Text, domainXml: Text, event: z.enum(SET_EVENTS) }),
  plan: z.looseObject({ setId: Text, fsid: Text, disks: z.array(z.looseObject({})) }).optional(),
  set: z.looseObject({ id: Text, fsid: Text, disks: z.array(z.looseObject({})) }).optional(),
  error: z.looseObject({ code: Text, op: Text, subject: Text }).optional(),
});
const Delete = z.union([
  z.looseObject({ set: z.looseObject({ id: Text, fsid: Text }) }),
  z.looseObject({ leftovers: z.looseObject({ setId: Text, fsid: Text }) }),
]);

/** A journal's data as {@link TakeData}, or null: another version of siphon wrote it. */
export function readTakeData(data: unknown): TakeData | null {
  const read = Take.safeParse(data);
  return read.success ? (data as TakeData) : null;
}

/** A journal's data as {@link DeleteData}, or null. */
export function readDeleteData(data: unknown): DeleteData | null {
  const read = Delete.safeParse(data);
  return read.success ? (data as DeleteData) : null;
}
