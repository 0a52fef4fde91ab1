// What siphond asks of a cluster's worker to make an image of a disk's snapshot: a clone of it under a name that carries siphon's mark,
// its snapshot, its final name; and to part it from what it was cloned from.

import type { CephSettings, ImageAt, SnapshotAt } from './worker-protocol.ts';

/** The name of the snapshot by which a published image is read. */
export const PUBLISHED_SNAP = 'snap';

/** 1: the parent's snapshot has to be protected as long as there are clones of it. */
export type CloneFormat = 1 | 2;

/** An image that siphon is making, or has made and not parted from its parent yet. */
export interface CloneAt {
  readonly poolId: number;
  readonly namespace: string;
  /** The name with siphon's mark, under which it is made; also the key of its entry. */
  readonly marked: string;
  /** Absent as long as it is not known whether there is one. */
  readonly imageId?: string;
}

/** Of an image that is not independent, in omap object `siphon.publishing` of its pool and namespace (schema 1), by its marked name. */
export interface PublishEntry {
  readonly schema: 1;
  readonly host: string;
  readonly set: string;
  /** What it is cloned from. */
  readonly source: SnapshotAt;
  readonly format: CloneFormat;
  /** The name that it gets. */
  readonly image: string;
  readonly imageId?: string;
  /** When it was begun, and by whom, as Ceph prints it. */
  readonly atMs?: number;
  readonly client?: string;
  /** It stays a clone until somebody asks for more. */
  readonly isLinked?: true;
  /** It is no clone; its source may be in another cluster. */
  readonly isCopy?: true;
}

export interface FoundEntry extends PublishEntry {
  readonly at: CloneAt;
  readonly pool: string;
  /** What there is of it: nothing, an image under its marked name, or one that has got another. */
  readonly state: 'gone' | 'unnamed' | 'named';
}

/** Of a snapshot, before anything is made of it. */
export interface PublishSource {
  readonly sizeBytes: number;
  /** Of the snapshot's image: 0 is one without a parent. */
  readonly ancestors: number;
  /** Whether this user may write among the snapshot's children: without that a clone of format 2 can neither be made nor removed. */
  readonly mayClone: boolean;
  /** Its first bytes are those of an encrypted disk. */
  readonly isEncrypted: boolean;
}

/** Of where it goes. */
export interface PublishPlace {
  readonly poolId: number;
  readonly isNameTaken: boolean;
  /** Ceph lets nobody write to the pool: its quota is reached, or an OSD is full. */
  readonly isFull: boolean;
  /** What the cluster asks of new clones. */
  readonly format: CloneFormat;
  /** Who makes it, as Ceph prints it: should that die, its locks are siphon's to drop. */
  readonly client: string;
}

/** Of the `ceph` role. All as the publish user, where nothing else is said. */
export interface PublishMethods {
  /** Changes nothing. @throws OperatingError not-found: there is no such image or snapshot */
  lookAtSource: { params: SnapshotAt; result: PublishSource };
  /** Changes nothing. @throws OperatingError not-found: there is no such pool or namespace */
  lookAtPlace: { params: ImageAt; result: PublishPlace };
  /** For clones of format 1. As the snapshot user. */
  protectSource: { params: SnapshotAt; result: { readonly was: 'protected' | 'already' } };
  /**
   * What the snapshot no longer needs, as its last clone is gone: its protection; and where it was removed meanwhile, itself. As the
   * snapshot user.
   */
  releaseSource: { params: SnapshotAt; result: { readonly was: 'released' | 'absent' | 'in-use' } };
  /** Entry, clone, entry with the image's id; what librbd copied of the source's metadata goes; then the snapshot. */
  makeClone: {
    params: { readonly to: CloneAt; readonly entry: PublishEntry };
    result: { readonly imageId: string; readonly snapId: number };
  };
  /** The same by a full copy of what the snapshot has: it never has a parent. `from`: of another cluster, read as its publish user. */
  makeCopy: {
    params: { readonly to: CloneAt; readonly entry: PublishEntry; readonly from?: CephSettings };
    result: { readonly imageId: string; readonly snapId: number };
    progress: { readonly doneBytes: number; readonly totalBytes: number };
  };
  /** Idempotent. @throws OperatingError refused: another image has that name; not-found: the clone is gone */
  nameClone: {
    params: { readonly at: CloneAt; readonly image: string };
    result: { readonly was: 'named' | 'already' };
  };
  /** May be done again, and goes on with what is left. `dead`: a connection of siphon's that ended in the middle of it; `rateBytes`: a second. */
  flattenClone: {
    params: { readonly at: CloneAt; readonly dead?: string; readonly rateBytes?: number };
    result: { readonly was: 'flattened' | 'flat' | 'gone' };
    progress: { readonly doneBytes: number; readonly totalBytes: number };
  };
  /** The same by the cluster's manager, which goes on where nobody follows it any more. `unserved`: it does not, and why. */
  flattenByTask: {
    params: { readonly at: CloneAt };
    result:
      | { readonly was: 'flattened' | 'flat' | 'gone' }
      | { readonly was: 'unserved'; readonly why: string };
    progress: { readonly doneBytes: number; readonly totalBytes: number };
  };
  /** The manager is to leave it, should it have it. */
  dropTask: { params: CloneAt; result: null };
  /** The clone with its snapshot, then its entry. Idempotent. @throws OperatingError busy: somebody has it open, or clones from it */
  removeClone: {
    params: { readonly at: CloneAt; readonly dead?: string };
    result: { readonly was: 'removed' | 'absent' };
  };
  dropEntry: { params: CloneAt; result: null };
  /** Who has the image open, as Ceph prints them; of one that is not there nobody. */
  lookWhoUses: { params: CloneAt; result: { readonly users: readonly string[] } };
  /** All entries of a pool's namespace, or of all pools and namespaces that this user may read. */
  findEntries: {
    params: { readonly pool?: string; readonly namespace?: string };
    result: readonly FoundEntry[];
  };
}
