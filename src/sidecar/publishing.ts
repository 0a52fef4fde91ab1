// Images made of sets, and what hosts that are gone have left of that, given what they need.

import { hostname } from 'node:os';
import PQueue from 'p-queue';
import { Leftovers } from '../snapshot/leftovers/room.ts';
import { createPublishing, type Publishing } from '../snapshot/publish/publishing.ts';
import type { FillMethods } from '../wire/worker-protocol.ts';
import { startWorker } from '../worker/supervisor/index.ts';
import type { Stores, Workers } from './rooms.ts';
import { snapshotFiles } from './snapshot-files.ts';
import { workerProgram } from './worker-program.ts';

/** Flattens of this host: each reads and writes as fast as the cluster lets it. */
const FLATTENS_AT_ONCE = 2;

/** Each has 32 MiB of buffers, in a cluster's worker. */
const COPIES_AT_ONCE = 2;

export function openPublishing(
  { config, journal, catalogue, log, fillGroup }: Stores,
  { clusters }: Workers,
  onDefect: (error: unknown) => void,
): Publishing {
  const queue = new PQueue({ concurrency: FLATTENS_AT_ONCE });
  const copies = new PQueue({ concurrency: COPIES_AT_ONCE });
  const program = { ...workerProgram(), adopt: fillGroup.adopt };
  return createPublishing({
    journal,
    catalogue: catalogue.sets,
    byFsid: (fsid) => clusters.byFsid(fsid),
    clusters: () => clusters.all,
    files() {
      const { folder, format } = config.publish;
      return folder === undefined
        ? undefined
        : { folder, format, reserveBytes: config.cache.reserveBytes };
    },
    disk: snapshotFiles,
    startFileWorker: (job) =>
      startWorker<FillMethods>({
        role: 'fill',
        name: `files ${job}`,
        settings: null,
        kind: 'one-shot',
        program,
        log: log.child({ job }),
      }),
    limitCopy: (run) => copies.add(run),
    flattenRate: () => config.publish.flattenRateBytes,
    // The rate is the host's: one at a time has it.
    limitFlatten(run) {
      queue.concurrency = config.publish.flattenRateBytes === undefined ? FLATTENS_AT_ONCE : 1;
      return queue.add(run);
    },
    host: hostname(),
    log,
    now: Date.now,
    onDefect,
  });
}

export function openLeftovers(
  { journal, log }: Stores,
  { clusters }: Workers,
  onDefect: (error: unknown) => void,
): Leftovers {
  const host = hostname();
  return new Leftovers({
    journal,
    clusters: () => clusters.all,
    host,
    log,
    now: Date.now,
    onDefect,
  });
}
