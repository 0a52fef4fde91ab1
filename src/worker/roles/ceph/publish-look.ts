// What has to be known of a snapshot, and of where it goes, before an image is made of it.

import {
  callMethod,
  errno,
  type Image,
  ImageReader,
  type ImageRef,
  isErrno,
  listImages,
  listWatchers,
  type Pool,
  parentOf,
} from 'ceph-napi';
import type {
  CloneAt,
  CloneFormat,
  PublishPlace,
  PublishSource,
} from '../../../wire/publish-protocol.ts';
import type { ImageAt, SnapshotAt } from '../../../wire/worker-protocol.ts';
import { during } from '../../translate-error.ts';
import type { Session } from './connections.ts';
import { clientOf } from './lock-break.ts';
import { inImage, openImage, openPool, placeOf, subjectOf } from './open.ts';
import { unlessMissing } from './source.ts';

/** More ancestors than any release of Ceph opens (MAX_ANCESTORS of librbd's own are 16). */
const ANCESTORS_MAX = 64;

export async function lookAtSource(
  session: Session,
  { poolId, namespace, imageId, snap }: SnapshotAt,
): Promise<PublishSource> {
  await using pool = await openPool(session, poolId, namespace);
  await using image = await openImage(session, pool, { id: imageId }, { snap });
  return await inImage(session, image, 'look at snapshot', `${imageId}@${snap}`, async () => ({
    sizeBytes: await image.size(),
    ancestors: await countAncestors(session, image),
    mayClone: await mayClone(pool, imageId),
    isEncrypted: await isEncrypted(image),
  }));
}

/**
 * librbd notes a clone at its parent when the clone is there already, and removes none that it cannot strike out there: who may not has
 * to be told before. Without input the method changes nothing (cls_rbd.cc: EINVAL).
 */
async function mayClone(pool: Pool, imageId: string): Promise<boolean> {
  try {
    await callMethod(pool, `rbd_header.${imageId}`, { class: 'rbd', name: 'child_detach' });
  } catch (error) {
    if (isErrno(error, errno.EPERM)) return false;
    if (!isErrno(error, errno.EINVAL)) throw error;
  }
  return true;
}

export async function lookAtPlace(session: Session, to: ImageAt): Promise<PublishPlace> {
  await using pool = await openPool(session, to.pool, to.namespace);
  const names = await imagesOf(session, pool);
  return {
    poolId: pool.id,
    isNameTaken: names.some(({ name }) => name === to.image),
    isFull: await isFull(session, pool),
    format: await cloneFormat(session),
    client: clientOf(session.cluster),
  };
}

/** By its id, or as it was begun. */
export async function lookWhoUses(
  session: Session,
  { poolId, namespace, marked, imageId }: CloneAt,
): Promise<{ readonly users: readonly string[] }> {
  await using pool = await openPool(session, poolId, namespace);
  const ref = imageId === undefined ? { name: marked } : { id: imageId };
  return { users: await usersOf(session, pool, ref) };
}

/** Of one that is not there nobody. */
export async function usersOf(session: Session, pool: Pool, ref: ImageRef): Promise<string[]> {
  const found = await unlessMissing(openImage(session, pool, ref));
  if (found === undefined) return [];
  await using image = found;
  const step = ['look who uses image', subjectOf(pool, ref)] as const;
  const watchers = await inImage(session, image, ...step, () => listWatchers(image));
  const names = watchers.map(({ client }) => `client.${client}`);
  return names.filter((client) => client !== clientOf(session.cluster));
}

export function imagesOf(session: Session, pool: Pool) {
  return inImage(session, pool, 'list images', placeOf(pool), () => listImages(pool));
}

async function countAncestors(session: Session, image: Image): Promise<number> {
  const parent = await parentOf(image);
  if (parent === null) return 0;
  let { poolId, namespace, id } = parent;
  for (let count = 1; count < ANCESTORS_MAX; count += 1) {
    await using pool = await openPool(session, poolId, namespace);
    await using above = await openImage(session, pool, { id });
    const next = await parentOf(above);
    if (next === null) return count;
    ({ poolId, namespace, id } = next);
  }
  return ANCESTORS_MAX;
}

/** LUKS 1 and 2 (cryptsetup, and librbd's own), and librbd's mark of a clone of such an image (doc/rbd/rbd-encryption). */
const ENCRYPTED = ['LUKS\xba\xbe', 'RBDL\xba\xbe'];

async function isEncrypted(image: Image): Promise<boolean> {
  const magic = Buffer.from(new ArrayBuffer(Math.min(6, await image.size())));
  if (magic.length > 0) await ImageReader.attach(image).read(magic, 0);
  return ENCRYPTED.includes(magic.toString('latin1'));
}

/** As librbd decides it: by its option, and where that is `auto`, by whom the cluster still lets in. */
async function cloneFormat({ cluster, fsid }: Session): Promise<CloneFormat> {
  const option = await cluster.option('rbd_default_clone_format');
  if (option === '1') return 1;
  if (option === '2') return 2;
  const asked = { prefix: 'osd get-require-min-compat-client' };
  const { output, status } = await during({ op: 'ask the monitors', subject: fsid }, () =>
    cluster.monCommand(asked),
  );
  const release = (output.toString().trim() || status.trim()).toLowerCase();
  // Names of releases are in the order of the alphabet; of those before mimic only these come.
  return release >= 'mimic' ? 2 : 1;
}

interface PoolDetail {
  readonly pool_id: number;
  /** `hashpspool,full,full_quota` */
  readonly flags_names: string;
}

/** librados does not say so: it holds writes back until there is room, or its own timeout ends. */
async function isFull({ cluster, fsid }: Session, pool: Pool): Promise<boolean> {
  const asked = { prefix: 'osd pool ls', detail: 'detail', format: 'json' };
  const { output } = await during({ op: 'ask the monitors', subject: fsid }, () =>
    cluster.monCommand(asked),
  );
  const pools = JSON.parse(output.toString()) as readonly PoolDetail[];
  const flags = pools.find(({ pool_id }) => pool_id === pool.id)?.flags_names.split(',') ?? [];
  return flags.includes('full') || flags.includes('full_quota');
}
