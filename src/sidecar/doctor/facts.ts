// What the doctor looks at. A part that could not be looked at is absent, or says why.

import type { StatusAnswer } from '../../wire/api.ts';
import type { Pools } from '../../wire/caps.ts';
import type { ErrorCode } from '../../wire/errors.ts';
import type { Ability } from '../../wire/vocabulary.ts';
import type { CephSettings, Examined } from '../../wire/worker-protocol.ts';
import type { Config } from '../config/load.ts';

export interface Facts {
  /** This program's own. */
  readonly version: string;
  readonly nowMs: number;
  readonly host: HostFacts;
  /** `FILE:LINE: KEY: WHAT` each; with any of them there is no `site`. */
  readonly configProblems: readonly string[];
  readonly site?: SiteFacts;
}

/** What does not depend on the config. */
export interface HostFacts {
  readonly hook: HookFacts;
  readonly units: readonly UnitFacts[];
  readonly isClockSynchronised?: boolean;
  /** Users and groups of siphon's that this host has not. */
  readonly missingAccounts: readonly string[];
  readonly isAppArmorActive: boolean;
  readonly guard: GuardFacts;
}

/** Whether the libvirt worker's user may set the guards of domains that are held. */
export interface GuardFacts {
  /** systemd's word, where it may not. */
  readonly why?: string;
  readonly isRuleThere: boolean;
}

export interface HookFacts {
  readonly state: 'seen' | 'missing' | 'not-executable' | 'other-version' | 'unseen' | 'unknown';
  /** install-hook.sh's own words. */
  readonly words: string;
  /** Executable copies beside it. */
  readonly copies: readonly string[];
  readonly isBypassed: boolean;
}

export interface UnitFacts {
  readonly name: string;
  readonly isLoaded: boolean;
  readonly isActive: boolean;
  readonly isEnabled: boolean;
  readonly before: readonly string[];
}

export interface SiteFacts {
  readonly config: Config;
  readonly policyProblems: readonly { readonly where: string; readonly what: string }[];
  readonly sockets: readonly SocketFacts[];
  readonly spool: SpoolFacts;
  readonly disk: DiskFacts;
  readonly siphond: SiphondFacts;
  readonly libvirt: LibvirtFacts;
  readonly clusters: readonly ClusterFacts[];
}

export interface SocketFacts {
  readonly path: string;
  /** Permission bits and group; undefined: there is no socket. */
  readonly mode?: number;
  readonly group?: string;
  readonly modeWanted: number;
  readonly groupWanted: string;
}

export interface SpoolFacts {
  readonly events: number;
  /** ms since the epoch, of the oldest event. */
  readonly oldestMs?: number;
  readonly bad: number;
}

export interface DiskFacts {
  /** `publish.snapshots_directory` is not there, or not siphon's to write. */
  readonly isSnapshotsClosed?: true;
  readonly mount: 'read-only' | 'writable' | 'other' | 'missing';
  readonly bases: 'open' | 'closed' | 'missing';
  readonly freeBytes?: number;
  readonly totalBytes?: number;
  readonly stateFreeBytes?: number;
  readonly canReflink?: boolean;
  /** Of the bases' folder, where SELinux enforces. */
  readonly selinuxType?: string;
}

export type SiphondFacts =
  | {
      readonly kind: 'answers';
      readonly status: StatusAnswer;
      /** Those whose bytes are in question: what is said of the others is among the problems. */
      readonly suspects: readonly string[];
    }
  | { readonly kind: 'silent'; readonly why: string };

export type LibvirtFacts =
  | {
      readonly kind: 'answers';
      readonly versions: { readonly libvirt: string; readonly hypervisor: string };
      readonly domains: readonly DomainFacts[];
      /** Why the user of the libvirt worker may not manage it, though root may. */
      readonly whyClosed?: string;
    }
  | { readonly kind: 'silent'; readonly why: string };

export interface DomainFacts {
  readonly name: string;
  readonly hasAgentChannel: boolean;
  readonly disks: readonly RbdDiskFacts[];
}

export interface RbdDiskFacts {
  readonly pool: string;
  readonly namespace: string;
  readonly image: string;
  /** cephx user without `client.` */
  readonly user?: string;
}

export interface ClusterFacts {
  readonly name: string;
  readonly settings: CephSettings;
  readonly isTickPoolStated: boolean;
  readonly conf: 'readable' | 'missing' | 'unreadable';
  /** Files, the conf and keyrings, that root may read and siphond's workers may not. */
  readonly closed: readonly string[];
  readonly users: readonly UserFacts[];
  /** Pools of sources and of domains' disks that were looked at. */
  readonly pools: Pools;
  readonly vmKeys: readonly VmKeyFacts[];
  /** librbd's. */
  readonly abilities: readonly Ability[];
}

export type Job = keyof CephSettings['users'];

/** One cephx user with all jobs that the config gives it. */
export interface UserFacts {
  readonly name: string;
  readonly key: KeyFacts;
  readonly trials: readonly { readonly job: Job; readonly trial: Trial }[];
}

export type Trial =
  | { readonly kind: 'told'; readonly examined: Examined }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly why: string }
  /** A file that it needs is not there: nothing was asked. */
  | { readonly kind: 'not-tried' };

/** Where the user's key was looked for, and what was there. The key itself is never kept. */
export type KeyFacts =
  | { readonly kind: 'there'; readonly file: string; readonly type: KeyType }
  | { readonly kind: 'no-key'; readonly files: readonly string[] }
  | { readonly kind: 'unreadable'; readonly file: string; readonly why: string };
export type KeyType = 'aes' | 'aes256k' | 'other';

/** Whether a domain's own key may blocklist a dead client of its disk. */
export interface VmKeyFacts {
  readonly user: string;
  /** undefined: nobody here may look. */
  readonly monCaps?: string;
}
