// How chains are read on this host: files by their headers, RBD images through the cluster that the disk names.

import { realpath } from 'node:fs/promises';
import { OperatingError } from '../wire/errors.ts';
import type { Cluster } from '../wire/ports.ts';
import { formatImage } from '../wire/source.ts';
import type { ChainReaders, RbdHead } from './chain.ts';
import { createHeaderReader, readHeader } from './headers.ts';
import type { CacheParts } from './parts.ts';

/** What CephMethods.readHead gives at most. */
const RBD_HEAD_BYTES_MAX = 64 * 1024;

export function chainReaders({
  settings,
  clusters,
}: Pick<CacheParts, 'settings' | 'clusters'>): ChainReaders {
  const files = createHeaderReader();
  return {
    roots: [settings.mountPath, settings.path],
    readHeader: (path) => files.read(path),
    async readRbdHeader(image) {
      const cluster = await clusterOf(clusters, image);
      const { pool, namespace, image: name, snapshot } = image;
      const at = { pool, namespace, image: name };
      const options = { deadlineMs: settings.cephDeadlineMs };
      return readHeader(async (wanted) => {
        const lengthBytes = Math.min(wanted, RBD_HEAD_BYTES_MAX);
        const params = {
          ...at,
          lengthBytes,
          ...(snapshot === undefined ? {} : { snap: snapshot }),
        };
        const { base64 } = await cluster.ceph.call('readHead', params, options);
        return Buffer.from(base64, 'base64');
      });
    },
    realPath: (path) => realpath(path).catch(() => undefined),
  };
}

/** By the disk's ceph.conf where it names one, else the only cluster: the same name in another is another image. */
async function clusterOf(clusters: CacheParts['clusters'], image: RbdHead): Promise<Cluster> {
  const { configFile } = image;
  const named = clusters.all.find(({ settings }) => settings.conf === configFile);
  if (named !== undefined) return named;
  if (clusters.all.length === 1) return clusters.ofSource({});
  const why =
    'several clusters are configured, and the disk does not say by its conf which is meant';
  throw new OperatingError({
    code: 'unavailable',
    op: 'read header',
    subject: formatImage(image),
    why,
  });
}
