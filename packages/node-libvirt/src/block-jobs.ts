// Block jobs: pull, commit, copy of a running domain's disks, which are named by target (`vda`). A job goes on when its call has
// returned; `watchBlockJobs` tells its end. Source: libvirt/libvirt-domain.h.

import { bind } from './call.ts';
import type { Domain } from './domain.ts';
import { BLOCK_JOB_TYPES } from './events.ts';
import { bitsOf, type Flags } from './flags.ts';

const virDomainGetBlockJobInfo = bind(
  `int virDomainGetBlockJobInfo(virDomainPtr dom, const char *disk, virDomainBlockJobInfoPtr info,
     unsigned int flags)`,
);
const virDomainBlockJobAbort = bind(
  'int virDomainBlockJobAbort(virDomainPtr dom, const char *disk, unsigned int flags)',
);
const virDomainBlockJobSetSpeed = bind(
  `int virDomainBlockJobSetSpeed(virDomainPtr dom, const char *disk, unsigned long bandwidth,
     unsigned int flags)`,
);
const virDomainBlockPull = bind(
  'int virDomainBlockPull(virDomainPtr dom, const char *disk, unsigned long bandwidth, unsigned int flags)',
);
const virDomainBlockCommit = bind(
  `int virDomainBlockCommit(virDomainPtr dom, const char *disk, const char *base, const char *top,
     unsigned long bandwidth, unsigned int flags)`,
);
const virDomainBlockCopy = bind(
  `int virDomainBlockCopy(virDomainPtr dom, const char *disk, const char *destxml,
     virTypedParameterPtr params, int nparams, unsigned int flags)`,
);

export interface BlockJob {
  readonly type: (typeof BLOCK_JOB_TYPES)[number];
  /** 0: no limit. */
  readonly bytesPerSecondMax: number;
  /** In units of the job's own, up to `end`; equal and not 0: nearly done, or ready. */
  readonly at: number;
  readonly end: number;
}

/** virDomainBlockJobAbortFlags. `isAsync`: without waiting for its end. `pivots`: a ready copy or active commit becomes the disk. */
export const ABORT_FLAGS = { isAsync: 1 << 0, pivots: 1 << 1 } as const;

/** virDomainBlockCommitFlags. `isActive`: from the disk itself, which must then be pivoted. `isShallow`: into the next below. */
export const COMMIT_FLAGS = {
  isShallow: 1 << 0,
  deletesTop: 1 << 1,
  isActive: 1 << 2,
  isRelative: 1 << 3,
} as const;
const COMMIT_BANDWIDTH_BYTES = 1 << 4;
const PULL_BANDWIDTH_BYTES = 1 << 6;

/** virDomainBlockCopyFlags. `isShallow`: the top alone. `reusesFile`: the target is there. `isTransient`: lost at the domain's end. */
export const COPY_FLAGS = {
  isShallow: 1 << 0,
  reusesFile: 1 << 1,
  isTransient: 1 << 2,
} as const;

/** VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES and VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES. */
const BANDWIDTH_BYTES = 1;

/** sizeof(virDomainBlockJobInfo): int type; unsigned long bandwidth at 8; unsigned long long cur, end. */
const BLOCK_JOB_INFO_BYTES = 32;

export interface Bandwidth {
  /** Default: no limit. */
  readonly bytesPerSecondMax?: number;
}

/** The job on a disk, or null. Implements: virDomainGetBlockJobInfo. @throws LibvirtError INVALID_ARG: no such disk */
export async function blockJob(domain: Domain, disk: string): Promise<BlockJob | null> {
  const info = Buffer.alloc(BLOCK_JOB_INFO_BYTES);
  const found = await domain.use((it) => virDomainGetBlockJobInfo(it, disk, info, BANDWIDTH_BYTES));
  if (found === 0) return null;
  const number = (at: number): number => Number(info.readBigUInt64LE(at));
  return {
    type: BLOCK_JOB_TYPES[info.readInt32LE(0)] ?? 'unknown',
    bytesPerSecondMax: number(8),
    at: number(16),
    end: number(24),
  };
}

/**
 * Ends a disk's job, which leaves the disk as it is, or pivots to what the job made.
 *
 * Implements: virDomainBlockJobAbort.
 * @throws LibvirtError INVALID_ARG: no such job; BLOCK_COPY_ACTIVE: not ready to pivot
 */
export async function abortBlockJob(
  domain: Domain,
  disk: string,
  options: Flags<typeof ABORT_FLAGS> = {},
): Promise<void> {
  await domain.use((it) => virDomainBlockJobAbort(it, disk, bitsOf(ABORT_FLAGS, options)));
}

/** Limits a job that runs; 0 B/s is no limit. Implements: virDomainBlockJobSetSpeed. @throws LibvirtError: see abortBlockJob */
export async function setBlockJobSpeed(
  domain: Domain,
  disk: string,
  bytesPerSecondMax: number,
): Promise<void> {
  await domain.use((it) => virDomainBlockJobSetSpeed(it, disk, bytesPerSecondMax, BANDWIDTH_BYTES));
}

/**
 * Copies all that a disk has from its backing chain into the disk, which then stands alone.
 *
 * Implements: virDomainBlockPull.
 * @throws LibvirtError OPERATION_INVALID: it does not run; INVALID_ARG: no such disk; BLOCK_COPY_ACTIVE or
 *   OPERATION_UNSUPPORTED: another job
 */
export async function pullBlock(
  domain: Domain,
  disk: string,
  { bytesPerSecondMax = 0 }: Bandwidth = {},
): Promise<void> {
  await domain.use((it) => virDomainBlockPull(it, disk, bytesPerSecondMax, PULL_BANDWIDTH_BYTES));
}

/**
 * Writes the layers from `top` down into `base` (paths or `vda[2]`; default: from the highest that may be, to the lowest). Without
 * `base` and `isShallow` that lowest layer is changed, and so is every other overlay on it: never on a shared base.
 *
 * Implements: virDomainBlockCommit.
 * @throws LibvirtError INVALID_ARG: no such layer, or the domain does not run; BLOCK_COPY_ACTIVE or OPERATION_UNSUPPORTED: another job
 */
export async function commitBlock(
  domain: Domain,
  disk: string,
  options: Flags<typeof COMMIT_FLAGS> &
    Bandwidth & { readonly base?: string; readonly top?: string } = {},
): Promise<void> {
  const { base = null, top = null, bytesPerSecondMax = 0, ...flags } = options;
  const bits = bitsOf(COMMIT_FLAGS, flags) | COMMIT_BANDWIDTH_BYTES;
  await domain.use((it) => virDomainBlockCommit(it, disk, base, top, bytesPerSecondMax, bits));
}

/**
 * Copies a disk to another place, and keeps both equal until the job is aborted or pivoted. `targetXml`: `<disk type='file'>…` as
 * in a domain's XML.
 *
 * Implements: virDomainBlockCopy.
 * @throws LibvirtError SYSTEM_ERROR: the target cannot be made; BLOCK_COPY_ACTIVE or OPERATION_UNSUPPORTED: another job; …
 */
export async function copyBlock(
  domain: Domain,
  disk: string,
  targetXml: string,
  options: Flags<typeof COPY_FLAGS> = {},
): Promise<void> {
  const flags = bitsOf(COPY_FLAGS, options);
  await domain.use((it) => virDomainBlockCopy(it, disk, targetXml, null, 0, flags));
}
