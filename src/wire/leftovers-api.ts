// What a host that is gone has left in Ceph, as siphond's API has it.

import type { WireError } from './errors.ts';

/** POST /v1/leftovers -> JobLine…, done with LeftoversAnswer. */
export interface LeftoversRequest {
  /** As it called itself; never this host. */
  readonly host: string;
  readonly dryRun?: boolean;
}

export interface Leftover {
  readonly kind: 'publish' | 'import';
  readonly cluster: string;
  /** The image, or where it is imported to. */
  readonly subject: string;
  readonly set: string;
  /** When the host noted it last. */
  readonly atMs?: number;
  /** `failed`: it should go, and could not; asking again may remove it. */
  readonly decision: 'removed' | 'would-remove' | 'stays' | 'failed';
  readonly why: string;
  readonly error?: WireError;
}

export interface LeftoversAnswer {
  readonly host: string;
  readonly leftovers: readonly Leftover[];
}
