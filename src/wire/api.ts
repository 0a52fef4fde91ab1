// siphond's HTTP API on its unix sockets: JSON in and out, version 1. Errors are `{error: WireError}` with the code's
// status. A long request answers `application/x-ndjson`: lines of JobLine, the last one final.

import type { WireError } from './errors.ts';
import type { Evaluation, Retained } from './evaluation.ts';
import type { JobProgress, JobRecord } from './journal.ts';
import type { Pausable, Pause } from './pause.ts';
import type { Quarantined } from './quarantine-api.ts';
import type { NextRun } from './schedule.ts';
import type { TrustStanding } from './trust-api.ts';
import type {
  Ability,
  Base,
  DiskOwner,
  Policy,
  SnapshotSet,
  SourceIds,
  SourceProperties,
  Wanted,
} from './vocabulary.ts';

export const API_SOCKET = '/run/siphon/siphon.sock';
/** Of all routes, those that change nothing, and GET /metrics. */
export const READ_SOCKET = '/run/siphon/read.sock';
/** The header in which a client says who its user is: a claim, which nobody checks. */
export const USER_HEADER = 'x-siphon-user';
export const HOOK_SOCKET = '/run/siphon/hook.sock';
/** siphond's config; further files are in conf.d beside it. */
export const CONFIG_PATH = '/etc/siphon/siphon.toml';

/** One line of a watched job: its progress, then its end. */
export type JobLine =
  | { readonly kind: 'job'; readonly id: string; readonly subject: string }
  | { readonly kind: 'progress'; readonly progress: JobProgress }
  | { readonly kind: 'alive' }
  | { readonly kind: 'done'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly error: WireError };

/** POST /v1/warm -> JobLine…, done with a Base. `wait: false` answers after the job line. */
export interface WarmRequest {
  readonly source: string;
  readonly sha256?: string;
  readonly sha512?: string;
  readonly properties?: SourceProperties;
  /** Fill it anew, though it is here: its bytes are in doubt. */
  readonly again?: boolean;
  readonly wait?: boolean;
}

/** POST /v1/describe -> {}. One of them: the whole record (null removes it), or single properties of it (null removes one). */
export interface DescribeRequest {
  readonly source: string;
  readonly properties?: SourceProperties | null;
  readonly change?: PropertyChanges;
}
export type PropertyChanges = { readonly [K in keyof SourceProperties]: string | null };

/** GET /v1/path?source=SOURCE */
export interface PathAnswer {
  /** Where guests find it: under the read-only mount. The suffix is what a fill will make, or made. */
  readonly path: string;
  readonly isPresent: boolean;
  readonly ids: SourceIds;
}

/** GET /v1/bases -> BasesAnswer; GET /v1/base?base=BASE -> Base. BASE: an id, a path, or a SOURCE. */
export interface BasesAnswer {
  readonly bases: readonly (Base & { readonly path: string })[];
}

/** POST /v1/pin, /v1/unpin -> Base */
export interface PinRequest {
  readonly base: string;
}

/** POST /v1/evict -> EvictAnswer. With `bases`: these, else as many as the size limit asks for. */
export interface EvictRequest {
  readonly dryRun: boolean;
  readonly bases?: readonly string[];
  /** All that failed its check, too, and not only what is there for too long. */
  readonly isQuarantine?: boolean;
}
export interface EvictAnswer {
  readonly dryRun: boolean;
  /** What goes of that which failed its check; never by names. */
  readonly quarantine: readonly (Quarantined & { readonly reason: string })[];
  readonly decisions: readonly {
    readonly base: string;
    readonly name: string;
    readonly allocatedBytes: number;
    readonly decision: 'evict' | 'keep';
    readonly reason: string;
  }[];
  readonly freedBytes: number;
}

/** POST /v1/start -> JobLine…, done with {domain} */
export interface StartRequest {
  readonly domain: string;
}

/**
 * POST /v1/snapshots -> JobLine… of the first, done with SnapshotCreateAnswer. GET /v1/snapshots[?domain=][&allHosts=true] ; GET /v1/snapshots/ID -> a
 * set of these ; POST /v1/snapshots/ID/protect, /unprotect -> SnapshotSet ; DELETE /v1/snapshots/ID
 */
export interface SnapshotCreateRequest extends Partial<Wanted> {
  readonly domains: readonly string[];
}
export interface SnapshotCreateAnswer {
  readonly sets: readonly SnapshotSet[];
  /** Where several were asked for; else the request fails. */
  readonly failed: readonly { readonly domain: string; readonly error: WireError }[];
}
/** `allHosts`: as Ceph has them recorded, those of other hosts too; else as the catalogue knows them. */
export interface SnapshotsAnswer {
  readonly sets: readonly (SnapshotSet & { readonly state: SetState })[];
  /** Of all hosts: `POOL[/NAMESPACE]` that could not be looked into. */
  readonly closed?: readonly string[];
}
export type SetState = 'taking' | 'complete' | 'deleting';

/** POST /v1/prune -> PruneAnswer. What is to go is removed in the background, one set a second, each as a job. */
export interface PruneRequest {
  readonly dryRun: boolean;
  /** Name or UUID; all, where it is left out. */
  readonly domain?: string;
}
export interface PruneAnswer {
  readonly dryRun: boolean;
  readonly decisions: readonly (Retained & {
    readonly domain: string;
    readonly createdAtMs: number;
  })[];
}

/** GET /v1/policies */
export interface PoliciesAnswer {
  /** In the order in which they are asked. */
  readonly policies: readonly Policy[];
  readonly problems: StatusAnswer['problems'];
  /** Of those that have a schedule. */
  readonly nextRuns: readonly NextRun[];
}

/** GET /v1/policies/test?domain=&event= */
export interface PolicyTestAnswer {
  readonly domain: { readonly name: string; readonly uuid: string };
  readonly event: string;
  readonly evaluation: Evaluation;
  readonly disks: readonly {
    readonly target: string;
    readonly image: string;
    readonly owner?: DiskOwner;
  }[];
  readonly leftOut: SnapshotSet['leftOut'];
  /** When this domain's next set is due by the policy's schedule. */
  readonly nextRun?: NextRun;
}

/** GET /v1/jobs[?limit=] ; GET /v1/jobs/ID ; GET /v1/jobs/ID/watch -> JobLine… ; POST /v1/jobs/ID/cancel */
export interface JobsAnswer {
  readonly jobs: readonly (JobRecord & { readonly progress?: JobProgress })[];
}

/** POST /v1/pause, /v1/resume -> PauseAnswer: what is paused then. */
export interface PauseRequest {
  readonly what: Pausable | 'all';
}
export interface PauseAnswer {
  readonly paused: readonly Pause[];
}

/** POST /v1/reload -> ReloadAnswer. Keys of the config: `cache.limit`; a cluster is one, `clusters.NAME`. */
export interface ReloadAnswer {
  readonly applied: readonly string[];
  /** What has changed in the files and waits for a restart of siphond. */
  readonly needsRestart: readonly string[];
}

/** GET /v1/status */
export interface StatusAnswer {
  readonly version: string;
  readonly pid: number;
  readonly startedAtMs: number;
  readonly clusters: readonly {
    readonly name: string;
    readonly fsid?: string;
    readonly state: 'connected' | 'unavailable';
    readonly why?: string;
  }[];
  readonly libvirt: { readonly state: 'connected' | 'unavailable'; readonly why?: string };
  readonly cache: {
    /** Where guests see the bases. */
    readonly path: string;
    readonly bases: number;
    readonly allocatedBytes: number;
    readonly limitBytes: number;
    readonly freeBytes: number;
    readonly isMountedReadOnly: boolean;
  };
  /** As far as librbd and libvirt are there to tell. */
  readonly abilities: readonly Ability[];
  /** The limits of fill workers that are in force (`memory.max=2147483648`); of which controllers this host has none, and why. */
  readonly fillGroup: {
    readonly limits: readonly string[];
    readonly absent: readonly string[];
    /** Of a scrub's workers. */
    readonly scrubs?: readonly string[];
    readonly why?: string;
  };
  readonly trust: TrustStanding;
  readonly jobsOpen: number;
  readonly paused: readonly Pause[];
  readonly spooled: number;
  readonly problems: readonly { readonly where: string; readonly what: string }[];
}
