// Exports and imports, given what they need.

import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { createTransfers, type Transfers } from '../snapshot/transfer/service.ts';
import { OperatingError } from '../wire/errors.ts';
import { STREAMS_FOLDER } from '../wire/transfer-api.ts';
import type { TransferMethods } from '../wire/transfer-protocol.ts';
import type { SnapshotSet } from '../wire/vocabulary.ts';
import { startWorker } from '../worker/supervisor/index.ts';
import type { OpenCluster, OpenClusters } from './clusters.ts';
import { findSets } from './found-sets.ts';
import type { Stores, Workers } from './rooms.ts';
import { workerProgram } from './worker-program.ts';

/** The folder of the streams is beside siphond's socket: systemd makes it where that is not siphond's to make. */
export async function openTransfers(
  { config, journal, catalogue, log, fillGroup }: Stores,
  { clusters }: Workers,
  onDefect: (error: unknown) => void,
): Promise<Transfers> {
  const folder = path.join(path.dirname(config.api.socket), STREAMS_FOLDER);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  // Those of workers that were killed: no worker of this life is there yet.
  for (const name of await readdir(folder)) await rm(path.join(folder, name), { force: true });
  const program = { ...workerProgram(), adopt: fillGroup.adopt };
  return createTransfers({
    journal,
    catalogue: catalogue.sets,
    byFsid: (fsid) => clusters.byFsid(fsid),
    byName: async (name) => clusterOf(clusters, name),
    findSet: (id) => findSet(clusters, id),
    startWorker: (job) =>
      startWorker<TransferMethods>({
        role: 'transfer',
        name: `transfer ${job}`,
        settings: null,
        kind: 'one-shot',
        program,
        log: log.child({ job }),
      }),
    folder,
    host: hostname(),
    newExportId: () => randomBytes(16).toString('hex'),
    now: Date.now,
    log,
    onDefect,
  });
}

async function clusterOf(clusters: OpenClusters, name: string | undefined): Promise<OpenCluster> {
  const { all } = clusters;
  if (name === undefined) {
    const only = all.find(({ isDefault }) => isDefault) ?? all[0];
    if (only !== undefined) return only;
  }
  const found = all.find((each) => each.name === name);
  if (found !== undefined) return found;
  const why = `the config names ${all.map((each) => each.name).join(', ') || 'no cluster'}`;
  const subject = name ?? 'default';
  throw new OperatingError({ code: 'not-found', op: 'find cluster', subject, why });
}

async function findSet({ all }: OpenClusters, id: string): Promise<SnapshotSet> {
  const { sets } = await findSets(all);
  const found = sets.find((set) => set.id === id);
  if (found !== undefined) return found;
  const why = 'no such set is known, on this host or in Ceph';
  const hint = '`siphon snapshot list --all-hosts` tells what is there.';
  throw new OperatingError({ code: 'not-found', op: 'find snapshot set', subject: id, why, hint });
}
