// What a restore asks of the workers: clones of a set's snapshots, put under a name in another image's place and taken back again.

import type { SnapshotSet, StateKind } from './vocabulary.ts';
import type { SnapshotAt } from './worker-protocol.ts';

/** An image's name, in a pool that is known by its id: pools may be renamed. */
export interface NameAt {
  readonly poolId: number;
  readonly namespace: string;
  readonly image: string;
}

/** One disk that is being restored. */
export interface RestoreDisk {
  readonly target: string;
  /** What it shall be: siphon's own snapshot, whose image may be in RBD's trash. */
  readonly from: SnapshotAt;
  /** Somebody wants the snapshot protected, and it stays so. */
  readonly wasProtected: boolean;
  /** The name under which the clone is put. */
  readonly to: NameAt;
  /** For people: `pool[/namespace]/image`. */
  readonly name: string;
  /** The image that has the name, and goes to the trash. */
  readonly oldId?: string;
  /** The clone, once it is made. */
  readonly newId?: string;
}

/** A disk of which {@link RestoreMethods.cloneDisk} has made a clone. */
export type ClonedDisk = RestoreDisk & { readonly newId: string };

export interface UserOfImage {
  /** As Ceph prints it (`client.4123`). */
  readonly client: string;
  readonly address: string;
  readonly isOwner: boolean;
  /** False: it owns the lock, and is not there any more. */
  readonly isWatching: boolean;
}

export interface RestoreFacts {
  readonly toPoolId: number;
  readonly source:
    | { readonly kind: 'gone'; readonly what: 'pool' | 'image' | 'snapshot' }
    | {
        readonly kind: 'there';
        readonly isTrashed: boolean;
        readonly isProtected: boolean;
        readonly sizeBytes: number;
      };
  /** Where an old image was asked for. */
  readonly isOldThere?: boolean;
  /** What has the name now. */
  readonly present?: { readonly imageId: string; readonly users: readonly UserOfImage[] };
}

/** A restore that can be undone: in siphon's omap `siphon.restores`, in each pool and namespace that holds one of its disks. */
export interface RestoreRecord {
  readonly schema: 1;
  readonly id: string;
  readonly setId: string;
  readonly fsid: string;
  readonly host: string;
  readonly domainUuid: string;
  readonly domainName: string;
  readonly createdAtMs: number;
  readonly disks: readonly RestoreDisk[];
}

/** As Ceph has it. */
export type FoundRestore = RestoreRecord & {
  /** An old disk is in the trash no more: this cannot be undone. */
  readonly isPurged?: true;
};

/** Of the `ceph` role, as the restore user. `id`: of the restore, by which what it makes is marked. */
export interface RestoreMethods {
  poolName: { params: { readonly poolId: number }; result: { readonly name: string } };
  lookRestore: {
    params: {
      readonly from: SnapshotAt;
      /** The pool by its name, or its id. */
      readonly to: {
        readonly pool: string | number;
        readonly namespace: string;
        readonly image: string;
      };
      /** Whether it is in the trash there. */
      readonly oldId?: string;
    };
    result: RestoreFacts;
  };
  /**
   * A clone of the snapshot under a marked name of its own, with the features, object size and data pool of the original; whatever was there of an
   * earlier try goes first. Where the cluster has clones of format 1 the snapshot is protected.
   */
  cloneDisk: {
    params: { readonly id: string; readonly disk: RestoreDisk };
    result: { readonly imageId: string; readonly isProtected: boolean };
  };
  /**
   * The image of this name goes to the trash, and the clone takes the name. Goes on wherever an earlier call ended.
   * @throws OperatingError busy: somebody has the old image open; mismatch: another image has the name
   */
  placeDisk: {
    params: { readonly id: string; readonly disk: ClonedDisk };
    result: null;
  };
  /**
   * The other way round: the clone goes, the old image comes back out of the trash. A clone that has snapshots is left in the trash. Goes on
   * wherever that, or an earlier call of this, ended.
   * @throws OperatingError busy: somebody has the clone open; not-found: the old image is gone; mismatch
   */
  unplaceDisk: {
    params: { readonly id: string; readonly disk: RestoreDisk };
    result: { readonly clone: 'removed' | 'absent' | 'in-trash' };
  };
  /** Makes the image itself what its snapshot is. @throws OperatingError busy: somebody has it open */
  rollBackDisk: {
    params: { readonly disk: RestoreDisk };
    result: null;
    progress: ObjectsDone;
  };
  /** Copies what the clone still reads from its parent; may be done again, then goes on with what is left. */
  flattenDisk: { params: { readonly disk: ClonedDisk }; result: null; progress: ObjectsDone };
  /** Unless it has clones. */
  unprotectSnapshot: {
    params: SnapshotAt;
    result: { readonly was: 'unprotected' | 'absent' | 'in-use' };
  };
  putRestore: { params: RestoreRecord; result: null };
  removeRestore: { params: RestoreRecord; result: null };
  /** Of all hosts, the newest first. */
  findRestores: { params: Record<string, never>; result: readonly FoundRestore[] };
  /** What a set keeps of a file. */
  readKept: {
    params: { readonly set: Pick<SnapshotSet, 'id' | 'fsid' | 'disks'>; readonly what: StateKind };
    result: { readonly base64: string };
  };
}

export interface ObjectsDone {
  readonly done: number;
  readonly total: number;
}

/** Of the `libvirt` role. */
export interface DefineMethods {
  /**
   * A new domain. It may reach nothing of this host that no other domain here does: who may define what he likes is root.
   * @throws OperatingError refused: it would; or its name is another's
   */
  mayDefine: { params: { readonly xml: string }; result: null };
  /** As mayDefine, and then defines it. */
  define: { params: { readonly xml: string }; result: { readonly uuid: string } };
}

/** A disk that was replaced is removed from the trash by force only, for a week: nothing purges it while somebody may want it back. */
export const OLD_DISK_KEEP_SECONDS = 7 * 24 * 3600;

/** The clone until it is put in its place. */
export function stagingName(id: string, target: string): string {
  return `siphon.${id}.${target}`;
}

/** The original of a snapshot, while it is taken out of the trash to be cloned: only what has a name can be. */
export function sourceName(id: string, target: string): string {
  return `siphon.${id}.${target}.from`;
}
