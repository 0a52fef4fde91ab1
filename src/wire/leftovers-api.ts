// What a host that is gone has left in Ceph, as siphond's API has it.

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
  readonly decision: 'removed' | 'would-remove' | 'stays';
  readonly why: string;
}

export interface LeftoversAnswer {
  readonly host: string;
  readonly leftovers: readonly Leftover[];
}
