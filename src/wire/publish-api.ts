// Publishing as siphond's API has it.

import type { Devices, DiskFormat } from './vocabulary.ts';

/** By this host, in the background; by the cluster's own queue; or not before somebody asks (`siphon flatten`). */
export const FLATTENS = ['here', 'cluster', 'never'] as const;
export type Flatten = (typeof FLATTENS)[number];

/** Where no clone can be made: a full copy into the same pool, and where that cannot be either a file; a file at once; or nothing. */
export const FALLBACKS = ['copy', 'file', 'none'] as const;
export type Fallback = (typeof FALLBACKS)[number];

export const FILE_FORMATS = ['qcow2', 'raw'] as const satisfies readonly DiskFormat[];

/** Instead of a pool: files in `publish.snapshots_directory`. */
export const TO_FILE = 'file';

export interface PoolTarget {
  readonly pool: string;
  readonly namespace: string;
  /** As the config names it; absent: the set's own. */
  readonly cluster?: string;
}

export interface PublishAsk {
  readonly to: PoolTarget | typeof TO_FILE;
  readonly devices?: Devices;
  /** Of one image; of several each is `NAME-TARGET`. */
  readonly name?: string;
  readonly flatten: Flatten;
  readonly fallback: Fallback;
  /** Of files; absent: as the config says. */
  readonly format?: DiskFormat;
  /** Encrypted disks, too. */
  readonly isEncryptedTaken?: true;
}

/** POST /v1/publish -> JobLine…, done with PublishResult: the images are usable, or, where it waits, independent. */
export interface PublishRequest {
  readonly set: string;
  /** `POOL[/NAMESPACE]`, or `file` */
  readonly to: string;
  readonly cluster?: string;
  readonly devices?: Devices;
  readonly name?: string;
  readonly flatten?: Flatten;
  readonly fallback?: Fallback;
  readonly format?: DiskFormat;
  readonly encrypted?: boolean;
  /** Until they are flattened. */
  readonly wait?: boolean;
}

export type PublishWay = 'native' | 'copied';

export interface PublishedImage {
  readonly target: string;
  readonly pool: string;
  readonly namespace: string;
  readonly image: string;
  readonly snap: string;
  readonly imageId: string;
  readonly snapId: number;
  readonly sizeBytes: number;
  /** By clones, or by full copies. */
  readonly way: PublishWay;
  /** Of a copy: why it was no clone. */
  readonly whyCopied?: string;
  /** It has no parent. */
  readonly isIndependent: boolean;
  /** Clones in a row, itself included, as long as it is not independent. */
  readonly depth: number;
  readonly isEncrypted?: true;
  /** That of the set's snapshot came along. */
  readonly hasManifest?: true;
}

export interface PublishedFile {
  readonly target: string;
  readonly path: string;
  readonly format: DiskFormat;
  /** Of the disk. */
  readonly sizeBytes: number;
  /** What the file takes. */
  readonly allocatedBytes: number;
  /** Why it is no image; absent: a file was asked for. */
  readonly whyCopied?: string;
  readonly isEncrypted?: true;
}

export interface PublishResult {
  readonly set: string;
  /** The cluster's that has the images; of files the set's. */
  readonly fsid: string;
  readonly images: readonly PublishedImage[];
  /** Instead of images. */
  readonly files?: readonly PublishedFile[];
}

/** POST /v1/flatten -> JobLine…, done with {image}. An image that siphon has published, and that is a clone still. */
export interface FlattenRequest {
  /** `POOL/[NAMESPACE/]IMAGE` */
  readonly image: string;
  /** By its own queue. */
  readonly cluster?: boolean;
}
