// What exports and imports of sets need of the rest.

import type { Journal } from '../../wire/journal.ts';
import type { Cluster, SetCatalogue } from '../../wire/ports.ts';
import type { TransferMethods } from '../../wire/transfer-protocol.ts';
import type { SnapshotSet } from '../../wire/vocabulary.ts';
import type { Port } from '../../wire/worker-protocol.ts';
import type { SnapshotLog } from '../ports.ts';

export interface TransferParts {
  readonly journal: Journal;
  readonly catalogue: SetCatalogue;
  readonly byFsid: (fsid: string) => Promise<Cluster>;
  /** By its name in the config, or the default one. @throws OperatingError not-found */
  readonly byName: (name: string | undefined) => Promise<Cluster>;
  /** A set that the catalogue does not know: of another host. @throws OperatingError not-found, unavailable */
  readonly findSet: (id: string) => Promise<SnapshotSet>;
  /** For one job; dispose ends it. */
  readonly startWorker: (jobId: string) => Port<TransferMethods> & AsyncDisposable;
  /** Of the sockets on which bytes pass. */
  readonly folder: string;
  readonly host: string;
  /** 32 hex digits that no other export has. */
  readonly newExportId: () => string;
  readonly now: () => number;
  readonly log: SnapshotLog;
  /** A programmer's error came up in the background: the process should end. */
  readonly onDefect: (error: unknown) => void;
}
