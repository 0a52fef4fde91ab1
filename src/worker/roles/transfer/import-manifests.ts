// The manifests that an export brings. Each is beside its image as soon as the bytes are there, without a snapshot's id, and gets that when the
// snapshot is made: so a finish needs the file no longer. Each step may be done twice.

import type { Pool } from 'ceph-napi';
import type { Header } from '../../../export-file/index.ts';
import type { SourceIds } from '../../../wire/vocabulary.ts';
import type { Session } from '../ceph/connections.ts';
import { readManifest, setManifest } from '../ceph/manifests.ts';
import type { ImportDisk } from './import-record.ts';

/** Of no snapshot: librados gives ids from 1 on. */
const NOT_YET = 0;

export async function bringManifests(
  session: Session,
  pool: Pool,
  disks: readonly ImportDisk[],
  { manifests = [] }: Header,
): Promise<void> {
  for (const { target, imageId = '' } of disks) {
    const envelope = manifests.find((each) => each.target === target)?.envelope;
    if (envelope === undefined) continue;
    await setManifest(session, { ids: idsOf(session, pool, imageId, NOT_YET), envelope });
  }
}

export async function nameManifest(
  session: Session,
  pool: Pool,
  { imageId, snapId }: { readonly imageId: string; readonly snapId: number },
): Promise<void> {
  const from = idsOf(session, pool, imageId, NOT_YET);
  const { envelope } = await readManifest(session, from);
  if (envelope === null) return;
  await setManifest(session, { ids: { ...from, snapId }, envelope });
  await setManifest(session, { ids: from, envelope: null });
}

/** `snapId`: of a snapshot that goes, too. */
export async function dropManifest(
  session: Session,
  pool: Pool,
  { imageId, snapId = NOT_YET }: { readonly imageId: string; readonly snapId?: number },
): Promise<void> {
  for (const id of new Set([NOT_YET, snapId])) {
    await setManifest(session, { ids: idsOf(session, pool, imageId, id), envelope: null });
  }
}

function idsOf(
  { fsid }: Session,
  { id: poolId, namespace }: Pool,
  imageId: string,
  snapId: number,
): SourceIds {
  return { fsid, poolId, namespace, imageId, snapId };
}
