// A domain's disks, by target (`vda`) or source path: size, resize, statistics. Source: libvirt/libvirt-domain.h.

import { bind } from './call.ts';
import type { Domain } from './domain.ts';
import { numberOf, readTypedParameters, TYPED_PARAMETER_BYTES } from './typed-parameters.ts';

const virDomainGetBlockInfo = bind(
  'int virDomainGetBlockInfo(virDomainPtr dom, const char *disk, virDomainBlockInfoPtr info, unsigned int flags)',
);
const virDomainBlockResize = bind(
  'int virDomainBlockResize(virDomainPtr dom, const char *disk, unsigned long long size, unsigned int flags)',
);
const virDomainBlockStatsFlags = bind(
  `int virDomainBlockStatsFlags(virDomainPtr dom, const char *disk, virTypedParameterPtr params, int *nparams,
     unsigned int flags)`,
);

export interface BlockInfo {
  /** What the guest sees. */
  readonly capacityBytes: number;
  /** What is allocated in it; of a network disk of a stopped domain the same as the capacity. */
  readonly allocationBytes: number;
  /** What its file is long. */
  readonly physicalBytes: number;
}

export interface BlockStatistics {
  readonly readBytes: number;
  readonly readOperations: number;
  readonly readNs: number;
  readonly writtenBytes: number;
  readonly writeOperations: number;
  readonly writeNs: number;
  readonly flushOperations: number;
  readonly flushNs: number;
}

const VIR_DOMAIN_BLOCK_RESIZE_BYTES = 1;

/**
 * Sizes of a disk.
 *
 * Implements: virDomainGetBlockInfo.
 * @throws LibvirtError INVALID_ARG: no such disk
 */
export async function blockInfo(domain: Domain, disk: string): Promise<BlockInfo> {
  const info = Buffer.alloc(24);
  await domain.use((it) => virDomainGetBlockInfo(it, disk, info, 0));
  const [capacityBytes = 0, allocationBytes = 0, physicalBytes = 0] = [0, 8, 16].map((at) =>
    Number(info.readBigUInt64LE(at)),
  );
  return { capacityBytes, allocationBytes, physicalBytes };
}

/**
 * Resizes a disk of a running domain; the guest is told. Smaller loses what is behind the end.
 *
 * Implements: virDomainBlockResize.
 * @throws LibvirtError OPERATION_INVALID: it does not run; INVALID_ARG: no such disk
 */
export async function resizeBlock(domain: Domain, disk: string, sizeBytes: number): Promise<void> {
  await domain.use((it) =>
    virDomainBlockResize(it, disk, sizeBytes, VIR_DOMAIN_BLOCK_RESIZE_BYTES),
  );
}

/**
 * What a running domain did with a disk since it started.
 *
 * Implements: virDomainBlockStatsFlags.
 * @throws LibvirtError OPERATION_INVALID: it does not run; INVALID_ARG: no such disk
 */
export async function blockStatistics(domain: Domain, disk: string): Promise<BlockStatistics> {
  const count = Buffer.alloc(4);
  await domain.use((it) => virDomainBlockStatsFlags(it, disk, null, count, 0));
  const room = Buffer.alloc(count.readInt32LE() * TYPED_PARAMETER_BYTES);
  await domain.use((it) => virDomainBlockStatsFlags(it, disk, room, count, 0));
  const fields = readTypedParameters(room.subarray(0, count.readInt32LE() * TYPED_PARAMETER_BYTES));
  return {
    readBytes: numberOf(fields, 'rd_bytes'),
    readOperations: numberOf(fields, 'rd_operations'),
    readNs: numberOf(fields, 'rd_total_times'),
    writtenBytes: numberOf(fields, 'wr_bytes'),
    writeOperations: numberOf(fields, 'wr_operations'),
    writeNs: numberOf(fields, 'wr_total_times'),
    flushOperations: numberOf(fields, 'flush_operations'),
    flushNs: numberOf(fields, 'flush_total_times'),
  };
}
