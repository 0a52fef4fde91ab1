// The shared nouns. ARCHITECTURE.md (Words) says what each means; nothing here has an effect.

import type { Quiesce } from './hold-protocol.ts';
import type { KeepCounts } from './keep.ts';
import type { Fallback, Flatten } from './publish-api.ts';
import type { Schedule } from './schedule.ts';
import type { Proof } from './verify-api.ts';

/** A source image by its ids: what it is, whatever it is called. Ids are Ceph's own, each a safe integer. */
export interface SourceIds {
  readonly fsid: string;
  readonly poolId: number;
  /** RBD namespace; '' is the default one. */
  readonly namespace: string;
  readonly imageId: string;
  readonly snapId: number;
}

/** A source image by its names, as an operator or an OpenStack location says it. */
export interface SourceName {
  /** undefined: the only, or the default, cluster of the config. */
  readonly fsid?: string;
  readonly pool: string;
  readonly namespace: string;
  readonly image: string;
  readonly snap: string;
}

/** What Ceph says of a source image now. Sizes in bytes. */
export interface SourceFacts {
  readonly ids: SourceIds;
  readonly name: SourceName & { readonly fsid: string };
  readonly sizeBytes: number;
  readonly objectSizeBytes: number;
  /** What of it is allocated, where Ceph tells cheaply (fast-diff); to reserve space by. */
  readonly usedBytes?: number;
  readonly features: readonly string[];
  readonly isProtected: boolean;
  /** siphon's own record beside the image (`siphon describe`), if there is one. */
  readonly properties?: SourceProperties;
  /** A chunk manifest is beside it; whether it is good is not known. */
  readonly hasManifest?: true;
}

/** Glance's. A fill is of an `active` image alone; the bases of a `deactivated` one are suspect. */
export const IMAGE_STATUSES = [
  'active',
  'deactivated',
  'queued',
  'saving',
  'uploading',
  'importing',
  'killed',
  'deleted',
  'pending_delete',
] as const;

/** OpenStack's image properties that siphon reads, with OpenStack's own keys; others are kept out. */
export interface SourceProperties {
  /** One of {@link IMAGE_STATUSES}; absent: `active`. */
  readonly status?: string;
  readonly disk_format?: string;
  readonly checksum?: string;
  readonly os_hash_algo?: string;
  readonly os_hash_value?: string;
  readonly img_signature?: string;
  readonly img_signature_hash_method?: string;
  readonly img_signature_key_type?: string;
  readonly img_signature_certificate_uuid?: string;
}

/** The format of the source's bytes. A raw source becomes a qcow2 base (or stays raw where configured). */
export type DiskFormat = 'raw' | 'qcow2';

export const DIGEST_ALGORITHMS = ['sha256', 'sha512', 'sha224', 'sha384', 'sha1', 'md5'] as const;
export type DigestAlgorithm = (typeof DIGEST_ALGORITHMS)[number];
/** Lower-case hex digests of exactly the source's bytes, by algorithm. */
export type Digests = Readonly<Partial<Record<DigestAlgorithm, string>>>;

/** Which table of chunks (docs/manifests.md) says what the source's bytes are: by its SHA-256, lower-case hex. */
export interface ChunkTableRef {
  readonly sha256: string;
  readonly chunkBytes: number;
}

/** What was checked against something trusted; `unverified` says that there was nothing to check. */
export type Verification =
  | { readonly kind: 'unverified' }
  | { readonly kind: 'verified'; readonly by: readonly VerifiedBy[] };
export type VerifiedBy =
  | {
      readonly what: 'digest';
      readonly algorithm: DigestAlgorithm;
      readonly from: 'operator' | 'properties';
    }
  | { readonly what: 'signature'; readonly keyType: string; readonly certificate: string }
  | { readonly what: 'manifest'; readonly keyId: string };

export type BaseState = 'filling' | 'ready' | 'suspect' | 'evicting';

/**
 * Why it is suspect. `bytes`: they are not what they must be. Else they are as they were, and what vouched for them was `revoked`, or their image was
 * `deactivated`.
 */
export interface Suspicion {
  readonly of: 'bytes' | 'revoked' | 'deactivated';
  readonly why: string;
}

/** A base as the catalogue claims it. Times are ms since the epoch; sizes in bytes. */
export interface Base {
  /** `FSID/POOLID[.NAMESPACE]/IMAGEID@SNAPID`, the base's path without its root and suffix. */
  readonly id: string;
  readonly ids: SourceIds;
  readonly name: SourceName;
  readonly state: BaseState;
  /** Of one that is suspect. */
  readonly suspicion?: Suspicion;
  /** The file's own format: what a `-F` or `<format>` must say. */
  readonly format: DiskFormat;
  /** The format of the source's bytes. */
  readonly sourceFormat: DiskFormat;
  /** The disk that a guest sees. */
  readonly virtualSizeBytes: number;
  /** The source's bytes: the RBD image's size. */
  readonly sourceSizeBytes: number;
  /** What the file takes on disk (st_blocks). */
  readonly allocatedBytes: number;
  /** Of the whole: those that somebody asked for; SHA-256 where there is no table. */
  readonly digests: Digests;
  /** Absent: nobody made one, or the image is empty, or too large for one. */
  readonly chunkTable?: ChunkTableRef | undefined;
  readonly verification: Verification;
  /** The file's fs-verity digest (SHA-256, hex): the kernel lets nobody change it. Where its file system has that. */
  readonly fsVerity?: string;
  /** When all of its file was found good on the disk. Absent: never since it was made. */
  readonly scrubbedAtMs?: number | undefined;
  readonly createdAtMs: number;
  readonly lastUsedAtMs: number;
  readonly isPinned: boolean;
  readonly leases: readonly Lease[];
}

/** Why a base must stay: a domain runs on it, or something defined on this host refers to it. */
export interface Lease {
  readonly domainUuid: string;
  readonly domainName: string;
  readonly kind: 'running' | 'defined';
}

/** libvirt's reasons with `release end` (since 10.5.0). */
export const RELEASE_REASONS = [
  'unknown',
  'shutdown',
  'destroyed',
  'crashed',
  'migrated',
  'saved',
  'failed',
  'from snapshot',
  'daemon',
] as const;
export type ReleaseReason = (typeof RELEASE_REASONS)[number];

/** What of the libraries that siphon uses not every release has. */
export interface Ability {
  readonly of: 'librbd' | 'libvirt';
  /** A function of the library, or what its daemon does. */
  readonly name: string;
  readonly isPresent: boolean;
  /** What is left where it is not. */
  readonly without: string;
}

/** What was achieved on the guest for a set: nothing, filesystems frozen, or the guest was off after a shutdown. */
export type Quiesced = 'none' | 'filesystem' | 'shutdown';
/** Of how many disks at one instant: none promised, one disk, or several behind a barrier. */
export type Instant = 'none' | 'single' | 'barrier';

/**
 * What made a set be taken. `prepare`: before a domain starts; `release`: after it stopped, both told by the hook. `started`, `stopped`
 * and `lifecycle` (any other, by its name) are libvirt's own events. `scheduled`: by the calendar. `manual`: an operator asked.
 */
export const SET_EVENTS = [
  'prepare',
  'started',
  'stopped',
  'release',
  'lifecycle',
  'scheduled',
  'manual',
] as const;
export type SetEvent = (typeof SET_EVENTS)[number];

/** libvirt's lifecycle events that are a {@link SetEvent} `lifecycle`; of a domain that is `undefined` nothing is taken. */
export const LIFECYCLE_NAMES = [
  'defined',
  'suspended',
  'resumed',
  'shutdown',
  'pmsuspended',
  'crashed',
] as const;
export type LifecycleName = (typeof LIFECYCLE_NAMES)[number];

/** After these reasons of a release a policy may ask for a set: after the others the guest runs elsewhere, or never ran. */
export const POLICY_REASONS = ['shutdown', 'destroyed', 'crashed', 'daemon', 'unknown'] as const;

/** What a policy's `on` may name: a release by its reason; `crashed` is that, and `lifecycle:crashed` libvirt's event. */
export const POLICY_EVENTS = [
  ...POLICY_REASONS,
  'prepare',
  'started',
  'stopped',
  'manual',
  ...LIFECYCLE_NAMES.map((name) => `lifecycle:${name}` as const),
] as const;
export type PolicyEvent = (typeof POLICY_EVENTS)[number];

/** `root`: the first of them. A list: by their targets, `vda`. */
export type Devices = 'all' | 'root' | readonly string[];
/** `auto`: several disks of a running domain share an instant, behind its suspended vCPUs; `suspend`: one disk is suspended too. */
export type WantedInstant = 'auto' | 'suspend' | 'none';

/** What was asked for; what was got is beside it. */
export interface Wanted {
  readonly devices: Devices;
  readonly quiesce: Quiesce;
  readonly instant: WantedInstant;
}

/** Which domains leave a set behind, at which events, of what, and how many are kept. */
export interface Policy extends Wanted, KeepCounts {
  readonly name: string;
  /** Globs on the domain's name. Of these and `uuids` one has to match; where both are empty any domain does. */
  readonly domains: readonly string[];
  /** Lower case. */
  readonly uuids: readonly string[];
  /** The domain's own metadata has to carry them all: `KEY` or `KEY=VALUE`. */
  readonly tags: readonly string[];
  readonly on: readonly PolicyEvent[];
  /** When its sets are taken beside what `on` names. */
  readonly schedule?: Schedule;
  /** Of sets that hold a disk of Nova's or Cinder's: they go at this age, whatever the counts say. */
  readonly maxAgeMs?: number;
  /** `POOL[/NAMESPACE]` in which each of its sets becomes images; `file`: files. */
  readonly publishTo?: string;
  /** As the config names it: another than the sets'. */
  readonly publishCluster?: string;
  readonly flatten?: Flatten;
  readonly fallback?: Fallback;
}

/** Whose software made an image, as far as its name tells. It cannot delete the image while a snapshot is left on it. */
export type DiskOwner = 'nova' | 'cinder';

export interface SetDisk {
  readonly target: string;
  readonly pool: string;
  readonly namespace: string;
  readonly image: string;
  readonly poolId: number;
  readonly imageId: string;
  readonly snapId: number;
  readonly sizeBytes: number;
  /** What of it the snapshot has, in whole objects: it holds no more, however much changes. Absent: it could not be told cheaply. */
  readonly allocatedBytes?: number;
  readonly whyNotMeasured?: string;
  readonly owner?: DiskOwner;
  /** The guest's writes to it may have waited so long for its snapshot. */
  readonly stallMs?: number;
}

/** State of a domain that is in no disk of it: its UEFI variables, and that of its emulated TPM. */
export const STATE_KINDS = ['nvram', 'tpm'] as const;
export type StateKind = (typeof STATE_KINDS)[number];

/** Such a file, and the set's own copy of it or why there is none. */
export interface KeptFile {
  readonly what: StateKind;
  /** Where the domain has it; of a TPM of which there is no copy, perhaps its folder. */
  readonly path: string;
  readonly copy?: {
    /** The object that holds its bytes, in the pool and namespace of the set's first disk. */
    readonly object: string;
    readonly sizeBytes: number;
    /** Lower-case hex. */
    readonly sha256: string;
  };
  /** Why there is no copy. */
  readonly why?: string;
}

/** The state of disks that a set was imported as: that of a set of another place, by ids that are never used again. */
export interface ImportedFrom {
  readonly fsid: string;
  readonly setId: string;
  readonly disks: readonly {
    readonly target: string;
    readonly poolId: number;
    readonly namespace: string;
    readonly imageId: string;
    readonly snapId: number;
    readonly sizeBytes: number;
  }[];
}

/** A snapshot set as it is kept in the catalogue and in siphon's omap (schema 1). */
export interface SnapshotSet {
  readonly schema: 1;
  readonly id: string;
  readonly fsid: string;
  readonly domainUuid: string;
  readonly domainName: string;
  readonly host: string;
  readonly createdAtMs: number;
  readonly event: SetEvent;
  /** Of `release`. */
  readonly reason?: ReleaseReason;
  /** Of `lifecycle`. */
  readonly lifecycle?: LifecycleName;
  readonly policy?: string;
  readonly wanted: Wanted;
  readonly quiesced: Quiesced;
  /** A freeze was wanted, and was not got. */
  readonly whyNotQuiesced?: string;
  readonly instant: Instant;
  /** The guest was not itself for so long; absent: it was not held. */
  readonly holdMs?: number;
  readonly way: 'native';
  readonly disks: readonly SetDisk[];
  /** Disks of the domain that are not in RBD, or were not asked for: target and why. */
  readonly leftOut: readonly { readonly target: string; readonly why: string }[];
  readonly keptFiles?: readonly KeptFile[];
  /** The domain's XML, without passwords. */
  readonly domainXml: string;
  /** Its disks are copies, made by an import: no policy counts it. */
  readonly imported?: ImportedFrom;
  /** An operator's "keep": nothing removes it. */
  readonly isProtected?: true;
  /** Whether it can be restored, as it was tried last. */
  readonly proof?: Proof;
}

/** Names of siphon's snapshots are `siphon.SETID`: only these are ever removed. */
export const SNAPSHOT_MARK = 'siphon.';
