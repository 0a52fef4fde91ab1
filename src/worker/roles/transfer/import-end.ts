// How an import ends: its images get their snapshots and their names, and the set is recorded; or nothing of it is left. Each step may
// be done twice.

import {
  createSnapshot,
  listImages,
  listSnapshots,
  type Pool,
  removeImage,
  removeSnapshot,
  renameImage,
  resizeImage,
  rollbackToSnapshot,
} from 'ceph-napi';
import { allOf } from '../../../wire/all-of.ts';
import { OperatingError } from '../../../wire/errors.ts';
import type { LeftImportMethods, Settled } from '../../../wire/transfer-protocol.ts';
import type { SetDisk, SnapshotSet } from '../../../wire/vocabulary.ts';
import type { Session } from '../ceph/connections.ts';
import { dropLock } from '../ceph/lock-break.ts';
import { freshSnapshots, inImage, openImage, openPool, placeOf } from '../ceph/open.ts';
import { putSet } from '../ceph/sets.ts';
import { unlessMissing } from '../ceph/source.ts';
import { dropManifest, nameManifest } from './import-manifests.ts';
import {
  type ImportDisk,
  type ImportRecord,
  readRecord,
  removeRecord,
  unfinishedName,
} from './import-record.ts';

/** All bytes are there. @throws OperatingError refused: a name was taken meanwhile */
export async function finishImport(
  session: Session,
  pool: Pool,
  record: ImportRecord,
  whole: SnapshotSet,
): Promise<SnapshotSet> {
  for (const disk of record.disks) await giveName(session, pool, record, disk);
  // Each waits for a commit of the monitors: together they wait once.
  const disks = await allOf(record.disks.map((disk) => takeSnapshot(session, pool, record, disk)));
  for (const disk of disks) await nameManifest(session, pool, disk);
  const set = { ...whole, disks };
  await putSet(session, set);
  await removeRecord(session, pool, record.id);
  return set;
}

async function giveName(
  session: Session,
  pool: Pool,
  record: ImportRecord,
  { target, name }: ImportDisk,
): Promise<void> {
  if (record.isIncremental) return;
  const from = unfinishedName(record, target);
  const subject = `${placeOf(pool)}/${name}`;
  await inImage(session, pool, 'name image', subject, async () => {
    const there = await listImages(pool);
    if (there.some((image) => image.name === from)) await renameImage(pool, from, name);
  });
}

async function takeSnapshot(
  session: Session,
  pool: Pool,
  { setId }: ImportRecord,
  { target, imageId = '', name }: ImportDisk,
): Promise<SetDisk> {
  const subject = `${placeOf(pool)}/${name}`;
  const snap = `siphon.${setId}`;
  await using image = await openImage(session, pool, { id: imageId }, { writable: true });
  const found = await inImage(session, image, 'create snapshot', subject, async () => {
    const before = await listSnapshots(image);
    if (!before.some((each) => each.name === snap)) await createSnapshot(image, snap);
    return (await freshSnapshots(session, pool, { id: imageId })).find((each) => {
      return each.name === snap;
    });
  });
  if (found === undefined) {
    const why = 'its snapshot was made, and is not there any more';
    throw new OperatingError({ code: 'not-found', op: 'create snapshot', subject, why });
  }
  const { id: snapId, sizeBytes } = found;
  const { id: poolId, name: poolName, namespace } = pool;
  return { target, pool: poolName, namespace, image: name, poolId, imageId, snapId, sizeBytes };
}

/** New images go; those that were there are as they were. */
export async function undoImport(
  session: Session,
  pool: Pool,
  record: ImportRecord,
): Promise<void> {
  for (const disk of record.disks) {
    if (record.isIncremental) await rollBack(session, pool, record, disk);
    else await removeUnfinished(session, pool, record, disk);
  }
  await removeRecord(session, pool, record.id);
}

async function removeUnfinished(
  session: Session,
  pool: Pool,
  record: ImportRecord,
  { target, imageId }: ImportDisk,
): Promise<void> {
  const unfinished = unfinishedName(record, target);
  const subject = `${placeOf(pool)}/${unfinished}`;
  await inImage(session, pool, 'remove image', subject, async () => {
    // One that has its name already, while another could not have its own, is found by its id.
    const found = (await listImages(pool)).find(
      ({ id, name }) => name === unfinished || id === imageId,
    );
    if (found === undefined) return;
    const snapId = await removeOwnSnapshot(session, pool, record, found.id);
    await dropManifest(session, pool, { imageId: found.id, ...snapId });
    await removeImage(pool, found.name);
  });
}

async function removeOwnSnapshot(
  session: Session,
  pool: Pool,
  { setId }: ImportRecord,
  imageId: string,
): Promise<{ readonly snapId?: number }> {
  await using image = await openImage(session, pool, { id: imageId }, { writable: true });
  const own = (await listSnapshots(image)).find(({ name }) => name === `siphon.${setId}`);
  if (own === undefined) return {};
  await removeSnapshot(image, own.id);
  return { snapId: own.id };
}

async function rollBack(
  session: Session,
  pool: Pool,
  { setId }: ImportRecord,
  { imageId = '', name, base }: ImportDisk,
): Promise<void> {
  if (base === undefined) return;
  const subject = `${placeOf(pool)}/${name}`;
  const open = openImage(session, pool, { id: imageId }, { writable: true });
  const found = await unlessMissing(open);
  if (found === undefined) return; // somebody removed it
  await using image = found;
  await inImage(session, image, 'roll back', subject, async () => {
    const snapshots = await listSnapshots(image);
    const made = snapshots.find((each) => each.name === `siphon.${setId}`);
    if (made !== undefined) await removeSnapshot(image, made.id);
    await dropManifest(session, pool, { imageId, ...(made && { snapId: made.id }) });
    const was = snapshots.find((each) => each.id === base.snapId);
    if (was === undefined) return;
    if ((await image.size()) !== was.sizeBytes)
      await resizeImage(image, was.sizeBytes, { shrink: true });
    await rollbackToSnapshot(image, was.name);
  });
}

/** The locks of whoever died over it. */
export async function dropLocks(
  session: Session,
  pool: Pool,
  record: ImportRecord,
  signal: AbortSignal,
): Promise<void> {
  const { name, namespace } = pool;
  for (const disk of record.disks) {
    const { imageId } = disk;
    if (imageId === undefined) continue; // it was being made: nobody has written to it
    const at = { pool: name, namespace, image: disk.name, imageId, client: record.client };
    await unlessMissing(dropLock(session, at, signal));
  }
}

/** @throws OperatingError */
export async function settleImport(
  session: Session,
  { id, pool: name, namespace, isGivenUp }: LeftImportMethods['settleImport']['params'],
  signal: AbortSignal,
): Promise<Settled> {
  const open = await unlessMissing(openPool(session, name, namespace));
  if (open === undefined) return { was: 'absent' };
  await using pool = open;
  const record = await readRecord(session, pool, id);
  if (record === undefined) return { was: 'absent' };
  if (record.whole === undefined && !isGivenUp) return { was: 'left' };
  await dropLocks(session, pool, record, signal);
  if (record.whole !== undefined) {
    return { was: 'finished', set: await finishImport(session, pool, record, record.whole) };
  }
  await undoImport(session, pool, record);
  return { was: 'undone' };
}
