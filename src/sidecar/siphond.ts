// siphond, composed: the order in which its parts begin to live. They end in the same order, backwards.

import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { openCatalogue, type Recovery } from '../cache/index.ts';
import { happenedOf } from '../snapshot/happened.ts';
import type { Snapshots } from '../snapshot/service.ts';
import { openFillGroup } from '../systemd/fill-group.ts';
import { startWatchdog } from '../systemd/watchdog.ts';
import { OperatingError } from '../wire/errors.ts';
import { PROOF_MARK } from '../wire/verify-protocol.ts';
import type { LibvirtEvent } from '../wire/worker-protocol.ts';
import { type Background, startBackground } from './background.ts';
import { loadConfig, toConfig } from './config/load.ts';
import type { ConfigFile } from './config/schema.ts';
import { tellHookBound } from './hook-bound.ts';
import { createJournal, type JobJournal, type JournalParts } from './journal.ts';
import { lockState } from './lock.ts';
import { type Loop, RETRY_MS, SETTLE_EVENTS_MS, startLoop } from './loop.ts';
import { trustedKeys } from './manifests.ts';
import { createMetrics } from './metrics.ts';
import type { Counts } from './metrics-port.ts';
import { openPauses } from './pause.ts';
import { openPolicies } from './policies.ts';
import { openProofs } from './proofs.ts';
import { openLeftovers } from './publishing.ts';
import { createReload } from './reload.ts';
import { applyTo, type LiveConfig } from './reload-apply.ts';
import { openRestores } from './restores.ts';
import {
  type DomainRooms,
  openCache,
  openDomains,
  openSchedules,
  openSnapshots,
  openWorkers,
  type Stores,
} from './rooms.ts';
import { startServers } from './server/servers.ts';
import { bindServices } from './services.ts';
import { openSpool, type Spool, spoolFolders } from './spool.ts';
import { readStatus } from './status.ts';
import { openTransfers } from './transfers.ts';
import { impactOf } from './trust/impact.ts';

export interface SiphondParts {
  /** The config's main file, which a reload reads again, and what it said. */
  readonly configFile: string;
  readonly checked: ConfigFile;
  readonly log: Logger;
  /** Descriptors that systemd gave. */
  readonly given: ReadonlyMap<string, number>;
  /** A programmer's error: the process has to end. */
  readonly onDefect: (error: unknown) => void;
  /** All sockets are served. */
  readonly onReady: () => Promise<void>;
  /** Calls back at each SIGHUP. */
  readonly onHangup: (listener: () => void) => void;
}

/**
 * Resolves when siphond is at work; it needs neither Ceph nor libvirt for that. Dispose stops it: what has begun and is
 * not done goes on at the next start.
 * @throws OperatingError
 */
export async function startSiphond(parts: SiphondParts): Promise<AsyncDisposable> {
  const { checked, configFile, log, given, onDefect, onReady, onHangup } = parts;
  const config: LiveConfig = { ...toConfig(checked) };
  const startedAtMs = Date.now();
  await using life = new AsyncDisposableStack();
  life.use(lockState(config.state.path));
  const catalogue = life.use(openCatalogue(config.state.path));
  const metrics = createMetrics();
  const { counts } = metrics;
  const { onEnd, onFilled } = hearFills(counts);
  const journal = openJournal({ rows: catalogue.jobs, log, onEnd });
  const pauses = openPauses({ shelf: catalogue.pauses, log, now: Date.now });
  const warn = (text: string) => log.warn(text);
  const fillGroup = openFillGroup({ limits: () => config.fills, warn });
  const stores: Stores = { config, log, catalogue, journal, pauses, counts, fillGroup };
  const listeners: ((event: LibvirtEvent) => void)[] = [];
  const workers = openWorkers(stores, life, (event) => {
    for (const hear of listeners) hear(event);
  });
  const { cache, recovery, statuses } = await openCache(stores, workers);
  tellRecovery(recovery, log);
  const policies = openPolicies(() => config.snapshot.policies, log);
  await policies.load();
  const { snapshots, publishing } = openSnapshots(stores, workers, policies, onDefect);
  listeners.push((event) => tellSnapshots(snapshots, event, log));
  const restores = openRestores(stores, workers, snapshots, onDefect);
  const proofs = openProofs(stores, workers, snapshots, onDefect);
  const transfers = await openTransfers(stores, workers, onDefect);
  const leftovers = openLeftovers(stores, workers, onDefect);
  const work = { snapshots, restores, proofs, transfers, publishing, leftovers };
  const idle = () => Object.values(work).map((each) => each.idle());
  life.defer(() => settle([cache.settled(), ...idle()], log));
  const domains = openDomains(stores, workers, cache, snapshots, restores);
  const look = life.use(startLook(domains, log));
  listeners.push((event) => isChange(event) && look.poke());
  const spool = await startSpool(stores, domains, look);
  const { clusters, libvirt } = workers;
  const apply = applyTo({ config, clusters, log });
  const load = () => loadConfig(configFile);
  const reload = createReload({ file: configFile, load, checked, apply, log });
  const rest = { spool, policies, reload, pauses, fillGroup };
  const seen = { ...domains, config, startedAtMs, libvirt, cache, journal, ...rest };
  const rooms = { cache, recovery, statuses, ...work, ...rest, clusters };
  const services = bindServices({
    ...rooms,
    cephDeadlineMs: () => workers.cephDeadlineMs,
    findKeys: () => trustedKeys(config),
    hook: domains.hook,
    journal,
    sets: catalogue.sets,
    start: { libvirt, journal, onDefect, bases: domains.bases },
    metrics,
    workerRestarts: () => ({ ceph: clusters.restarts(), libvirt: libvirt.restarts() }),
    status: () => readStatus({ ...seen, clusters: clusters.all }),
    impact: (key) => impactOf({ config, cache, catalogue }, key),
  });
  life.use(await startServers({ config: config.api, services, counts, log, given, onDefect }));
  await tellHookBound(config.api.hookSocket, config.hook.fillWaitMs);
  await onReady();
  life.use(startWatchdog({ whyUnwell: () => workers.whyStuck(), warn }));
  const schedules = openSchedules(stores, workers, policies, snapshots);
  const onLibvirt: Background['onLibvirt'] = (hear) => void listeners.push(hear);
  const late = { ...rooms, schedules, configFile, onHangup, onLibvirt, onFilled };
  await startBackground({ config, log, ...late }, life);
  life.defer(() => finishSets(snapshots).then(() => journal.stop()));
  return life.move();
}

/** The counts of jobs that end, and others who want to know when it was a fill. */
function hearFills(counts: Pick<Counts, 'jobEnded'>): {
  readonly onEnd: Counts['jobEnded'];
  readonly onFilled: Background['onFilled'];
} {
  const listeners: (() => void)[] = [];
  return {
    onEnd(record, readBytes) {
      counts.jobEnded(record, readBytes);
      // A scrub makes suspect bases ready, too.
      if (record.kind === 'fill' || record.kind === 'scrub') for (const hear of listeners) hear();
    },
    onFilled: (hear) => void listeners.push(hear),
  };
}

/** Nobody waits any more for a start, an export or a table that siphond's end cut off: the operator asks again. */
function openJournal(parts: JournalParts): JobJournal {
  const journal = createJournal(parts);
  for (const { id, kind, subject } of journal.open()) {
    if (!['start', 'export', 'reconcile', 'sign'].includes(kind)) continue;
    const why = 'siphond ended in the middle of it';
    journal
      .resume(id)
      .failed({ code: 'cancelled', op: kind, subject, why, hint: 'Ask for it again.' });
  }
  return journal;
}

function tellSnapshots(snapshots: Snapshots, heard: LibvirtEvent, log: Logger): void {
  if (heard.what === 'lifecycle' && heard.name.startsWith(PROOF_MARK)) return;
  const happened = heard.what === 'lifecycle' && happenedOf(heard);
  if (!happened) return;
  const { uuid, event } = heard;
  snapshots.onEvent({ uuid, ...happened }).catch((error: unknown) => {
    if (!(error instanceof OperatingError)) throw error;
    log.warn(
      { domain: uuid, event, error: error.toWire() },
      'no set: the domain could not be read',
    );
  });
}

const CHANGES: ReadonlySet<string> = new Set(['defined', 'undefined', 'started', 'stopped']);

function isChange(event: LibvirtEvent): boolean {
  return event.what === 'connected' || (event.what === 'lifecycle' && CHANGES.has(event.event));
}

function tellRecovery({ askAgain, ...found }: Recovery, log: Logger): void {
  const told = { ...found, askAgain: askAgain.length };
  const isNothing = Object.values(told).every(
    (each) => each === 0 || (Array.isArray(each) && each.length === 0),
  );
  if (isNothing) return;
  const isDisk = [found.lost, found.damaged, found.adopted, found.strange].some(
    (each) => each.length > 0,
  );
  if (isDisk) log.warn({ recovered: told }, 'the disk changed while siphond was down');
  else log.info({ recovered: told }, 'work of the last life of siphond is taken up');
}

/** Above the second or two that a set takes of a cluster that answers. */
const FINISH_SETS_MS_MAX = 5000;

/**
 * At the host's shutdown, guests go down just before siphond does: a set that is being taken then would be overtaken by the
 * domain's start at the next boot. Hooks are answered meanwhile.
 */
async function finishSets(snapshots: Snapshots): Promise<void> {
  await Promise.race([snapshots.idle(), delay(FINISH_SETS_MS_MAX)]);
}

/** How long work that was asked to end may take to do so. */
const SETTLE_MS_MAX = 4000;

async function settle(work: readonly Promise<unknown>[], log: Logger): Promise<void> {
  const settled = Promise.all(work).then(() => true);
  const isSettled = await Promise.race([settled, delay(SETTLE_MS_MAX, false)]);
  if (!isSettled) log.warn('work did not end in time: it goes on at the next start');
}

/** Chains change without any event: external snapshots, block commits. */
const LOOK_EVERY_MS = 10 * 60_000;

function startLook({ inventory }: DomainRooms, log: Logger): Loop {
  return startLoop({
    name: 'domains',
    log,
    settleMs: SETTLE_EVENTS_MS,
    retryMs: RETRY_MS,
    everyMs: LOOK_EVERY_MS,
    work: (signal) => inventory.look(signal),
  });
}

/** Read before a newer call is heard: an old release must not end what a later start leased. */
async function startSpool(
  { config, log }: Stores,
  { hook }: DomainRooms,
  look: Loop,
): Promise<Spool> {
  const spool = await openSpool({
    folders: spoolFolders(config),
    catchUp: (events) => hook.catchUp(events),
    onDropped: () => look.poke(),
    log,
  });
  await drainAtStart(spool, log);
  return spool;
}

/** Hooks that come meanwhile wait on their socket; after a second they spool. */
const DRAIN_MS_MAX = 3000;

async function drainAtStart(spool: Spool, log: Logger): Promise<void> {
  const late = new AbortController();
  const drained = spool.drain(late.signal).catch((error: unknown) => {
    if (!(error instanceof OperatingError)) throw error;
    log.warn({ error: error.toWire() }, 'the spool is not drained: it is tried again');
  });
  await Promise.race([drained, delay(DRAIN_MS_MAX)]);
  late.abort();
}
