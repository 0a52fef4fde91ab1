// What has to be known of a snapshot, and of where it goes, before an image is made of it.

import { type Image, ImageReader, listImages, type Pool, parentOf } from 'ceph-napi';
import type { CloneFormat, PublishFacts, PublishMethods } from '../../../wire/publish-protocol.ts';
import { formatImage } from '../../../wire/source.ts';
import { during } from '../../translate-error.ts';
import type { Session } from './connections.ts';
import { clientOf } from './lock-break.ts';
import { inImage, openImage, openPool, placeOf } from './open.ts';

/** More ancestors than any release of Ceph opens (MAX_ANCESTORS of librbd's own are 16). */
const ANCESTORS_MAX = 64;

export async function lookToPublish(
  session: Session,
  { source, to }: PublishMethods['lookToPublish']['params'],
): Promise<PublishFacts> {
  await using target = await openPool(session, to.pool, to.namespace);
  const names = await imagesOf(session, target);
  const format = await cloneFormat(session);
  await using pool = await openPool(session, source.poolId, source.namespace);
  const ref = { id: source.imageId };
  await using image = await openImage(session, pool, ref, { snap: source.snap });
  return await inImage(session, image, 'look at snapshot', formatImage(to), async () => ({
    poolId: target.id,
    isNameTaken: names.some(({ name }) => name === to.image),
    sizeBytes: await image.size(),
    ancestors: await countAncestors(session, image),
    isEncrypted: await isEncrypted(image),
    format,
    client: clientOf(session.cluster),
  }));
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
