// The shared nouns. ARCHITECTURE.md (Words) says what each means; nothing here has an effect.

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
}

/** OpenStack's image properties that siphon reads, with OpenStack's own keys; others are kept out. */
export interface SourceProperties {
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

export type DigestAlgorithm = 'sha256' | 'sha512';
/** Lower-case hex digests of exactly the source's bytes, by algorithm. */
export type Digests = Readonly<Partial<Record<DigestAlgorithm, string>>>;

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
  | { readonly what: 'signature'; readonly keyType: string; readonly certificate: string };

export type BaseState = 'filling' | 'ready' | 'suspect' | 'evicting';

/** A base as the catalogue claims it. Times are ms since the epoch; sizes in bytes. */
export interface Base {
  /** `FSID/POOLID[.NAMESPACE]/IMAGEID@SNAPID`, the base's path without its root and suffix. */
  readonly id: string;
  readonly ids: SourceIds;
  readonly name: SourceName;
  readonly state: BaseState;
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
  readonly digests: Digests;
  readonly verification: Verification;
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

export interface SetDisk {
  readonly target: string;
  readonly pool: string;
  readonly namespace: string;
  readonly image: string;
  readonly poolId: number;
  readonly imageId: string;
  readonly snapId: number;
  readonly sizeBytes: number;
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
  readonly event: 'release' | 'manual';
  readonly reason?: ReleaseReason;
  readonly policy?: string;
  readonly quiesced: Quiesced;
  readonly instant: Instant;
  readonly way: 'native';
  readonly disks: readonly SetDisk[];
  /** Disks of the domain that are not in RBD, or were not asked for: target and why. */
  readonly leftOut: readonly { readonly target: string; readonly why: string }[];
  /** The domain's XML, without passwords. */
  readonly domainXml: string;
}

/** Names of siphon's snapshots are `siphon.SETID`: only these are ever removed. */
export const SNAPSHOT_MARK = 'siphon.';
