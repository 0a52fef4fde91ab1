// What each room is given: the ports bound to workers, the world's facts, the bounds.

import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import PQueue from 'p-queue';
import type { Logger } from 'pino';
import {
  type Cache,
  type CacheSettings,
  type Catalogue,
  createCache,
  type Recovery,
  worldAt,
} from '../cache/index.ts';
import { createHookService, type HookService } from '../hook/service.ts';
import { jitterOf } from '../snapshot/limits.ts';
import { publishByPolicy } from '../snapshot/publish/by-policy.ts';
import type { Publishing } from '../snapshot/publish/publishing.ts';
import type { Restores } from '../snapshot/restore/room.ts';
import { Schedules } from '../snapshot/schedule/schedules.ts';
import { createSnapshots, type Snapshots } from '../snapshot/service.ts';
import type { FillGroup } from '../systemd/fill-group.ts';
import { certificateFolder, planVerification, readTrust } from '../trust/index.ts';
import type { FillMethods, LibvirtEvent } from '../wire/worker-protocol.ts';
import { startWorker, whyStuck } from '../worker/supervisor/index.ts';
import { createBasesPort, type DomainBases } from './bases-port.ts';
import { systemdCalendar } from './calendar.ts';
import { type OpenClusters, openClusters } from './clusters.ts';
import type { Config } from './config/load.ts';
import { createInventory, type Inventory } from './domains.ts';
import type { JobJournal } from './journal.ts';
import { type OpenLibvirt, openLibvirt } from './libvirt.ts';
import { trustedKeys } from './manifests.ts';
import type { Counts } from './metrics-port.ts';
import type { Pauses } from './pause.ts';
import type { Policies } from './policies.ts';
import { openPublishing } from './publishing.ts';
import { readStateFile } from './state-files.ts';
import { createStatuses, type Statuses } from './statuses.ts';
import { applyReachAtStart, whyFallen } from './trust/reach.ts';
import { libvirtProgram, workerProgram } from './worker-program.ts';

/** What one fill may take: 8 TiB at 200 MiB/s. */
const FILL_MS_MAX = 12 * 3_600_000;
/** One answer of a cluster is a few of librados' own calls, each with the configured timeout. */
const CEPH_CALLS = 2;
const CEPH_EXTRA_MS = 2000;
/** Any hook call but `prepare`. */
const HOOK_ELSEWHERE_MS = 1000;
/** The hook leaves at the end of a call's budget: siphond answers so long before. */
const HOOK_ANSWER_MS = 250;

export interface Stores {
  readonly config: Config;
  readonly log: Logger;
  readonly catalogue: Catalogue;
  readonly journal: JobJournal;
  readonly pauses: Pauses;
  readonly counts: Counts;
  readonly fillGroup: FillGroup;
}

export interface Workers {
  readonly clusters: OpenClusters;
  readonly libvirt: OpenLibvirt;
  readonly cephDeadlineMs: number;
  /** Which worker's supervisor did not act when it should have, long ago; undefined: none. */
  whyStuck(): string | undefined;
}

/** The warm workers: of a cluster with its first use, of libvirt now. */
export function openWorkers(
  { config, log }: Stores,
  life: AsyncDisposableStack,
  onLibvirt: (event: LibvirtEvent) => void,
): Workers {
  const program = workerProgram();
  const clusters = life.use(openClusters({ clusters: config.clusters, program, log }));
  const { uri } = config.libvirt;
  const worker = { program: libvirtProgram(), log };
  const libvirt = life.use(openLibvirt({ uri, ...worker, onEvent: onLibvirt }));
  return {
    clusters,
    libvirt,
    get cephDeadlineMs() {
      const timeoutMs = Math.max(...config.clusters.map((each) => each.settings.timeoutMs));
      return CEPH_CALLS * timeoutMs + CEPH_EXTRA_MS;
    },
    whyStuck: () => whyStuck([...clusters.stats(), libvirt.stats()], performance.now()),
  };
}

/** The cache, with what an earlier life left finished or undone. */
export async function openCache(
  stores: Stores,
  workers: Workers,
): Promise<{ cache: Cache; recovery: Recovery; statuses: Statuses }> {
  const { config, log, catalogue, journal, pauses, fillGroup } = stores;
  const { path } = config.cache;
  const findKeys = () => trustedKeys(config);
  const { adopt, adoptIdle } = fillGroup;
  const cache = createCache({
    settings: liveSettings(config, workers),
    catalogue,
    journal,
    clusters: workers.clusters,
    startFillWorker: async (priority, job) =>
      startWorker<FillMethods>({
        role: 'fill',
        name: `fill ${job}`,
        settings: null,
        kind: 'one-shot',
        program: { ...workerProgram(), adopt: priority === 'idle' ? adoptIdle : adopt },
        log: log.child({ job }),
      }),
    pauses: () => pauses.current(),
    log,
    planVerification: ({ manifest, ...asked }) => {
      const beside = manifest && { manifest: { ...manifest, findKeys } };
      return planVerification({ ...asked, ...beside, ...trustOf(stores) });
    },
    whyFallen: (filled) => whyFallen(config, filled),
    ...worldAt(path),
  });
  const recovery = await cache.recover();
  await applyReachAtStart({ config, cache, log });
  const { clusters } = workers;
  const cephDeadlineMs = () => workers.cephDeadlineMs;
  return { cache, recovery, statuses: createStatuses({ cache, clusters, cephDeadlineMs, log }) };
}

/** What planning needs to know of trust, as it is now. */
function trustOf({ config, log }: Stores) {
  return {
    findCertificate: certificateFolder(config.trust.folder),
    readTrust: () => readTrust(config.trust),
    rules: config.trust.rules,
    now: Date.now(),
    onWarning: (what: string) => log.warn(what),
  };
}

/** What a reload may change is read at each use. */
function liveSettings(config: Config, workers: Workers): CacheSettings {
  const { path, mount: mountPath } = config.cache;
  return {
    path,
    mountPath,
    fillDeadlineMs: FILL_MS_MAX,
    get limitBytes() {
      return config.cache.limitBytes;
    },
    get reserveBytes() {
      return config.cache.reserveBytes;
    },
    get quarantine() {
      return config.cache.quarantine;
    },
    get scrubRateBytes() {
      return config.cache.scrubRateBytes;
    },
    get scrubEveryMs() {
      return config.cache.scrubEveryMs;
    },
    get rawBecomes() {
      return config.cache.rawBecomes;
    },
    get overlayFolders() {
      return config.cache.overlayFolders;
    },
    get fillConcurrency() {
      return config.cache.fillConcurrency;
    },
    get cephDeadlineMs() {
      return workers.cephDeadlineMs;
    },
  };
}

export function openSnapshots(
  stores: Stores,
  workers: Workers,
  policies: Policies,
  onDefect: (error: unknown) => void,
): { readonly snapshots: Snapshots; readonly publishing: Publishing } {
  const { config, journal, catalogue, pauses, counts, log } = stores;
  const { clusters, libvirt } = workers;
  const publishing = openPublishing(stores, workers, onDefect);
  const queue = new PQueue({ concurrency: config.snapshot.atOnce });
  const snapshots = createSnapshots({
    journal,
    catalogue: catalogue.sets,
    clusterOf: (source) => clusters.ofDisk(source),
    byFsid: (fsid) => clusters.byFsid(fsid),
    libvirt,
    policies: () => policies.current,
    pauses: () => pauses.current(),
    limits: () => config.snapshot,
    keeps: () => config.snapshot.keepFiles,
    readState: readStateFile,
    jitterMs: () => jitterOf(config.snapshot.jitterMs, Math.random()),
    onTaken: (set) => publishByPolicy({ policies: policies.current, publishing, log }, set),
    limit: (run) => {
      queue.concurrency = config.snapshot.atOnce;
      return queue.add(run);
    },
    host: hostname(),
    log,
    counts,
    now: Date.now,
    wait: (ms, signal) => delay(ms, undefined, { signal }).catch(() => undefined), // early will do
    onDefect,
  });
  return { snapshots, publishing };
}

/** Sets that policies want by the calendar. */
export function openSchedules(
  { journal, catalogue, pauses, log }: Stores,
  { libvirt }: Workers,
  policies: Policies,
  snapshots: Snapshots,
): Schedules {
  return new Schedules({
    policies: () => policies.current,
    pauses: () => pauses.current(),
    libvirt,
    catalogue: catalogue.sets,
    journal,
    calendar: systemdCalendar,
    begin: (happened) => snapshots.onEvent(happened),
    now: Date.now,
    log,
  });
}

export interface DomainRooms {
  readonly inventory: Inventory;
  readonly bases: DomainBases;
  readonly hook: HookService;
}

/** What siphond knows of domains: from the hook, and from libvirt. */
export function openDomains(
  { config, catalogue, counts, log }: Stores,
  { libvirt }: Workers,
  cache: Cache,
  snapshots: Snapshots,
  restores: Pick<Restores, 'replacing'>,
): DomainRooms {
  const inventory = createInventory({
    libvirt,
    basesOf: (domain) => cache.basesOf(domain),
    leases: cache.leases,
    running: () => {
      const running = catalogue.leases.all().filter((lease) => lease.kind === 'running');
      return [...new Set(running.map((lease) => lease.domainUuid))];
    },
    log,
  });
  const bases = createBasesPort({
    cache,
    mountPath: config.cache.mount,
    nameOf: (id) => catalogue.bases.get(id)?.name,
    onHook: (uuid) => inventory.noteHook(uuid),
    onHeld: (id) => counts.baseHeld(catalogue.bases.get(id)?.allocatedBytes ?? 0),
  });
  const budgets = {
    get fillWaitMs() {
      return Math.max(0, config.hook.fillWaitMs - HOOK_ANSWER_MS);
    },
    elsewhereMs: HOOK_ELSEWHERE_MS - HOOK_ANSWER_MS,
  };
  const hook = createHookService({
    bases,
    snapshots,
    replacing: (uuid) => restores.replacing(uuid),
    config: budgets,
    log,
    now: Date.now,
  });
  return { inventory, bases, hook };
}
