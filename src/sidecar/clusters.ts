// The configured clusters, each with its warm worker, which starts with its first use and is kept.

import { OperatingError } from '../wire/errors.ts';
import type { CephPort, Cluster, Clusters } from '../wire/ports.ts';
import type { CephMethods } from '../wire/worker-protocol.ts';
import {
  startWorker,
  type Worker,
  type WorkerLog,
  type WorkerProgram,
} from '../worker/supervisor/index.ts';
import type { ClusterConfig } from './config/load.ts';

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
  readonly all: readonly OpenCluster[];
}

export interface OpenCluster extends Cluster {
  readonly isDefault: boolean;
  /** The fsid where it is known by now: from the config, or from the last answer. */
  readonly knownFsid: string | undefined;
  /** Asks the cluster for its fsid: whether it is there now. One question at a time. @throws OperatingError */
  ask(): Promise<string>;
}

/** Starts nothing yet. Dispose ends the workers. */
export function openClusters({ clusters, program, log }: ClusterParts): OpenClusters {
  const workers: Worker<CephMethods>[] = [];
  const start = (config: ClusterConfig) => {
    const { name, settings } = config;
    const worker = startWorker<CephMethods>({
      role: 'ceph',
      name: `ceph ${name}`,
      settings,
      program,
      log,
      limits: { graceMs: settings.timeoutMs + GRACE_EXTRA_MS },
    });
    workers.push(worker);
    return worker;
  };
  const all = clusters.map((config) => openCluster(config, () => start(config)));
  const byFsid = (fsid: string) => findCluster(all, fsid);
  return {
    all,
    byFsid,
    async ofSource({ fsid }) {
      if (fsid !== undefined) return byFsid(fsid);
      const found = all.find((each) => each.isDefault) ?? all[0];
      if (found !== undefined) return found;
      throw unknownFsid('', all);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(workers.map((worker) => worker[Symbol.asyncDispose]()));
    },
  };
}

function openCluster(
  { name, isDefault, settings }: ClusterConfig,
  start: () => CephPort,
): OpenCluster {
  let worker: CephPort | undefined;
  let knownFsid = settings.fsid;
  const ceph: CephPort = {
    call: (method, params, options) => (worker ??= start()).call(method, params, options),
  };
  let asked: Promise<string> | undefined;
  const ask = () => {
    const deadlineMs = settings.timeoutMs + STATUS_EXTRA_MS;
    asked ??= ceph
      .call('status', {}, { deadlineMs })
      .then(({ fsid }) => (knownFsid = fsid))
      .finally(() => (asked = undefined));
    return asked;
  };
  return {
    name,
    isDefault,
    settings,
    ceph,
    get knownFsid() {
      return knownFsid;
    },
    ask,
    fsid: async () => knownFsid ?? (await ask()),
  };
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
