// A domain's job: what takes long and keeps others from changing it (save, migration, dump, backup). Not block jobs. Source:
// libvirt/libvirt-domain.h.

import { bind } from './call.ts';
import type { Domain } from './domain.ts';
import { bitsOf, type Flags } from './flags.ts';
import { type TypedParameters, takeTypedParameters } from './typed-parameters.ts';

const virDomainGetJobInfo = bind(
  'int virDomainGetJobInfo(virDomainPtr dom, virDomainJobInfoPtr info)',
);
const virDomainGetJobStats = bind(
  `int virDomainGetJobStats(virDomainPtr domain, int *type, virTypedParameterPtr *params, int *nparams,
     unsigned int flags)`,
);
const virDomainAbortJob = bind('int virDomainAbortJob(virDomainPtr dom)');

/** virDomainJobType, in its order. `bounded`: how long it will take is known. */
export const JOB_TYPES = [
  'none',
  'bounded',
  'unbounded',
  'completed',
  'failed',
  'cancelled',
] as const;
/** virDomainJobOperation, in its order. */
export const JOB_OPERATIONS = [
  'unknown',
  'start',
  'save',
  'restore',
  'migration in',
  'migration out',
  'snapshot',
  'snapshot revert',
  'dump',
  'backup',
  'snapshot delete',
] as const;

export interface JobInfo {
  readonly type: (typeof JOB_TYPES)[number] | 'unknown';
  readonly elapsedMs: number;
  /** 0 unless it is bounded. */
  readonly remainingMs: number;
  /** Memory and disks together. */
  readonly totalBytes: number;
  readonly processedBytes: number;
  readonly remainingBytes: number;
}

export interface JobStatistics {
  readonly type: JobInfo['type'];
  readonly operation: (typeof JOB_OPERATIONS)[number];
  /** By libvirt's names (VIR_DOMAIN_JOB_*): `time_elapsed` in ms, `memory_total` in bytes, `downtime` in ms, … */
  readonly fields: TypedParameters;
}

/** virDomainGetJobStatsFlags. `isCompleted`: the last job that ended, once, unless `isKept`. */
export const JOB_STATISTICS_FLAGS = { isCompleted: 1 << 0, isKept: 1 << 1 } as const;

/** sizeof(virDomainJobInfo): int type; eleven unsigned long long from 8 on. */
const JOB_INFO_BYTES = 96;

/** The job that runs; type `none` if none does. Implements: virDomainGetJobInfo. */
export async function jobInfo(domain: Domain): Promise<JobInfo> {
  const info = Buffer.alloc(JOB_INFO_BYTES);
  await domain.use((it) => virDomainGetJobInfo(it, info));
  const field = (index: number): number => Number(info.readBigUInt64LE(8 + index * 8));
  return {
    type: JOB_TYPES[info.readInt32LE(0)] ?? 'unknown',
    elapsedMs: field(0),
    remainingMs: field(1),
    totalBytes: field(2),
    processedBytes: field(3),
    remainingBytes: field(4),
  };
}

/** The job that runs, or the last that ended, with all that libvirt knows of it. Implements: virDomainGetJobStats. */
export async function jobStatistics(
  domain: Domain,
  options: Flags<typeof JOB_STATISTICS_FLAGS> = {},
): Promise<JobStatistics> {
  const answer = Buffer.alloc(16);
  const [fields, type, count] = [
    answer.subarray(0, 8),
    answer.subarray(8, 12),
    answer.subarray(12),
  ];
  const flags = bitsOf(JOB_STATISTICS_FLAGS, options);
  await domain.use((it) => virDomainGetJobStats(it, type, fields, count, flags));
  const all = takeTypedParameters(fields.readBigUInt64LE(), count.readInt32LE());
  return {
    type: JOB_TYPES[type.readInt32LE()] ?? 'unknown',
    operation: JOB_OPERATIONS[Number(all.get('operation') ?? 0)] ?? 'unknown',
    fields: all,
  };
}

/**
 * Ends the job that runs: its call then fails with OPERATION_ABORTED, and the domain goes on.
 *
 * Implements: virDomainAbortJob.
 * @throws LibvirtError OPERATION_INVALID: none runs
 */
export async function abortJob(domain: Domain): Promise<void> {
  await domain.use(virDomainAbortJob);
}
