// A complete set, for tests of what is made of it.

import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { FSID } from './world.ts';

export function setOf(targets: readonly string[]): SnapshotSet {
  return {
    schema: 1,
    id: 's1',
    fsid: FSID,
    domainUuid: 'u',
    domainName: 'web-1',
    host: 'h1',
    createdAtMs: 1,
    event: 'manual',
    wanted: { devices: 'all', quiesce: 'none', instant: 'none' },
    quiesced: 'none',
    instant: 'barrier',
    way: 'native',
    disks: targets.map((target, index) => {
      const at = { poolId: 2, imageId: `id-${target}`, snapId: 10 + index, sizeBytes: 4096 };
      return { target, pool: 'vms', namespace: '', image: `web-1-${target}`, ...at };
    }),
    leftOut: [],
    domainXml: '<domain/>',
  };
}
