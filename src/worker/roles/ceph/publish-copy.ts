// Where no clone can be made: a full copy of what the snapshot has, under a marked name and with an entry, as a clone is made.

import { createImage, feature } from 'ceph-napi';
import { copyImage } from '../../../rbd-export/copy-image.ts';
import type { PublishMethods } from '../../../wire/publish-protocol.ts';
import type { CephSettings } from '../../../wire/worker-protocol.ts';
import type { CallContext } from '../../role.ts';
import { connect } from './connect.ts';
import type { Session } from './connections.ts';
import { inImage, openImage, openPool, placeOf } from './open.ts';
import { idOf, takeSnap } from './publish.ts';
import { putPublishEntry } from './publish-entries.ts';
import { assertMarked } from './snapshots.ts';

type Copy = PublishMethods['makeCopy'];

/** Of the source's: those that say how it is used. */
const KEPT_FEATURES = feature.exclusiveLock | feature.objectMap | feature.fastDiff;
const NEEDED_FEATURES = feature.layering | feature.deepFlatten;

/** `timeoutMs`: of one read. */
export async function makeCopy(
  session: Session,
  { to, entry, from: elsewhere }: Copy['params'],
  timeoutMs: number,
  { signal, onProgress }: CallContext<Copy['progress']>,
): Promise<Copy['result']> {
  const { source, format } = entry;
  assertMarked(to.marked, 'copy', to.marked);
  await using pool = await openPool(session, to.poolId, to.namespace);
  await using away = elsewhere && (await connectElsewhere(elsewhere));
  const reading = away?.session ?? session;
  await using from = await openPool(reading, source.poolId, source.namespace);
  const ref = { id: source.imageId };
  await using image = await openImage(reading, from, ref, { snap: source.snap });
  const subject = `${placeOf(pool)}/${to.marked}`;
  return await inImage(session, pool, 'copy', subject, async () => {
    const { sizeBytes, order } = await image.stat();
    const features = ((await image.features()) & KEPT_FEATURES) | NEEDED_FEATURES;
    signal.throwIfAborted();
    await putPublishEntry(session, pool, to.marked, entry);
    await createImage(pool, to.marked, sizeBytes, { features, order });
    const imageId = await idOf(session, pool, to.marked);
    await putPublishEntry(session, pool, to.marked, { ...entry, imageId });
    await using copy = await openImage(session, pool, { id: imageId }, { writable: true });
    await copyImage(image, copy, { subject, timeoutMs, signal, onProgress });
    // Of one that was removed meanwhile zeros were read, and no error came.
    await (await openImage(reading, from, ref, { snap: source.snap })).close();
    return { imageId, snapId: await takeSnap(copy, format, subject) };
  });
}

/** For this copy alone: a worker keeps connections to its own cluster. */
async function connectElsewhere(settings: CephSettings): Promise<AsyncDisposable & Away> {
  const { cluster, fsid } = await connect(settings, 'publish');
  const entity = `client.${settings.users.publish.name}`;
  const session: Session = { cluster, fsid, identity: 'publish', entity };
  return { session, [Symbol.asyncDispose]: () => cluster.close() };
}

interface Away {
  readonly session: Session;
}
