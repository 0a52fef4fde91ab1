// What siphond asks of a fill worker about the file of a base: is it still what was read of its source, and if not, make it so.

import type { ChunkTableBytes } from './verification-plan.ts';
import type { DiskFormat, SourceIds, SourceName } from './vocabulary.ts';
import type { CephSettings, FillProgress } from './worker-protocol.ts';

/** The qcow2 tables in front of the data, which no table of chunks tells of: of so many bytes, by the digest of a table of their own. */
export interface FileHead {
  readonly lengthBytes: number;
  readonly sha256: string;
}

/** A base's file, and what it must be. */
export interface BaseFileSpec {
  /** How messages call it. */
  readonly subject: string;
  readonly path: string;
  readonly format: DiskFormat;
  readonly sourceFormat: DiskFormat;
  readonly sourceSizeBytes: number;
  readonly table: ChunkTableBytes;
  /** Absent: it was not recorded; the data says what it must be. */
  readonly head?: FileHead;
  /** The kernel reads it through its cache in any case. */
  readonly isSealed?: true;
}

export interface ScrubSpec extends BaseFileSpec {
  /** Bytes a second, read of the disk; 0: as fast as it goes. */
  readonly rateBytes: number;
}

/** What of a file is not what it must be. */
export interface FileDamage {
  /** Runs of chunks: [first, how many]. */
  readonly chunks: readonly (readonly [first: number, count: number])[];
  readonly chunkCount: number;
  /** What of the source these hold. */
  readonly chunkBytes: number;
  /** The qcow2 tables in front of the data. */
  readonly isHead: boolean;
  /** It is too long or too short, or has something after its data. */
  readonly isTail: boolean;
  /** What the disk did not give back; it counts as damaged. */
  readonly unreadBytes: number;
}

export interface ScrubResult {
  readonly damage?: FileDamage;
  /** What was read of the disk; holes are not. */
  readonly readBytes: number;
}

export interface MendSpec extends BaseFileSpec {
  readonly ceph: CephSettings;
  readonly ids: SourceIds;
  readonly name: SourceName;
  /** Must not exist; on the filesystem of `path`. */
  readonly partialPath: string;
}

export type MendResult =
  | {
      readonly kind: 'mended';
      readonly chunks: number;
      readonly isHead: boolean;
      /** From Ceph. */
      readonly readBytes: number;
      /** What is good is shared with the old file. */
      readonly isReflinked: boolean;
      readonly head?: FileHead;
      readonly fsVerity?: string;
    }
  /** Nothing was left; a fill is the way. */
  | { readonly kind: 'refill'; readonly why: string };

export interface ScrubMethods {
  /** Reads the file from the disk. Changes nothing. */
  scrub: { params: ScrubSpec; result: ScrubResult; progress: FillProgress };
  /** Leaves a complete, fsynced file at partialPath: what is good of the old one, and the rest from the source; or removes it and rejects. */
  mend: { params: MendSpec; result: MendResult; progress: FillProgress };
}
