// What siphond and its workers say to each other. A frame is a 4-byte big-endian length and that many bytes of JSON,
// on file descriptor 3 of the worker. The worker is silent until `init`; then it says `ready` or `init-failed`.

import type { WireError } from './errors.ts';
import type { ArmMethods, HoldMethods } from './hold-protocol.ts';
import type { PublishMethods } from './publish-protocol.ts';
import type { DefineMethods, RestoreMethods } from './restore-protocol.ts';
import type { SaveMethods } from './save-protocol.ts';
import type { FileHead, ScrubMethods } from './scrub-protocol.ts';
import type { LeftImportMethods } from './transfer-protocol.ts';
import type { ChunkTableBytes, VerificationPlan } from './verification-plan.ts';
import type { ProofMethods } from './verify-protocol.ts';
import type {
  Ability,
  Digests,
  DiskFormat,
  ReleaseReason,
  SnapshotSet,
  SourceFacts,
  SourceIds,
  SourceName,
  SourceProperties,
  StateKind,
  Verification,
} from './vocabulary.ts';

export type WorkerRole = 'ceph' | 'libvirt' | 'fill' | 'transfer';

/** A frame longer than this is a defect: the peer is killed. Domain XML may be some MB. */
export const FRAME_BYTES_MAX = 32 * 1024 * 1024;

export type ToWorker =
  | { readonly kind: 'init'; readonly role: WorkerRole; readonly settings: unknown }
  | {
      readonly kind: 'call';
      readonly id: number;
      readonly method: string;
      readonly params: unknown;
    }
  | { readonly kind: 'cancel'; readonly id: number }
  /** Answered by `pong` from the event loop, at once. */
  | { readonly kind: 'ping' };

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'pong' }
  | { readonly kind: 'init-failed'; readonly error: WireError }
  | { readonly kind: 'result'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly error: WireError }
  | { readonly kind: 'progress'; readonly id: number; readonly progress: unknown }
  | { readonly kind: 'event'; readonly event: unknown };

/** A role's methods: what each takes, gives, and tells while it runs. */
export type Methods = Record<string, { params: unknown; result: unknown; progress?: unknown }>;

export interface CallOptions<Progress = never> {
  /** The supervisor ends the call, and if it must the worker, when this many ms have passed. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

/** A typed way to a worker. Every call rejects with an OperatingError, or with the caller's own defect. */
export interface Port<M> {
  call<K extends keyof M & string>(
    method: K,
    params: M[K] extends { params: infer P } ? P : never,
    options: CallOptions<M[K] extends { progress: infer G } ? G : never>,
  ): Promise<M[K] extends { result: infer R } ? R : never>;
}

/** An image by its names, in one cluster. */
export interface ImageAt {
  readonly pool: string;
  readonly namespace: string;
  readonly image: string;
}

/** A domain's disk. Where its id is known it is found by that: it may have been renamed since, and another have its name. */
export interface DiskAt extends ImageAt {
  readonly imageId?: string;
}

/** How a worker reaches one cluster. Each identity is a cephx user without `client.`; its keyring as ceph.conf says, or here. */
export interface CephSettings {
  /** The cluster's fsid if the config states it; a connection to another is refused. */
  readonly fsid?: string;
  readonly conf: string;
  readonly users: {
    readonly fill: CephUser;
    readonly snapshot: CephUser;
    readonly publish: CephUser;
    /** Absent: nobody puts disks back. */
    readonly restore?: CephUser;
  };
  /** A pool for the ticks of armed snapshots; where it is absent, or not to be used, it is that of the first disk. */
  readonly tickPool?: string;
  /** Bounds for librados: client_mount_timeout, rados_mon_op_timeout and rados_osd_op_timeout, in ms. */
  readonly timeoutMs: number;
}
export interface CephUser {
  readonly name: string;
  readonly keyring?: string;
}

/** What an image's locks and watchers say about who uses it. Entities as Ceph prints them (`client.4123`). */
export interface ImageUse {
  readonly imageId: string;
  readonly poolId: number;
  readonly sizeBytes: number;
  readonly lockOwners: readonly string[];
  readonly watchers: readonly string[];
  /** Whoever made them. */
  readonly snapshots: number;
}

/** How a cluster is, and how full. */
export interface ClusterHealth {
  /** `HEALTH_OK`, `HEALTH_WARN`, `HEALTH_ERR` */
  readonly status: string;
  /** Codes of what is wrong: `OSD_NEARFULL`. */
  readonly checks: readonly string[];
  /** Raw, of all OSDs. */
  readonly totalBytes: number;
  readonly usedBytes: number;
}

export interface SnapshotAt {
  readonly poolId: number;
  readonly namespace: string;
  readonly imageId: string;
  readonly snapId: number;
  readonly snap: string;
}

/** The `ceph` role: one worker a cluster, kept warm. */
export interface CephMethods extends ArmMethods, RestoreMethods, LeftImportMethods, PublishMethods {
  /** Who is there, as this user's connection sees it, and who that is (`client.4123`); not stated: the fill user's. */
  status: {
    params: { readonly as?: keyof CephSettings['users'] };
    result: { readonly fsid: string; readonly client: string };
  };
  /** What of librbd not every release has, as this host's has it; asks no cluster. */
  abilities: { params: Record<string, never>; result: readonly Ability[] };
  /** Names to ids and facts, with siphon's own properties record. `not-found` names pool, image or snapshot. */
  resolveSource: {
    /** `isRecordLeft`: the record is not read, since it is to be written anew whatever it is. */
    params: SourceName & { readonly isRecordLeft?: boolean };
    result: SourceFacts;
  };
  /** As resolveSource, by ids: a base's path has no names. `not-found` says which of pool, image and snapshot. */
  describeSource: { params: SourceIds; result: SourceFacts };
  /** A fresh look by id: is the source still there? */
  checkSource: { params: SourceIds; result: SourcePresence };
  /** Writes (null: removes) siphon's properties record of a source, as the publish user. */
  setProperties: {
    params: { readonly ids: SourceIds; readonly properties: SourceProperties | null };
    result: null;
  };
  /** What the records of sources of one pool and namespace say, in their order: `off` is deactivated. A record that is not there says nothing against it. */
  readStatuses: {
    params: {
      readonly fsid: string;
      readonly poolId: number;
      readonly namespace: string;
      readonly sources: readonly { readonly imageId: string; readonly snapId: number }[];
    };
    result: readonly ('on' | 'off' | 'unreadable')[];
  };
  /** The chunk manifest beside a source, as it was attached. As the fill user, if no other is named. */
  readManifest: {
    params: SourceIds & { readonly as?: keyof CephSettings['users'] };
    result: { readonly envelope: string | null };
  };
  /** Attaches one in place of what is there (null: removes that), whole or not at all, as the publish user, or where that may not, the restore user. */
  setManifest: {
    params: { readonly ids: SourceIds; readonly envelope: string | null };
    result: null;
  };
  /** The first bytes of an image (for a qcow2 header inside RBD), base64; at most 64 KiB. As the snapshot user. */
  readHead: {
    params: ImageAt & { readonly snap?: string; readonly lengthBytes: number };
    result: { readonly base64: string };
  };
  imageUse: { params: DiskAt; result: ImageUse };
  /** As the snapshot user. */
  clusterHealth: { params: Record<string, never>; result: ClusterHealth };
  /** Creates the snapshot `snap` of the image and tells its ids. As the snapshot user. */
  createSnapshot: {
    params: DiskAt & { readonly snap: string };
    result: SnapshotAt & { readonly sizeBytes: number };
  };
  /** Takes the exclusive lock from `client`, a connection of siphon's that ended with it, and waits for its watch to end. As the snapshot user. */
  dropLock: {
    params: DiskAt & { readonly client: string };
    result: { readonly was: 'dropped' | 'absent' };
  };
  /** Removes one of siphon's snapshots, found by image id, snap id and name together; anything unmarked is refused. */
  removeSnapshot: { params: SnapshotAt; result: { readonly was: 'removed' | 'absent' } };
  /** What of it is allocated, in whole objects and without a parent's, where its object map tells; else why not. As the snapshot user. */
  measureSnapshot: {
    params: SnapshotAt;
    result: { readonly allocatedBytes: number } | { readonly why: string };
  };
  /** siphon's marked snapshots of an image. `isProtected`: clones of format 1 need it. */
  listMarked: { params: DiskAt; result: readonly (SnapshotAt & { readonly isProtected?: true })[] };
  /** Writes a copy of a file that a set keeps, for the set to name; it goes with the set. As the snapshot user. */
  keepFile: {
    params: {
      readonly set: Pick<SnapshotSet, 'id' | 'fsid' | 'disks'>;
      readonly what: StateKind;
      readonly base64: string;
    };
    result: { readonly object: string };
  };
  /** Records a set in siphon's omap, in each pool and namespace that holds one of its disks. */
  putSet: { params: SnapshotSet; result: null };
  /** Its record, and before that what it keeps. */
  removeSet: { params: SnapshotSet; result: null };
  /**
   * The sets of all hosts, of all pools and their namespaces that the snapshot user may read. `closed`: those that it may not.
   */
  findSets: {
    params: Record<string, never>;
    result: { readonly sets: readonly SnapshotSet[]; readonly closed: readonly string[] };
  };
  /** What a user may do, by trying what changes nothing: in pools, and which of the disks are there. */
  examine: {
    params: {
      readonly as: keyof CephSettings['users'];
      /** `POOL[/NAMESPACE]` */
      readonly pools: readonly string[];
      readonly disks: readonly ImageAt[];
      /** The snapshot user's pool for ticks. */
      readonly tickPool?: string;
    };
    result: Examined;
  };
  /** The caps of any user, as the fill user: absent where it may not look. */
  readCaps: {
    params: { readonly entity: string };
    result: { readonly caps?: Readonly<Record<string, string>> };
  };
}

/** What one user saw of a cluster. */
export interface Examined {
  readonly health: {
    readonly status: string;
    readonly checks: readonly { readonly code: string; readonly summary: string }[];
  };
  /** The monitors' Ceph. */
  readonly release: string;
  readonly mayBlocklist: boolean;
  readonly pools: readonly { readonly pool: string; readonly trial: PoolTrial }[];
  /** Of the pool for ticks, where it was asked for. */
  readonly ticks?: PoolTrial;
  readonly disks: readonly {
    readonly at: ImageAt;
    readonly trial:
      | { readonly kind: 'there'; readonly hasLock: boolean }
      | { readonly kind: 'absent' | 'may-not' | 'untold' };
  }[];
}

export type PoolTrial =
  | { readonly kind: 'may' | 'absent' }
  | { readonly kind: 'may-not'; readonly op: string }
  | { readonly kind: 'untold'; readonly why: string };

export type SourcePresence =
  | { readonly kind: 'present' }
  | { readonly kind: 'gone'; readonly what: 'pool' | 'image' | 'snapshot' };

export interface LibvirtSettings {
  readonly uri: string;
}

export interface DomainSummary {
  readonly uuid: string;
  readonly name: string;
  readonly isActive: boolean;
  readonly isPersistent: boolean;
  readonly hasManagedSave: boolean;
}

/** The `libvirt` role: one worker, kept warm. `domain` is a name or a UUID. */
export interface LibvirtMethods extends HoldMethods, DefineMethods, ProofMethods {
  listDomains: { params: Record<string, never>; result: readonly DomainSummary[] };
  lookUp: { params: { readonly domain: string }; result: DomainSummary };
  /** Whether it runs; else why it stopped last, as far as libvirt knows. */
  lastStop: {
    params: { readonly domain: string };
    result: { readonly isActive: boolean; readonly reason?: ReleaseReason };
  };
  /** `inactive`: the persistent definition; else the live one where there is one. Never with secrets. */
  domainXml: { params: { readonly domain: string; readonly inactive: boolean }; result: string };
  start: { params: { readonly domain: string }; result: null };
  /** As `11.3.0`. */
  versions: {
    params: Record<string, never>;
    result: { readonly libvirt: string; readonly hypervisor: string };
  };
}

/** What the libvirt worker tells unasked. `connected` also after each reconnect: reconcile then. */
export type LibvirtEvent =
  | { readonly what: 'connected' }
  | { readonly what: 'closed'; readonly why: string }
  | {
      readonly what: 'lifecycle';
      readonly uuid: string;
      readonly name: string;
      /** libvirt's virDomainEventType, lower case: defined, undefined, started, suspended, resumed, stopped, shutdown, … */
      readonly event: string;
      /** Of `stopped`. */
      readonly reason?: ReleaseReason;
      /** It comes from another host, or goes there, and nothing else has happened to it. */
      readonly isMove?: true;
    };

/** The `fill` role: one worker a job. */
export interface FillMethods extends SaveMethods, ScrubMethods {
  /** Reads the source, checks it, and leaves a complete, fsynced file at partialPath; or removes it and rejects. */
  fill: { params: FillSpec; result: FillResult; progress: FillProgress };
  /** Reads the source for its digests alone: for a base that is already here. */
  digest: {
    params: Pick<FillSpec, 'ceph' | 'ids' | 'name' | 'plan'>;
    result: Pick<FillResult, 'digests' | 'table' | 'verification'>;
    progress: FillProgress;
  };
  /** Reads the source for the table of its chunks: for who signs it. */
  table: {
    params: Pick<FillSpec, 'ceph' | 'ids' | 'name'>;
    result: { readonly table: ChunkTableBytes };
    progress: FillProgress;
  };
}

export interface FillSpec {
  readonly ceph: CephSettings;
  readonly ids: SourceIds;
  /** How the source is called in messages: it is found by its ids alone. */
  readonly name: SourceName;
  readonly plan: VerificationPlan;
  /** Must not exist; in a folder on the filesystem of the bases. */
  readonly partialPath: string;
  /** What a raw source becomes. A qcow2 source is copied verbatim. */
  readonly rawBecomes: DiskFormat;
}

export interface FillProgress {
  /** Bytes of the source that are through: read, written and digested; holes, which are only digested, included. */
  readonly doneBytes: number;
  /** The source's size. */
  readonly totalBytes: number;
  /** Of `doneBytes`, what was not a hole. */
  readonly readBytes: number;
  /** Of `totalBytes`, what is not a hole. */
  readonly allocatedBytes: number;
  /** For the rest, at the rate of the last seconds; absent while there is none. */
  readonly remainingMs?: number;
}

export interface FillResult {
  readonly sourceFormat: DiskFormat;
  readonly format: DiskFormat;
  readonly virtualSizeBytes: number;
  readonly sourceSizeBytes: number;
  readonly allocatedBytes: number;
  readonly digests: Digests;
  /** Absent: the source is too large for one. */
  readonly table?: ChunkTableBytes;
  readonly verification: Verification;
  /** Of qcow2 that siphon made. */
  readonly head?: FileHead;
  /** The file's fs-verity digest (SHA-256, hex), where its file system has that. */
  readonly fsVerity?: string;
}
