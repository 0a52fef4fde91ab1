// Files that failed their check, as siphond's API has them.

/** One that was moved aside: never under a base's name. */
export interface Quarantined {
  /** The job that it failed in; its file's name. */
  readonly id: string;
  readonly path: string;
  readonly source: string;
  readonly why: string;
  readonly atMs: number;
  readonly allocatedBytes: number;
}

/** GET /v1/quarantine */
export interface QuarantineAnswer {
  readonly files: readonly Quarantined[];
}
