// What a source's bytes are, from the first of them, before anything else opens them: raw or qcow2, or refused with a reason.

import type { Qcow2Header } from '../domain/qcow2-header.ts';
import { INCOMPATIBLE, parseQcow2Header } from '../domain/qcow2-header.ts';
import type { VerificationPlan } from '../wire/verification-plan.ts';
import type { DiskFormat } from '../wire/vocabulary.ts';
import { foreignFormat, isBootSector, isIso } from './foreign.ts';

export type Inspection =
  | { readonly kind: 'raw'; readonly virtualSizeBytes: number }
  | { readonly kind: 'qcow2'; readonly virtualSizeBytes: number }
  | { readonly kind: 'refused'; readonly reason: string };

/** As much of a source as decides it: a qcow2 header is within its first cluster, of 2 MiB at most. */
export const INSPECT_HEAD_BYTES = 2 * 1024 * 1024;

/** Dirty, corrupt (safe to read), zstd. Extended L2 entries are left out, as by OpenStack's own rules. */
const ACCEPTED_INCOMPATIBLE =
  INCOMPATIBLE.dirty | INCOMPATIBLE.corrupt | INCOMPATIBLE.compressionType;
const MAGIC_BYTES = 4;
const L1_ENTRY_BYTES = 8;
const SECTOR_BYTES = 512;

/**
 * Decides on the first bytes of a source of `sizeBytes`: {@link INSPECT_HEAD_BYTES} of it, or all. A qcow2 that leans on another file,
 * is encrypted, needs what is not known here, or lies partly outside itself is refused; so is another format, unless it is declared raw and
 * a rule of trust `accepts` that.
 */
export function inspectHead(
  head: Uint8Array,
  sizeBytes: number,
  declared?: DiskFormat,
  accepts?: VerificationPlan['accepts'],
): Inspection {
  const found = inspectFormat(head, sizeBytes, declared, accepts?.foreignRaw === true);
  if (found.kind === 'refused' || accepts === undefined || accepts.formats.includes(found.kind))
    return found;
  return refused(
    `its bytes are ${found.kind}, and its rule of trust takes ${accepts.formats.join(' or ')}`,
  );
}

function inspectFormat(
  head: Uint8Array,
  sizeBytes: number,
  declared: DiskFormat | undefined,
  isForeignTaken: boolean,
): Inspection {
  if (sizeBytes === 0) return refused('it is empty');
  const header = parseQcow2Header(head);
  if (header.kind === 'not-qcow2' || head.length < MAGIC_BYTES)
    return inspectRaw(head, sizeBytes, declared, isForeignTaken);
  if (declared === 'raw') return refused('its bytes are qcow2, but its disk_format is raw');
  if (header.kind === 'truncated') return refused('its qcow2 header is truncated');
  if (header.kind === 'malformed')
    return refused(`its qcow2 header is malformed: ${header.reason}`);
  if (isIso(head)) return refused('its bytes are qcow2, and an ISO image as well');
  if (isBootSector(head)) return refused('its bytes are qcow2, and a boot sector as well');
  const fault = faultOf(header, sizeBytes);
  if (fault !== undefined) return refused(`its qcow2 header ${fault}`);
  return { kind: 'qcow2', virtualSizeBytes: header.virtualSizeBytes };
}

function inspectRaw(
  head: Uint8Array,
  sizeBytes: number,
  declared: DiskFormat | undefined,
  isForeignTaken: boolean,
): Inspection {
  if (declared === 'qcow2') return refused('its bytes are not qcow2, but its disk_format is');
  const foreign = foreignFormat(head);
  if (foreign !== undefined && declared !== 'raw')
    return refused(`its bytes are ${foreign}, and no disk_format says that this is a raw disk`);
  if (foreign !== undefined && !isForeignTaken) {
    const rule = 'no rule of trust takes that (allow_foreign_raw)';
    return refused(
      `its bytes are ${foreign}, its disk_format says that this is a raw disk, and ${rule}`,
    );
  }
  return { kind: 'raw', virtualSizeBytes: Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES };
}

/** What of the header forbids its use; undefined if nothing does. */
function faultOf(header: Qcow2Header, sizeBytes: number): string | undefined {
  if (header.backing !== undefined)
    return `names a backing file, ${JSON.stringify(header.backing.name)}`;
  if (header.dataFile !== undefined) return 'names a data file';
  if (header.encryption !== 'none') return `says that it is encrypted (${header.encryption})`;
  const unknown = header.features.incompatible & ~ACCEPTED_INCOMPATIBLE;
  if (unknown !== 0n)
    return `needs features that are not accepted (incompatible bits 0x${unknown.toString(16)})`;
  return tableFaultOf(header, sizeBytes);
}

function tableFaultOf(header: Qcow2Header, sizeBytes: number): string | undefined {
  const { l1, refcountTable, snapshots, clusterBits } = header;
  const clusterBytes = 2 ** clusterBits;
  const tables = [
    { name: 'L1 table', offset: l1.offset, bytes: l1.entries * L1_ENTRY_BYTES },
    {
      name: 'refcount table',
      offset: refcountTable.offset,
      bytes: refcountTable.clusters * clusterBytes,
    },
    { name: 'snapshot table', offset: snapshots.offset, bytes: snapshots.count },
  ];
  for (const { name, offset, bytes } of tables) {
    if (offset % clusterBytes !== 0)
      return `has its ${name} at ${offset}, which is not a cluster's start`;
    if (bytes > 0 && (offset === 0 || offset + bytes > sizeBytes)) {
      return `has its ${name} outside the image (${offset}+${bytes} of ${sizeBytes} bytes)`;
    }
  }
  const bytesOfEntry = clusterBytes * (clusterBytes / L1_ENTRY_BYTES);
  if (l1.entries * bytesOfEntry < header.virtualSizeBytes)
    return 'has an L1 table too small for its disk';
  return undefined;
}

function refused(reason: string): Inspection {
  return { kind: 'refused', reason };
}
