// Source images: names to ids and facts, and whether the ids are still there.

import { feature, listImages, listSnapshots, type Pool, type Snapshot } from 'ceph-napi';
import { OperatingError } from '../../../wire/errors.ts';
import { formatSource } from '../../../wire/source.ts';
import type { SourceFacts, SourceIds, SourceName } from '../../../wire/vocabulary.ts';
import type { CephMethods, SourcePresence } from '../../../wire/worker-protocol.ts';
import { during } from '../../translate-error.ts';
import type { Session } from './connections.ts';
import { clientOf } from './lock-break.ts';
import { hasManifest } from './manifests.ts';
import { freshSnapshots, inImage, openImage, openPool, placeOf } from './open.ts';
import { readProperties } from './properties.ts';

/** Asks a monitor: a connection alone proves nothing about now. */
export async function status({ cluster, fsid }: Session): Promise<CephMethods['status']['result']> {
  await during({ op: 'ask the monitors', subject: fsid }, () =>
    cluster.monCommand({ prefix: 'fsid' }),
  );
  return { fsid, client: clientOf(cluster) };
}

/** @throws OperatingError not-found, naming the pool, the image or the snapshot; mismatch for a source of another cluster */
export async function resolveSource(
  session: Session,
  name: SourceName,
  isRecordLeft: boolean,
): Promise<SourceFacts> {
  const subject = formatSource(name);
  assertFsid(session, name.fsid, subject);
  await using pool = await openPool(session, name.pool, name.namespace);
  const imageId = await idOf(session, pool, name.image);
  const image = { imageId, name: name.image, isRecordLeft };
  return await describe(session, pool, image, `snapshot '${name.snap}'`, (each) => {
    return each.name === name.snap;
  });
}

/** As {@link resolveSource}, by ids. An image or snapshot that was removed into RBD's trash has no name, and is not found. */
export async function describeSource(session: Session, ids: SourceIds): Promise<SourceFacts> {
  const { imageId, snapId } = ids;
  assertFsid(session, ids.fsid, `image ${imageId}@${snapId}`);
  await using pool = await openPool(session, ids.poolId, ids.namespace);
  const image = { imageId, name: await nameOf(session, pool, imageId) };
  return await describe(session, pool, image, `snapshot with id ${snapId}`, (each) => {
    return each.id === snapId;
  });
}

interface DescribedImage {
  readonly imageId: string;
  readonly name: string;
  readonly isRecordLeft?: boolean;
}

/** All through one fresh handle by id: a name can be given to another image meanwhile. */
async function describe(
  session: Session,
  pool: Pool,
  { imageId, name, isRecordLeft }: DescribedImage,
  wanted: string,
  isWanted: (snapshot: Snapshot) => boolean,
): Promise<SourceFacts> {
  const { fsid } = session;
  const { id: poolId, namespace } = pool;
  const subject = `${placeOf(pool)}/${name}`;
  await using image = await openImage(session, pool, { id: imageId });
  return await inImage(session, image, 'describe image', subject, async () => {
    const snapshots = await listSnapshots(image);
    const snap = snapshots.find((each) => each.type === 'user' && isWanted(each));
    if (!snap) throw noSnapshot(subject, wanted);
    const ids = { fsid, poolId, namespace, imageId, snapId: snap.id };
    const [properties, hasOne] = await Promise.all([
      isRecordLeft === true ? undefined : readProperties(session, pool, ids),
      hasManifest(session, pool, ids),
    ]);
    return {
      ids,
      name: { fsid, pool: pool.name, namespace, image: name, snap: snap.name },
      sizeBytes: snap.sizeBytes,
      objectSizeBytes: (await image.stat()).objectSizeBytes,
      features: featureNames(await image.features()),
      isProtected: snap.protected,
      ...(properties && { properties }),
      ...(hasOne && { hasManifest: hasOne }),
    };
  });
}

async function idOf(session: Session, pool: Pool, name: string): Promise<string> {
  await using image = await openImage(session, pool, { name });
  return await inImage(session, image, 'describe image', `${placeOf(pool)}/${name}`, () =>
    image.id(),
  );
}

async function nameOf(session: Session, pool: Pool, imageId: string): Promise<string> {
  const subject = `image with id ${imageId}`;
  const images = await inImage(session, pool, 'list images', placeOf(pool), () => listImages(pool));
  const found = images.find((each) => each.id === imageId);
  if (found) return found.name;
  const why = `there is no ${subject} in ${placeOf(pool)}`;
  throw new OperatingError({ code: 'not-found', op: 'find image', subject, why });
}

/** `present` says that the bytes are still there: also where the image is in RBD's trash, or the snapshot waits there for clones. */
export async function checkSource(session: Session, ids: SourceIds): Promise<SourcePresence> {
  const { imageId, snapId } = ids;
  assertFsid(session, ids.fsid, `image ${imageId}@${snapId}`);
  const pool = await unlessMissing(openPool(session, ids.poolId, ids.namespace));
  if (!pool) return { kind: 'gone', what: 'pool' };
  await using open = pool;
  const snapshots = await unlessMissing(freshSnapshots(session, open, { id: imageId }));
  if (!snapshots) return { kind: 'gone', what: 'image' };
  const isThere = snapshots.some((each) => each.id === snapId);
  return isThere ? { kind: 'present' } : { kind: 'gone', what: 'snapshot' };
}

/** undefined for what is proved not to be there. */
export async function unlessMissing<T>(opening: Promise<T>): Promise<T | undefined> {
  try {
    return await opening;
  } catch (error) {
    if (error instanceof OperatingError && error.code === 'not-found') return undefined;
    throw error;
  }
}

/** @throws OperatingError mismatch: ids mean nothing in another cluster */
export function assertFsid(session: Session, fsid: string | undefined, subject: string): void {
  if (fsid === undefined || fsid === session.fsid) return;
  throw new OperatingError({
    code: 'mismatch',
    op: 'look for source',
    subject,
    why: `it is of cluster ${fsid}, and this is cluster ${session.fsid}`,
    hint: 'Name the cluster in the config by its fsid.',
  });
}

function noSnapshot(image: string, wanted: string): OperatingError {
  return new OperatingError({
    code: 'not-found',
    op: 'find snapshot',
    subject: image,
    why: `the image has no ${wanted}`,
    hint: `Look with \`rbd snap ls ${image}\`.`,
  });
}

/** As `rbd info` names them. */
const FEATURE_NAMES: Readonly<Record<keyof typeof feature, string>> = {
  layering: 'layering',
  stripingV2: 'striping',
  exclusiveLock: 'exclusive-lock',
  objectMap: 'object-map',
  fastDiff: 'fast-diff',
  deepFlatten: 'deep-flatten',
  journaling: 'journaling',
  dataPool: 'data-pool',
  operations: 'operations',
  migrating: 'migrating',
};

function featureNames(mask: number): string[] {
  const keys = Object.keys(FEATURE_NAMES) as (keyof typeof feature)[];
  return keys.filter((key) => (mask & feature[key]) !== 0).map((key) => FEATURE_NAMES[key]);
}
