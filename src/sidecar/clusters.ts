// The configured clusters, each with its warm worker, which starts with its first use and is kept. What is under way ends
// with the settings that it began with: a cluster that is changed or removed is another from then on.

import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { OperatingError } from '../wire/errors.ts';
import type { CephPort, Cluster, Clusters } from '../wire/ports.ts';
import type { CephMethods } from '../wire/worker-protocol.ts';
import {
  startWorker,
  type Worker,
  type WorkerLog,
  type WorkerProgram,
  type WorkerStats,
} from '../worker/supervisor/index.ts';
import type { ClusterConfig } from './config/load.ts';
import { clusterOfDisk } from './disk-cluster.ts';

/** `status` of a cluster that answers takes ms; librados' own timeout ends before this. */
const STATUS_EXTRA_MS = 2000;

/** A cancelled call ends with librados' own timeout; a worker that still says nothing then is killed. */
const GRACE_EXTRA_MS = 5000;

export interface ClusterParts {
  readonly clusters: readonly ClusterConfig[];
  readonly program: WorkerProgram;
  readonly log: WorkerLog;
}

export interface OpenClusters extends Clusters, AsyncDisposable {
  /** Those that are configured now. */
  readonly all: readonly OpenCluster[];
  /** Takes up other clusters; those that are the same keep their workers. */
  replace(clusters: readonly ClusterConfig[]): void;
  /** Starts of workers after their first, since siphond's start. */
  restarts(): number;
  /** Of the workers that are there now. */
  stats(): readonly WorkerStats[];
}

export interface OpenCluster extends Cluster {
  readonly isDefault: boolean;
  /** The fsid where it is known by now: from the config, or from the last answer. */
  readonly knownFsid: string | undefined;
  /** Asks the cluster for its fsid: whether it is there now. One question at a time. @throws OperatingError */
  ask(): Promise<string>;
}

/** How often a worker that is to end is asked whether it still has calls. */
const IDLE_LOOK_MS = 200;

interface Opened {
  readonly config: ClusterConfig;
  readonly cluster: OpenCluster;
  /** Ends the worker when its calls have ended; one for a later call ends with that. */
  readonly retire: () => void;
}

/** Starts nothing yet. Dispose ends the workers. */
export function openClusters({ clusters, program, log }: ClusterParts): OpenClusters {
  const workers = new Set<CephWorker>();
  let restartsOfEnded = 0;
  const start = ({ name, settings }: ClusterConfig): CephWorker => {
    const worker = startWorker<CephMethods>({
      role: 'ceph',
      name: `ceph ${name}`,
      settings,
      program,
      log,
      limits: { graceMs: settings.timeoutMs + GRACE_EXTRA_MS },
    });
    workers.add(worker);
    return worker;
  };
  const end = async (worker: CephWorker) => {
    // Each call has a deadline, and a worker that goes on beyond it is killed.
    while (worker.stats.inFlight + worker.stats.queued > 0) await delay(IDLE_LOOK_MS);
    await worker[Symbol.asyncDispose]();
    workers.delete(worker);
    restartsOfEnded += restartsOf(worker);
  };
  const open = (config: ClusterConfig) => openCluster(config, () => start(config), end);
  let opened = clusters.map(open);
  const all = () => opened.map(({ cluster }) => cluster);
  return {
    get all() {
      return all();
    },
    byFsid: (fsid) => findCluster(all(), fsid),
    ofDisk: (image) => clusterOfDisk(all(), image),
    async ofSource({ fsid }) {
      if (fsid !== undefined) return findCluster(all(), fsid);
      const found = all().find((each) => each.isDefault) ?? all()[0];
      if (found !== undefined) return found;
      throw unknownFsid('', all());
    },
    replace(next) {
      const before = opened;
      opened = next.map(
        (config) => before.find((each) => isDeepStrictEqual(each.config, config)) ?? open(config),
      );
      for (const each of before) if (!opened.includes(each)) each.retire();
    },
    restarts: () => [...workers].reduce((sum, worker) => sum + restartsOf(worker), restartsOfEnded),
    stats: () => [...workers].map((worker) => worker.stats),
    async [Symbol.asyncDispose]() {
      await Promise.all([...workers].map((worker) => worker[Symbol.asyncDispose]()));
    },
  };
}

type CephWorker = Worker<CephMethods>;

function restartsOf({ stats }: CephWorker): number {
  return stats.starts - 1;
}

function openCluster(
  config: ClusterConfig,
  start: () => CephWorker,
  end: (worker: CephWorker) => Promise<void>,
): Opened {
  const { name, isDefault, settings } = config;
  let worker: CephWorker | undefined;
  let isRetired = false;
  let knownFsid = settings.fsid;
  const release = () => {
    if (worker !== undefined) void end(worker);
    worker = undefined;
  };
  const ceph: CephPort = {
    call(method, params, options) {
      worker ??= start();
      const answer = worker.call(method, params, options);
      if (isRetired) release();
      return answer;
    },
  };
  let asked: Promise<string> | undefined;
  const askAs = async (as: 'fill' | 'snapshot') => {
    const deadlineMs = settings.timeoutMs + STATUS_EXTRA_MS;
    const { fsid } = await ceph.call('status', { as }, { deadlineMs });
    knownFsid = fsid;
    return fsid;
  };
  const ask = () => {
    asked ??= askAs('fill').finally(() => (asked = undefined));
    return asked;
  };
  const learn = async () => {
    try {
      return await ask();
    } catch (error) {
      // Each job needs its own user's key, and no other's.
      if (error instanceof OperatingError && error.code === 'denied') return askAs('snapshot');
      throw error;
    }
  };
  const cluster = {
    name,
    isDefault,
    settings,
    ceph,
    get knownFsid() {
      return knownFsid;
    },
    ask,
    fsid: async () => knownFsid ?? (await learn()),
  };
  const retire = () => {
    isRetired = true;
    release();
  };
  return { config, cluster, retire };
}

/** @throws OperatingError not-found if all clusters are known and none is it; unavailable while one could not tell */
async function findCluster(all: readonly OpenCluster[], fsid: string): Promise<OpenCluster> {
  const known = all.find((each) => each.knownFsid === fsid);
  if (known !== undefined) return known;
  const asked = await Promise.allSettled(all.map((each) => each.fsid()));
  const found = all.find((each) => each.knownFsid === fsid);
  if (found !== undefined) return found;
  const failed = asked.find((each) => each.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  throw unknownFsid(fsid, all);
}

function unknownFsid(fsid: string, all: readonly OpenCluster[]): OperatingError {
  const names = all
    .map((each) => `${each.name} (${each.knownFsid ?? 'fsid not known yet'})`)
    .join(', ');
  return new OperatingError({
    code: 'not-found',
    op: 'find cluster',
    subject: fsid,
    why: `no configured cluster has this fsid; there are: ${names}`,
    hint: 'Name the cluster in /etc/siphon/siphon.toml as [clusters.NAME], or correct the source.',
  });
}
