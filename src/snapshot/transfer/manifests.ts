// The manifests that go along with an export: those of its disks' snapshots.

import { OperatingError } from '../../wire/errors.ts';
import type { Cluster } from '../../wire/ports.ts';
import { type DiskManifest, MANIFESTS_BYTES_MAX } from '../../wire/transfer-protocol.ts';
import type { SnapshotSet } from '../../wire/vocabulary.ts';
import { readManifestAt } from '../manifests.ts';
import type { TransferParts } from './ports.ts';

/** @throws OperatingError exhausted: they are too large together; unavailable, denied */
export async function manifestsOf(
  { log }: Pick<TransferParts, 'log'>,
  cluster: Cluster,
  set: SnapshotSet,
): Promise<DiskManifest[]> {
  const manifests: DiskManifest[] = [];
  let leftBytes = MANIFESTS_BYTES_MAX;
  for (const disk of set.disks) {
    const of = { fsid: set.fsid, set: set.id, disk, as: 'snapshot' } as const;
    const envelope = await readManifestAt(log, cluster, of);
    if (envelope === null) continue;
    leftBytes -= Buffer.byteLength(envelope);
    if (leftBytes < 0) throw tooLarge(set);
    manifests.push({ target: disk.target, envelope });
  }
  return manifests;
}

function tooLarge({ id }: SnapshotSet): OperatingError {
  const why = `the manifests of its disks have more than ${MANIFESTS_BYTES_MAX} bytes together`;
  const hint = 'Export some of the disks at a time (--devices).';
  return new OperatingError({ code: 'exhausted', op: 'export', subject: `set ${id}`, why, hint });
}
