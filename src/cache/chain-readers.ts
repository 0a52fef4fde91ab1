// How chains are read on this host: files by their headers, RBD images through the cluster that the disk names.

import { realpath } from 'node:fs/promises';
import type { ChainReaders } from './chain.ts';
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
      const cluster = await clusters.ofDisk(image);
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
