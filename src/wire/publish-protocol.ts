// What siphond asks of a cluster's worker to make an image of a disk's snapshot: a clone of it under a name that carries siphon's mark,
// its snapshot, its final name; and to part it from what it was cloned from.

import type { ImageAt, SnapshotAt } from './worker-protocol.ts';

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
  /** It stays a clone until somebody asks for more. */
  readonly isLinked?: true;
}

export interface FoundEntry extends PublishEntry {
  readonly at: CloneAt;
  readonly pool: string;
  /** What there is of it: nothing, an image under its marked name, or one that has got another. */
  readonly state: 'gone' | 'unnamed' | 'named';
}

/** What has to be known before anything is made. */
export interface PublishFacts {
  readonly poolId: number;
  readonly isNameTaken: boolean;
  readonly sizeBytes: number;
  /** Of the snapshot's image: 0 is one without a parent. */
  readonly ancestors: number;
  /** Its first bytes are those of an encrypted disk. */
  readonly isEncrypted: boolean;
  /** What the cluster asks of new clones. */
  readonly format: CloneFormat;
  /** Who makes it, as Ceph prints it: should that die, its locks are siphon's to drop. */
  readonly client: string;
}

/** Of the `ceph` role. All as the publish user, where nothing else is said. */
export interface PublishMethods {
  /** Changes nothing. @throws OperatingError not-found: there is no such pool, namespace, image or snapshot */
  lookToPublish: {
    params: { readonly source: SnapshotAt; readonly to: ImageAt };
    result: PublishFacts;
  };
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
  /** The same by a full copy of what the snapshot has: it never has a parent. */
  makeCopy: {
    params: { readonly to: CloneAt; readonly entry: PublishEntry };
    result: { readonly imageId: string; readonly snapId: number };
    progress: { readonly doneBytes: number; readonly totalBytes: number };
  };
  /** Idempotent. @throws OperatingError refused: another image has that name; not-found: the clone is gone */
  nameClone: {
    params: { readonly at: CloneAt; readonly image: string };
    result: { readonly was: 'named' | 'already' };
  };
  /** May be done again, and goes on with what is left. `dead`: a connection of siphon's that ended in the middle of it. */
  flattenClone: {
    params: { readonly at: CloneAt; readonly dead?: string };
    result: { readonly was: 'flattened' | 'flat' | 'gone' };
    progress: { readonly doneBytes: number; readonly totalBytes: number };
  };
  /** The clone with its snapshot, then its entry. Idempotent. @throws OperatingError busy: somebody has it open, or clones from it */
  removeClone: {
    params: { readonly at: CloneAt; readonly dead?: string };
    result: { readonly was: 'removed' | 'absent' };
  };
  dropEntry: { params: CloneAt; result: null };
  /** All entries of a pool's namespace, or of all pools and namespaces that this user may read. */
  findEntries: {
    params: { readonly pool?: string; readonly namespace?: string };
    result: readonly FoundEntry[];
  };
}
