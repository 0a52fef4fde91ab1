// What publishing needs of the rest.

import type { Cluster, FillPort } from '../../wire/ports.ts';
import type { SnapshotParts } from '../ports.ts';
import type { FilePlan } from './data.ts';

export interface FilePaths {
  /** While it is not whole. */
  readonly partial: string;
  /** Under which it is found. */
  readonly path: string;
}

export interface SnapshotFiles {
  /** @throws OperatingError refused: there is no such folder; denied */
  freeBytesIn(folder: string): Promise<number>;
  /** @throws OperatingError refused: one is there */
  assertFree(all: readonly FilePaths[]): Promise<void>;
  /** All of them, or none. May be done again. @throws OperatingError refused: somebody made one of them meanwhile */
  nameFiles(all: readonly FilePaths[]): Promise<void>;
  /** What was made, of files that have not all got their names. May be done again. */
  dropFiles(all: readonly FilePaths[]): Promise<void>;
}

export interface PublishParts
  extends Pick<
    SnapshotParts,
    'journal' | 'catalogue' | 'byFsid' | 'host' | 'log' | 'now' | 'onDefect'
  > {
  readonly clusters: () => readonly Cluster[];
  /** Where files may be written; undefined: the config names no folder. */
  readonly files: () => FilePlan | undefined;
  readonly disk: SnapshotFiles;
  /** For the files of one job; dispose ends it. */
  readonly startFileWorker: (jobId: string) => FillPort & AsyncDisposable;
  /** Runs it when its turn comes: each copy has buffers of its own. */
  readonly limitCopy: <T>(run: () => Promise<T>) => Promise<T>;
  /** Runs it when its turn comes: the bound on flattens at once. */
  readonly limitFlatten: <T>(run: () => Promise<T>) => Promise<T>;
  /** Bytes a second of a flatten that has its turn. */
  readonly flattenRate: () => number | undefined;
}
