// Images made out of snapshots inside Ceph. What is not done yet carries siphon's mark in its name, and has an entry; what is removed
// here is found by that name, or by the id that the entry has.

import {
  cloneImage,
  createSnapshot,
  errno,
  feature,
  type Image,
  isErrno,
  listSnapshots,
  type Pool,
  parentOf,
  protectSnapshot,
  removeImage,
  removeObject,
  removeSnapshot,
  renameImage,
  statObject,
  unprotectSnapshot,
} from 'ceph-napi';
import { OperatingError } from '../../../wire/errors.ts';
import {
  type CloneFormat,
  PUBLISHED_SNAP,
  type PublishEntry,
  type PublishMethods,
} from '../../../wire/publish-protocol.ts';
import type { CallContext } from '../../role.ts';
import type { Session } from './connections.ts';
import { flattenPaced } from './flatten-pace.ts';
import { dropLockOf } from './lock-break.ts';
import { inImage, openImage, openPool, placeOf } from './open.ts';
import { dropPublishEntry, putPublishEntry } from './publish-entries.ts';
import { imagesOf } from './publish-look.ts';
import { assertMarked } from './snapshots.ts';
import { unlessMissing } from './source.ts';

type Make = PublishMethods['makeClone'];

export async function makeClone(
  session: Session,
  { to, entry }: Make['params'],
  signal: AbortSignal,
): Promise<Make['result']> {
  const { source, format } = entry;
  assertMarked(to.marked, 'clone', to.marked);
  await using pool = await openPool(session, to.poolId, to.namespace);
  await using from = await openPool(session, source.poolId, source.namespace);
  const subject = `${placeOf(pool)}/${to.marked}`;
  const parent = await nameOf(session, from, source.imageId);
  const features = await featuresOf(session, from, entry);
  signal.throwIfAborted();
  await putPublishEntry(session, pool, to.marked, entry);
  await inImage(session, pool, 'clone', subject, () =>
    cloneImage(
      { pool: from, image: parent, snapshot: source.snap },
      { pool, image: to.marked },
      { format, features },
    ),
  );
  const imageId = await idOf(session, pool, to.marked);
  await putPublishEntry(session, pool, to.marked, { ...entry, imageId });
  signal.throwIfAborted();
  await using image = await openImage(session, pool, { id: imageId }, { writable: true });
  return await inImage(session, image, 'make snapshot of clone', subject, async () => {
    await assertParent(image, entry, subject);
    for (const key of (await image.listMetadata()).keys()) await image.removeMetadata(key);
    return { imageId, snapId: await takeSnap(image, format, subject) };
  });
}

/** Gives its id. */
export async function takeSnap(
  image: Image,
  format: CloneFormat,
  subject: string,
): Promise<number> {
  await createSnapshot(image, PUBLISHED_SNAP);
  if (format === 1) await protectSnapshot(image, PUBLISHED_SNAP);
  const snapshots = await listSnapshots(image);
  const snapId = snapshots.find(({ name }) => name === PUBLISHED_SNAP)?.id;
  if (snapId !== undefined) return snapId;
  const why = 'its snapshot was made, and is not there any more';
  throw new OperatingError({ code: 'not-found', op: 'find snapshot', subject, why });
}

/** Of the source's, those that say how it is used; and what lets a flatten reach the clone's own snapshot. */
const KEPT_FEATURES =
  feature.exclusiveLock | feature.objectMap | feature.fastDiff | feature.stripingV2;
const NEEDED_FEATURES = feature.layering | feature.deepFlatten;

async function featuresOf(session: Session, pool: Pool, { source }: PublishEntry) {
  await using image = await openImage(session, pool, { id: source.imageId }, { snap: source.snap });
  return await inImage(session, image, 'describe image', source.imageId, async () => {
    return ((await image.features()) & KEPT_FEATURES) | NEEDED_FEATURES;
  });
}

/** librbd clones by names, and a name can be given to another image meanwhile. */
async function assertParent(image: Image, { source }: PublishEntry, subject: string) {
  const parent = await parentOf(image);
  if (parent?.id === source.imageId && parent.snapshot.id === source.snapId) return;
  const why = `it is not of image ${source.imageId}, snapshot ${source.snapId}: the image was renamed`;
  throw new OperatingError({ code: 'mismatch', op: 'clone', subject, why });
}

async function nameOf(session: Session, pool: Pool, imageId: string): Promise<string> {
  const found = (await imagesOf(session, pool)).find(({ id }) => id === imageId);
  if (found !== undefined) return found.name;
  throw absent(`image with id ${imageId}`, placeOf(pool));
}

export async function idOf(session: Session, pool: Pool, name: string): Promise<string> {
  await using image = await openImage(session, pool, { name });
  return await inImage(session, image, 'describe image', name, () => image.id());
}

type Name = PublishMethods['nameClone'];

export async function nameClone(
  session: Session,
  { at, image }: Name['params'],
): Promise<Name['result']> {
  await using pool = await openPool(session, at.poolId, at.namespace);
  const subject = `${placeOf(pool)}/${image}`;
  const found = (await imagesOf(session, pool)).find(({ id }) => id === at.imageId);
  if (found === undefined) throw absent(`image with id ${at.imageId}`, placeOf(pool));
  // Whatever name it has now, somebody gave it.
  if (found.name !== at.marked) return { was: 'already' };
  await inImage(session, pool, 'name image', subject, () => renameImage(pool, at.marked, image));
  return { was: 'named' };
}

type Flatten = PublishMethods['flattenClone'];

export async function flattenClone(
  session: Session,
  { at, dead, rateBytes }: Flatten['params'],
  { signal, onProgress }: CallContext<Flatten['progress']>,
): Promise<Flatten['result']> {
  const pool = await unlessMissing(openPool(session, at.poolId, at.namespace));
  const { imageId: id } = at;
  if (!pool || id === undefined) return { was: 'gone' };
  await using open = pool;
  const names = await imagesOf(session, open);
  if (!names.some((each) => each.id === id)) return { was: 'gone' };
  const subject = `${placeOf(open)}/id:${id}`;
  if (dead !== undefined) await dropLockOf(session, open, { id }, dead, signal);
  await using image = await openImage(session, open, { id }, { writable: true });
  return await inImage(session, image, 'flatten', subject, async () => {
    if ((await parentOf(image)) === null) return { was: 'flat' };
    const { objectSizeBytes, sizeBytes } = await image.stat();
    const tell = (done: number, total: number) => {
      const bytesOf = (objects: number) => Math.min(objects * objectSizeBytes, sizeBytes);
      onProgress({ doneBytes: bytesOf(done), totalBytes: bytesOf(total) });
    };
    await flattenPaced(image, { rateBytes, onProgress: tell, signal });
    return { was: 'flattened' };
  });
}

type Remove = PublishMethods['removeClone'];

export async function removeClone(
  session: Session,
  { at, dead }: Remove['params'],
  signal: AbortSignal,
): Promise<Remove['result']> {
  assertMarked(at.marked, 'remove clone', at.marked);
  const pool = await unlessMissing(openPool(session, at.poolId, at.namespace));
  if (!pool) return { was: 'absent' };
  await using open = pool;
  const names = await imagesOf(session, open);
  const found = names.find(({ id, name }) =>
    at.imageId === undefined ? name === at.marked : id === at.imageId,
  );
  if (found !== undefined) await removeFound(session, open, found, { dead, signal });
  else await removeRest(session, open, at.marked);
  await dropPublishEntry(session, open, at.marked);
  return { was: found === undefined ? 'absent' : 'removed' };
}

async function removeFound(
  session: Session,
  pool: Pool,
  { id, name }: { readonly id: string; readonly name: string },
  { dead, signal }: { readonly dead: string | undefined; readonly signal: AbortSignal },
): Promise<void> {
  const subject = `${placeOf(pool)}/${name}`;
  // Without a header it was only begun: there is nothing to be opened.
  const isWhole = await unlessMissing(openImage(session, pool, { id }));
  if (isWhole !== undefined) {
    await isWhole.close();
    if (dead !== undefined) await dropLockOf(session, pool, { id }, dead, signal);
    await removeSnap(session, pool, id, subject);
  }
  await inImage(session, pool, 'remove image', subject, () =>
    unlessThere(() => removeImage(pool, name)),
  );
}

async function removeSnap(session: Session, pool: Pool, id: string, subject: string) {
  await using image = await openImage(session, pool, { id }, { writable: true });
  await inImage(session, image, 'remove snapshot of clone', subject, async () => {
    const snapshots = await listSnapshots(image);
    const found = snapshots.find(({ name }) => name === PUBLISHED_SNAP);
    if (found?.protected === true) await unprotectSnapshot(image, PUBLISHED_SNAP);
    if (found !== undefined) await removeSnapshot(image, found.id);
  });
}

/** Of an image that is in no list yet: its name's object comes first. Who may not write has made nothing, and need not remove it. */
async function removeRest(session: Session, pool: Pool, marked: string): Promise<void> {
  const object = `rbd_id.${marked}`;
  const look = () => statObject(pool, object);
  if ((await inImage(session, pool, `look for ${object}`, placeOf(pool), look)) === null) return;
  await inImage(session, pool, `remove ${object}`, placeOf(pool), () =>
    unlessThere(() => removeObject(pool, object)),
  );
}

async function unlessThere(body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    if (!isErrno(error, errno.ENOENT)) throw error;
  }
}

function absent(what: string, where: string): OperatingError {
  const why = `there is no ${what} in ${where}`;
  return new OperatingError({ code: 'not-found', op: 'find image', subject: what, why });
}
