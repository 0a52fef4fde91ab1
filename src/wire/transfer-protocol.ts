// What siphond asks of the worker of one export or import. The bytes go between the worker and the command that asked, by a
// socket of their own, and never through siphond.

import { MANIFEST_BYTES_MAX } from './verification-plan.ts';
import type { SnapshotSet } from './vocabulary.ts';
import type { CephSettings } from './worker-protocol.ts';

/** Where the command connects, and what it says first. */
export interface StreamAt {
  readonly path: string;
  readonly token: string;
}

/** A pool, and a namespace of it; '' is the default one. */
export interface PoolPlace {
  readonly pool: string;
  readonly namespace: string;
}

/** Bytes of the file that are through; of how many, where that is known. */
export interface TransferProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** Of a disk's snapshot, as it was attached (docs/manifests.md). */
export interface DiskManifest {
  readonly target: string;
  readonly envelope: string;
}

/** Of all disks of an export together: its header is read as one. */
export const MANIFESTS_BYTES_MAX = MANIFEST_BYTES_MAX;

export interface ExportSpec {
  readonly ceph: CephSettings;
  /** With the disks alone that are wanted. */
  readonly set: SnapshotSet;
  /** Of the same disks; undefined: a full export. */
  readonly since?: SnapshotSet;
  readonly manifests?: readonly DiskManifest[];
  /** Of the export, 32 hex digits. */
  readonly id: string;
  readonly nowMs: number;
}

export interface ExportResult {
  readonly id: string;
  /** The whole file. */
  readonly fileBytes: number;
  /** What of it is the disks' data. */
  readonly dataBytes: number;
  readonly isResumed: boolean;
}

export interface ImportSpec {
  readonly ceph: CephSettings;
  readonly place: PoolPlace;
  /** For the images: of one disk; of several with `-TARGET`. Default: as they were called. */
  readonly name?: string;
  readonly host: string;
}

/** What an import will do, before it has done anything. */
export interface ImportPlan {
  /** Of the export. */
  readonly id: string;
  readonly domainName: string;
  /** As the set is called in the file, or as an earlier try of this import has called it. */
  readonly setId: string;
  readonly isIncremental: boolean;
  /** An earlier try is gone on with. */
  readonly isResumed: boolean;
}

/** The `transfer` role: one worker an export or import. */
export interface TransferMethods {
  /** Makes a socket in `folder`, for one client, which knows its token. */
  listen: { params: { readonly folder: string }; result: StreamAt };
  /** @throws OperatingError mismatch: what the client has begun is of another set; not-found: a snapshot is gone */
  exportSet: { params: ExportSpec; result: ExportResult; progress: TransferProgress };
  /** Reads the header and looks at the place; changes nothing. @throws OperatingError mismatch: a wrong base; refused: a name is taken */
  openImport: { params: ImportSpec; result: ImportPlan };
  /**
   * Writes, checks, takes the snapshots, and records the set, as `setId`. Where its client is gone (`cancelled`) it is left to go on with
   * later; after any other failure nothing of it is left.
   */
  runImport: {
    params: { readonly setId: string; readonly nowMs: number };
    result: SnapshotSet;
    progress: TransferProgress;
  };
}

/** An import that was begun: its own record in Ceph, beside its images. */
export interface ImportRef extends PoolPlace {
  readonly id: string;
}

export interface FoundImport extends ImportRef {
  readonly host: string;
  /** When its host noted it last. */
  readonly atMs: number;
  readonly setId: string;
  /** All bytes are there. */
  readonly isWhole: boolean;
  /** Who has its images open. */
  readonly users: readonly string[];
}

/** What became of it. */
export type Settled =
  | { readonly was: 'absent' | 'undone' | 'left' }
  | { readonly was: 'finished'; readonly set: SnapshotSet };

/** Of the `ceph` role. */
export interface LeftImportMethods {
  /**
   * Finishes an import of which all bytes are there and verified; any other is undone if it is given up, else left. As the restore user.
   */
  settleImport: {
    params: ImportRef & { readonly isGivenUp: boolean };
    result: Settled;
  };
  /** Of all hosts, in all pools and namespaces that the restore user may read. As that. */
  findImports: { params: Record<string, never>; result: readonly FoundImport[] };
}
