// What the cache is given: its settings, and its ways to the journal, to Ceph, to workers and to the world's facts.

import type { Journal } from '../wire/journal.ts';
import type { Pause } from '../wire/pause.ts';
import type { Clusters, StartFillWorker } from '../wire/ports.ts';
import type { VerificationPlan } from '../wire/verification-plan.ts';
import type { DiskFormat, SourceName, SourceProperties } from '../wire/vocabulary.ts';
import type { BaseRow } from './catalogue/bases.ts';
import type { Catalogue } from './catalogue/open.ts';
import type { QuarantineLimits } from './quarantine.ts';

export interface CacheSettings {
  /** Where bases are written. */
  readonly path: string;
  /** The read-only bind mount of it: where guests find bases, and the only path that anybody is told. */
  readonly mountPath: string;
  /** What all bases may take on disk. */
  readonly limitBytes: number;
  /** What a fill must leave of the file system's free space. */
  readonly reserveBytes: number;
  /** What a raw source becomes unless the path that an overlay names says otherwise. */
  readonly rawBecomes: DiskFormat;
  /** Where overlays lie; besides, they are looked for where domains' disks lie. */
  readonly overlayFolders: readonly string[];
  /** How long what failed its check is kept, and how much of it. */
  readonly quarantine: QuarantineLimits;
  /** How many fills run at once; as many more may run for the hook. */
  readonly fillConcurrency: number;
  /** How long one fill may take before it is given up. */
  readonly fillDeadlineMs: number;
  /** What a scrub reads of the disk in a second; 0: as fast as it goes. */
  readonly scrubRateBytes: number;
  /** A base is due for a scrub so long after its last. */
  readonly scrubEveryMs: number;
  /** How long one answer of a cluster may take. */
  readonly cephDeadlineMs: number;
}

/** src/trust's planVerification with its trust folder, rules and clock bound. */
export type PlanVerification = (request: {
  readonly source: SourceName;
  readonly properties?: SourceProperties;
  readonly operator?: { readonly sha256?: string; readonly sha512?: string };
  /** What is beside the source, as it is; how messages name that. */
  readonly manifest?: {
    readonly envelope: string;
    readonly subject: string;
    readonly sizeBytes: number;
  };
}) => Promise<VerificationPlan>;

/** What no job's end says loudly enough. */
export interface CacheLog {
  error(fields: object, message: string): void;
}

/** What of trust does not vouch any more for bytes that were just verified; undefined: nothing. @throws OperatingError: it cannot be told */
export type WhyFallen = (
  filled: Pick<BaseRow, 'name' | 'verification' | 'sourceFormat' | 'signatures'>,
) => Promise<string | undefined>;

export interface CacheParts {
  readonly settings: CacheSettings;
  readonly catalogue: Catalogue;
  readonly journal: Journal;
  readonly clusters: Clusters;
  readonly startFillWorker: StartFillWorker;
  readonly planVerification: PlanVerification;
  readonly whyFallen: WhyFallen;
  /** What an operator has paused now. */
  readonly pauses: () => readonly Pause[];
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** The text of /proc/locks; null: it cannot be read. */
  readonly readLocks: () => string | null;
  /** What the file system of the bases has left for us. */
  readonly readFreeBytes: () => number;
  readonly log: CacheLog;
  /** What lies there on this host is not seen: systemd gave siphond its own. */
  readonly hiddenFolders: readonly string[];
}
