// A clone of one of siphon's snapshots, under a marked name of its own until it is put in its place.

import {
  cloneImage,
  feature,
  Image,
  imageId as idOf,
  listChildren,
  type Pool,
  protectSnapshot,
  removeImage,
  restoreFromTrash,
  unprotectSnapshot as unprotect,
} from 'ceph-napi';
import {
  type RestoreDisk,
  type RestoreMethods,
  sourceName,
  stagingName,
} from '../../../../wire/restore-protocol.ts';
import type { SnapshotAt } from '../../../../wire/worker-protocol.ts';
import { errnoOf } from '../../../translate-error.ts';
import type { Session } from '../connections.ts';
import { beforeLockBreak } from '../lock-break.ts';
import { freshSnapshots, inImage, openImage, openPool } from '../open.ts';
import { assertMarked } from '../snapshots.ts';
import { unlessMissing } from '../source.ts';
import { dropIdObject, endMove, readNames, trash } from './names.ts';

type Cloned = RestoreMethods['cloneDisk']['result'];

export async function cloneDisk(
  session: Session,
  { id, disk }: RestoreMethods['cloneDisk']['params'],
): Promise<Cloned> {
  const { from, to, target } = disk;
  assertMarked(from.snap, 'clone snapshot', from.snap);
  await using source = await openPool(session, from.poolId, from.namespace);
  await using destination = await openPool(session, to.poolId, to.namespace);
  const staging = stagingName(id, target);
  await removeStaged(session, destination, staging);
  await using named = await nameSource(session, source, id, disk);
  const options = await optionsOf(session, source, from);
  const parent = { pool: source, image: named.name, snapshot: from.snap };
  const child = { pool: destination, image: staging };
  const subject = `${disk.name} from ${from.snap}`;
  const clone = () =>
    inImage(session, destination, 'clone snapshot', subject, () =>
      cloneImage(parent, child, { ...options, format: 'configured' }),
    );
  const isProtected = await cloneOrProtect(session, source, from, clone);
  const imageId = await inImage(session, destination, 'describe image', subject, () =>
    idOf(destination, staging),
  );
  return { imageId, isProtected };
}

const EINVAL = 22;

/** A cluster whose clones are of format 1 wants the snapshot protected, and says EINVAL. Whether it is then. */
async function cloneOrProtect(
  session: Session,
  pool: Pool,
  from: SnapshotAt,
  clone: () => Promise<void>,
): Promise<boolean> {
  try {
    await clone();
    return await isProtectedNow(session, pool, from);
  } catch (error) {
    if (errnoOf(error) !== EINVAL || (await isProtectedNow(session, pool, from))) throw error;
  }
  await using image = await openImage(session, pool, { id: from.imageId }, { writable: true });
  await inImage(session, image, 'protect snapshot', from.snap, () =>
    beforeLockBreak(from.snap, () => protectSnapshot(image, from.snap)),
  );
  await clone();
  return true;
}

async function isProtectedNow(session: Session, pool: Pool, from: SnapshotAt): Promise<boolean> {
  const snapshots = await freshSnapshots(session, pool, { id: from.imageId });
  return snapshots.some((each) => each.id === from.snapId && each.protected);
}

/** Idempotent; a snapshot of siphon's that siphon protected. */
export async function unprotectSnapshot(
  session: Session,
  from: SnapshotAt,
): Promise<RestoreMethods['unprotectSnapshot']['result']> {
  assertMarked(from.snap, 'unprotect snapshot', from.snap);
  const open = await unlessMissing(openPool(session, from.poolId, from.namespace));
  if (!open) return { was: 'absent' };
  await using pool = open;
  const ref = { id: from.imageId };
  const snapshots = await unlessMissing(freshSnapshots(session, pool, ref));
  const found = snapshots?.find((each) => each.id === from.snapId);
  if (found?.name !== from.snap || !found.protected) return { was: 'absent' };
  await using image = await openImage(session, pool, ref, { writable: true });
  return await inImage(session, image, 'unprotect snapshot', from.snap, async () => {
    await using shown = await Image.open(pool, ref, { snapshot: from.snapId });
    if ((await listChildren(shown)).length > 0) return { was: 'in-use' };
    await beforeLockBreak(from.snap, () => unprotect(image, from.snap));
    return { was: 'unprotected' };
  });
}

/** What an earlier try left, half made or whole: it has this restore's own name. */
export async function removeStaged(
  session: Session,
  pool: Pool,
  staging: string,
): Promise<boolean> {
  const isThere = (await readNames(session, pool)).idOf(staging) !== undefined;
  return await inImage(session, pool, 'remove image', staging, async () => {
    if (isThere) await beforeLockBreak(staging, () => removeImage(pool, staging));
    else await dropIdObject(pool, staging);
    return isThere;
  });
}

/** The original's name; one that is in the trash gets a name for so long, since librbd clones by name alone. */
async function nameSource(
  session: Session,
  pool: Pool,
  id: string,
  { from, target }: RestoreDisk,
): Promise<{ readonly name: string } & AsyncDisposable> {
  const name = (await readNames(session, pool)).nameOf(from.imageId);
  if (name !== undefined) return { name, [Symbol.asyncDispose]: async () => undefined };
  const marked = sourceName(id, target);
  await endMove(session, pool, from.imageId);
  await inImage(session, pool, 'take out of the trash', from.imageId, () =>
    restoreFromTrash(pool, from.imageId, marked),
  );
  const back = () => trash(session, pool, marked);
  return { name: marked, [Symbol.asyncDispose]: back };
}

/** What an earlier try took out of the trash and did not put back. */
export async function returnSource(
  session: Session,
  pool: Pool,
  { id, disk }: { readonly id: string; readonly disk: RestoreDisk },
): Promise<void> {
  const marked = sourceName(id, disk.target);
  const isOut = (await readNames(session, pool)).idOf(marked) === disk.from.imageId;
  if (isOut) await trash(session, pool, marked);
}

/** What librbd keeps by itself, or says of the image alone. */
const NOT_TO_ASK_FOR = feature.dataPool | feature.operations | feature.migrating;

async function optionsOf(session: Session, pool: Pool, { imageId }: SnapshotAt) {
  await using image = await openImage(session, pool, { id: imageId });
  return await inImage(session, image, 'describe image', imageId, async () => {
    const features = (await image.features()) & ~NOT_TO_ASK_FOR;
    const { order } = await image.stat();
    const dataPoolId = await image.dataPoolId();
    if (dataPoolId === pool.id) return { features, order };
    return { features, order, dataPool: await session.cluster.poolName(dataPoolId) };
  });
}
