// Publishing as siphond's API has it.

import type { Devices } from './vocabulary.ts';

/** By this host, in the background; or not before somebody asks (`siphon flatten`). */
export const FLATTENS = ['here', 'never'] as const;
export type Flatten = (typeof FLATTENS)[number];

/** Where no clone can be made: a full copy, or none. */
export const FALLBACKS = ['copy', 'none'] as const;
export type Fallback = (typeof FALLBACKS)[number];

export interface PublishAsk {
  readonly to: { readonly pool: string; readonly namespace: string };
  readonly devices?: Devices;
  /** Of one image; of several each is `NAME-TARGET`. */
  readonly name?: string;
  readonly flatten: Flatten;
  readonly fallback: Fallback;
  /** Encrypted disks, too. */
  readonly isEncryptedTaken?: true;
}

/** POST /v1/publish -> JobLine…, done with PublishResult: the images are usable, or, where it waits, independent. */
export interface PublishRequest {
  readonly set: string;
  /** `POOL[/NAMESPACE]` */
  readonly to: string;
  readonly devices?: Devices;
  readonly name?: string;
  readonly flatten?: Flatten;
  readonly fallback?: Fallback;
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
}

export interface PublishResult {
  readonly set: string;
  readonly fsid: string;
  readonly images: readonly PublishedImage[];
}

/** POST /v1/flatten -> JobLine…, done with {image}. An image that siphon has published, and that is a clone still. */
export interface FlattenRequest {
  /** `POOL/[NAMESPACE/]IMAGE` */
  readonly image: string;
}
