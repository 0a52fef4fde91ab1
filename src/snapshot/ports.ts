// What the room of snapshots needs of the rest.

import type { RbdSource } from '../domain/disk-source.ts';
import type { Domain, StateFile } from '../domain/domain.ts';
import type { Journal } from '../wire/journal.ts';
import type { Pause } from '../wire/pause.ts';
import type { Cluster, LibvirtPort, SetCatalogue } from '../wire/ports.ts';
import type { Policy, ReleaseReason, SnapshotSet, StateKind } from '../wire/vocabulary.ts';
import type { HoldCounts } from './holds.ts';
import type { Limits } from './limits.ts';

export interface SnapshotParts {
  readonly journal: Journal;
  readonly catalogue: SetCatalogue;
  /** The cluster that a disk's source means. @throws OperatingError */
  readonly clusterOf: (source: RbdSource) => Promise<Cluster>;
  readonly byFsid: (fsid: string) => Promise<Cluster>;
  readonly libvirt: LibvirtPort;
  /** The policies that are in force now. */
  readonly policies: () => readonly Policy[];
  /** What an operator has paused now. */
  readonly pauses: () => readonly Pause[];
  /** What an operator lets a cluster be used for, now. */
  readonly limits: () => Limits;
  /** How long a set that is in no hurry waits now. */
  readonly jitterMs: () => number;
  /** What of a domain's state beside its disks is kept with a set, now. */
  readonly keeps: () => readonly StateKind[];
  /** In a bounded time; never rejects for what is wrong with the file. */
  readonly readState: (file: StateFile) => Promise<StateRead>;
  /** A set has been taken: whatever is done with it from then on. */
  readonly onTaken?: (set: SnapshotSet) => void;
  /** Runs it when its turn comes: the bound on sets at once. */
  readonly limit: <T>(run: () => Promise<T>) => Promise<T>;
  /** This host's name, for the record. */
  readonly host: string;
  readonly log: SnapshotLog;
  readonly counts: HoldCounts;
  readonly now: () => number;
  /** Resolves after so many ms, or early when the signal aborts. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
  /** A programmer's error came up in the background: the process should end. */
  readonly onDefect: (error: unknown) => void;
}

/** A file of state, whole; or why not. */
export type StateRead =
  | { readonly kind: 'read'; readonly path: string; readonly bytes: Buffer }
  | { readonly kind: 'unread'; readonly why: string };

/** As pino's. */
export interface SnapshotLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** A domain was released, as the hook tells it. */
export interface Release {
  readonly domain: Domain;
  /** Without passwords. */
  readonly xml: string;
  /** libvirt before 10.5.0 gives none. */
  readonly reason?: ReleaseReason;
  readonly atMs: number;
  readonly isLate: boolean;
}
