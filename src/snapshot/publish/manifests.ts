// The manifests of a set's disks go along with its images: they are of content, and an image has that of its snapshot.

import assert from 'node:assert/strict';
import { allOf } from '../../wire/all-of.ts';
import type { Cluster } from '../../wire/ports.ts';
import type { PublishedImage } from '../../wire/publish-api.ts';
import type { SourceIds } from '../../wire/vocabulary.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import { readManifestAt } from '../manifests.ts';
import { type PublishData, poolOf } from './data.ts';
import type { PublishParts } from './ports.ts';

/** Gives the images, with what each has now. May be done again. @throws OperatingError */
export async function carryManifests(
  parts: PublishParts,
  data: PublishData,
): Promise<readonly PublishedImage[]> {
  const { plan, making, made = [] } = data;
  const from = await parts.byFsid(plan.fsid);
  const { ceph } = await parts.byFsid(making?.fsid ?? plan.fsid);
  return await allOf(
    made.map(async (image, index): Promise<PublishedImage> => {
      const { disk } = plan.images[index] ?? assert.fail('one of no disk');
      const of = { fsid: plan.fsid, set: plan.set, disk, as: 'publish' } as const;
      const envelope = await readManifestAt(parts.log, from, of);
      if (envelope === null) return image;
      const ids = idsOf(data, image);
      await ceph.call('setManifest', { ids, envelope }, DEADLINE_MS.record);
      return { ...image, hasManifest: true };
    }),
  );
}

/** Of images that are to go. May be done again. @throws OperatingError */
export async function dropManifests({ ceph }: Cluster, data: PublishData): Promise<void> {
  await allOf(
    (data.made ?? []).map((image) => {
      const ids = idsOf(data, image);
      return ceph.call('setManifest', { ids, envelope: null }, DEADLINE_MS.record);
    }),
  );
}

function idsOf({ plan, making }: PublishData, { imageId, snapId }: PublishedImage): SourceIds {
  const { fsid = plan.fsid, poolId = -1 } = making ?? {};
  return { fsid, poolId, namespace: poolOf(plan).namespace, imageId, snapId };
}
