// What publishing needs of the rest.

import type { Cluster } from '../../wire/ports.ts';
import type { SnapshotParts } from '../ports.ts';

export interface PublishParts
  extends Pick<
    SnapshotParts,
    'journal' | 'catalogue' | 'byFsid' | 'host' | 'log' | 'now' | 'onDefect'
  > {
  readonly clusters: () => readonly Cluster[];
  /** Runs it when its turn comes: the bound on flattens at once. */
  readonly limitFlatten: <T>(run: () => Promise<T>) => Promise<T>;
}
