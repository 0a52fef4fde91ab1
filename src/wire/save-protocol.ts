// What siphond asks of a worker of the `fill` role to write a disk's snapshot to a file.

import type { DiskFormat, SourceIds, SourceName } from './vocabulary.ts';
import type { CephSettings, FillProgress } from './worker-protocol.ts';

export interface SaveSource {
  readonly ceph: CephSettings;
  readonly ids: SourceIds;
  /** For messages. */
  readonly name: SourceName;
}

export interface SaveSpec extends SaveSource {
  /** It must not exist; whoever asked names it. */
  readonly partialPath: string;
  readonly format: DiskFormat;
}

/** Both as the publish user. */
export interface SaveMethods {
  /** The most that a file of it may take. */
  measureDisk: {
    params: SaveSource & { readonly format: DiskFormat };
    result: { readonly neededBytes: number };
  };
  /** Whatever the disk holds, its bytes as they are; holes stay holes. Complete and safe on disk when it returns; else nothing is left. */
  saveDisk: {
    params: SaveSpec;
    result: { readonly sizeBytes: number; readonly allocatedBytes: number };
    progress: FillProgress;
  };
}
