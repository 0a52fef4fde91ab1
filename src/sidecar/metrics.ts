// The metrics, for Prometheus: docs/metrics.md names each. Counters since siphond's start, and gauges that are read at a
// scrape. The only file that knows prom-client.

import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { StatusAnswer } from '../wire/api.ts';
import { JOB_KINDS, type JobProgress, type JobRecord } from '../wire/journal.ts';
import { PAUSABLE } from '../wire/pause.ts';
import type { Quarantined } from '../wire/quarantine-api.ts';
import { SCRUB_OUTCOMES } from '../wire/scrub-api.ts';
import type { Base, SnapshotSet } from '../wire/vocabulary.ts';
import type { WorkerRole } from '../wire/worker-protocol.ts';
import { type Add, addCacheGauges, addQuarantineGauges, type Set, sum } from './metrics-bases.ts';
import {
  ASKERS,
  EVICT_REASONS,
  evictionOf,
  FILL_WAYS,
  fillLabels,
  hookOperation,
  PROOF_RESULTS,
  proofResult,
  RESULTS,
  SET_REASONS,
  SET_RESULTS,
  scrubbedOf,
  setLabels,
  VERIFY_FAILURES,
  verifyFailureOf,
} from './metrics-labels.ts';
import type { Counts } from './metrics-port.ts';

/** What a scrape reads of siphond. */
export interface Scraped {
  readonly status: StatusAnswer;
  readonly bases: readonly Base[];
  /** What failed its check and is kept; absent: its folder could not be read. */
  readonly quarantined?: readonly Pick<Quarantined, 'allocatedBytes'>[];
  readonly sets: readonly SnapshotSet[];
  readonly openJobs: readonly (JobRecord & { readonly progress?: JobProgress })[];
  readonly workerRestarts: Readonly<Partial<Record<WorkerRole, number>>>;
  readonly nowMs: number;
}

export interface Metrics {
  readonly counts: Counts;
  readonly contentType: string;
  /** The text format, version 0.0.4. */
  text(scraped: Scraped): Promise<string>;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const events = countEvents(registry);
  const setGauges = gauges(registry);
  return {
    counts: events.counts,
    contentType: registry.contentType,
    text(scraped) {
      events.setBytesRead(runningBytes(scraped.openJobs));
      setGauges(scraped);
      return registry.metrics();
    },
  };
}

type Labels = Readonly<Record<string, readonly string[]>>;

/** A counter whose series are all there from the start: a rate over the first event is then right. */
function counter(registry: Registry, name: string, help: string, labels: Labels) {
  const labelNames = Object.keys(labels);
  const made = new Counter({ name, help, labelNames, registers: [registry] });
  for (const each of combinations(labels)) made.inc(each, 0);
  return made;
}

function combinations(labels: Labels): Record<string, string>[] {
  return Object.entries(labels).reduce<Record<string, string>[]>(
    (all, [name, values]) =>
      all.flatMap((each) => values.map((value) => ({ ...each, [name]: value }))),
    [{}],
  );
}

const HOOK_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Around what a commit that is foreseen, and one that is not, cost a guest. */
const HOLD_BUCKETS = [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1, 1.5, 2, 3, 5];

function holdMetrics(registry: Registry): Pick<Counts, 'commitMissed' | 'guestHeld'> {
  const missed = new Counter({
    name: 'siphon_missed_commits_total',
    help: 'Guests that were held for a commit of the monitors that their snapshots missed.',
    registers: [registry],
  });
  const held = new Histogram({
    name: 'siphon_hold_duration_seconds',
    help: 'How long running guests were held for their sets, frozen or suspended.',
    buckets: HOLD_BUCKETS,
    registers: [registry],
  });
  return {
    commitMissed: (guests) => missed.inc(guests),
    guestHeld: (ms) => held.observe(ms / 1000),
  };
}

function countEvents(registry: Registry) {
  const count = (name: string, help: string, labels: Labels) =>
    counter(registry, name, help, labels);
  const jobs = count('siphon_jobs_total', 'Jobs that ended.', { kind: JOB_KINDS, result: RESULTS });
  const fills = count(
    'siphon_fills_total',
    'Fills of bases, and checks of bases that were here, that ended.',
    { result: RESULTS, way: FILL_WAYS, asked_by: ASKERS },
  );
  const bytes = count(
    'siphon_base_bytes_total',
    'Bytes of bases that were asked for, read from Ceph or here already.',
    { origin: ['ceph', 'cache'] },
  );
  const failures = count(
    'siphon_verify_failures_total',
    'Fills and checks whose bytes were not what they must be.',
    { kind: VERIFY_FAILURES },
  );
  const evictions = count('siphon_evictions_total', 'Bases that were evicted.', {
    reason: EVICT_REASONS,
  });
  const sets = count('siphon_snapshot_sets_total', 'Snapshot sets that were to be taken.', {
    result: SET_RESULTS,
    reason: SET_REASONS.map((each) => each.replace(' ', '_')),
  });
  const proofs = count('siphon_proofs_total', 'Snapshot sets that were to be proven.', {
    result: PROOF_RESULTS,
  });
  const hook = new Histogram({
    name: 'siphon_hook_duration_seconds',
    help: "How long calls of libvirt's hook took siphond.",
    labelNames: ['operation', 'verdict'],
    buckets: HOOK_BUCKETS,
    registers: [registry],
  });
  const countScrub = scrubMetrics(count);
  const holds = holdMetrics(registry);
  let bytesRead = 0;
  let bytesHeld = 0;
  const counts: Counts = {
    jobEnded(record, readBytes) {
      const { kind, state: result } = record;
      jobs.inc({ kind, result });
      if (kind === 'fill') {
        bytesRead += readBytes;
        fills.inc(fillLabels(record));
        const failure = verifyFailureOf(record.error);
        if (failure !== undefined) failures.inc({ kind: failure });
      }
      if (kind === 'scrub') countScrub(record);
      const { reason, bases } = evictionOf(record);
      if (kind === 'evict') evictions.inc({ reason }, bases);
      if (kind === 'snapshot') sets.inc(setLabels(record));
      if (kind === 'verify-restore') proofs.inc({ result: proofResult(record) });
    },
    hookAnswered: (operation, verdict, seconds) =>
      hook.observe({ operation: hookOperation(operation), verdict }, seconds),
    baseHeld: (allocatedBytes) => void (bytesHeld += allocatedBytes),
    ...holds,
  };
  /** What fills that run have read counts as it is read, not at their ends. */
  const setBytesRead = (running: number) => {
    bytes.reset();
    bytes.inc({ origin: 'ceph' }, bytesRead + running);
    bytes.inc({ origin: 'cache' }, bytesHeld);
  };
  return { counts, setBytesRead };
}

type Count = (name: string, help: string, labels: Labels) => Counter;

function scrubMetrics(count: Count): (record: JobRecord) => void {
  const scrubs = count('siphon_scrubs_total', 'Scrubs of bases that ended.', {
    outcome: SCRUB_OUTCOMES,
  });
  const bytes = count('siphon_scrub_bytes_total', 'What scrubs read of the disk.', {});
  const chunks = count(
    'siphon_scrub_chunks_total',
    'Chunks of bases that scrubs found damaged, and those that were mended.',
    { what: ['damaged', 'mended'] },
  );
  return (record) => {
    const { outcomes, readBytes, damaged, mended } = scrubbedOf(record);
    for (const outcome of outcomes) scrubs.inc({ outcome });
    bytes.inc(readBytes);
    chunks.inc({ what: 'damaged' }, damaged);
    chunks.inc({ what: 'mended' }, mended);
  };
}

function runningBytes(openJobs: Scraped['openJobs']): number {
  const fills = openJobs.filter(({ kind }) => kind === 'fill');
  return sum(fills.map(({ progress }) => progress?.readBytes ?? 0));
}

/** Each gauge with the value, or values, that a scrape gives it. */
function gauges(registry: Registry): (scraped: Scraped) => void {
  const all: ((scraped: Scraped) => void)[] = [];
  const add = (
    name: string,
    help: string,
    labelNames: readonly string[],
    read: (scraped: Scraped, set: Set) => void,
  ) => {
    const gauge = new Gauge({ name, help, labelNames: [...labelNames], registers: [registry] });
    all.push((scraped) => {
      gauge.reset();
      read(scraped, (value, labels = {}) => gauge.set(labels, value));
    });
  };
  addSiphondGauges(add);
  addCacheGauges(add);
  addQuarantineGauges(add);
  addSetGauges(add);
  addProofGauge(add);
  addJobGauges(add);
  addWorkerRestarts(registry, all);
  return (scraped) => {
    for (const each of all) each(scraped);
  };
}

function addSiphondGauges(add: Add): void {
  add('siphon_build_info', 'The version that runs; always 1.', ['version', 'node'], (at, set) =>
    set(1, { version: at.status.version, node: process.versions.node }),
  );
  add('siphon_start_time_seconds', 'When siphond started, since the epoch.', [], (at, set) =>
    set(at.status.startedAtMs / 1000),
  );
  add('siphon_cluster_connected', 'Whether a Ceph cluster answers.', ['cluster'], (at, set) => {
    for (const { name, state } of at.status.clusters)
      set(Number(state === 'connected'), { cluster: name });
  });
  add('siphon_libvirt_connected', 'Whether libvirt answers.', [], (at, set) =>
    set(Number(at.status.libvirt.state === 'connected')),
  );
  add('siphon_paused', 'Whether an operator has paused this work.', ['work'], (at, set) => {
    const paused = new Set(at.status.paused.map((each) => each.work));
    for (const work of PAUSABLE) set(Number(paused.has(work)), { work });
  });
  add('siphon_spool_events', 'Hook events that wait in the spool.', [], (at, set) =>
    set(at.status.spooled),
  );
  add('siphon_problems', 'Problems that siphon status tells of.', [], (at, set) =>
    set(at.status.problems.length),
  );
}

function addSetGauges(add: Add): void {
  add('siphon_sets', 'Snapshot sets of this host.', ['asked_by'], ({ sets }, set) => {
    const manual = sets.filter(({ event }) => event === 'manual').length;
    set(manual, { asked_by: 'operator' });
    set(sets.length - manual, { asked_by: 'policy' });
  });
  add('siphon_protected_sets', 'Sets that an operator protected.', [], ({ sets }, set) =>
    set(sets.filter(({ isProtected }) => isProtected === true).length),
  );
  add('siphon_set_snapshots', 'Snapshots of all sets.', [], ({ sets }, set) =>
    set(sum(sets.map(({ disks }) => disks.length))),
  );
  add(
    'siphon_set_bytes',
    'What the sets would take on their own, of which snapshots share what did not change: what is allocated of their disks, and of those that could not be measured their sizes.',
    ['by'],
    ({ sets }, set) => {
      const disks = sets.flatMap((each) => each.disks);
      set(sum(disks.map(({ allocatedBytes = 0 }) => allocatedBytes)), { by: 'allocated' });
      const unmeasured = disks.filter(({ allocatedBytes }) => allocatedBytes === undefined);
      set(sum(unmeasured.map(({ sizeBytes }) => sizeBytes)), { by: 'size' });
    },
  );
}

/** A domain's series ends with its last set that is proven. */
function addProofGauge(add: Add): void {
  add(
    'siphon_proven_time_seconds',
    'When a set of the domain was proven to be restorable last, since the epoch.',
    ['domain', 'uuid'],
    ({ sets }, set) => {
      const byDomain = Map.groupBy(
        sets.filter(({ proof }) => proof?.isProven),
        ({ domainUuid }) => domainUuid,
      );
      for (const [uuid, of] of byDomain) {
        const last = of.toSorted((a, b) => (b.proof?.atMs ?? 0) - (a.proof?.atMs ?? 0))[0];
        set((last?.proof?.atMs ?? 0) / 1000, { domain: last?.domainName ?? '', uuid });
      }
    },
  );
}

function addJobGauges(add: Add): void {
  add('siphon_open_jobs', 'Jobs that have not ended.', ['kind'], ({ openJobs }, set) => {
    for (const kind of JOB_KINDS) set(openJobs.filter((job) => job.kind === kind).length, { kind });
  });
  add(
    'siphon_oldest_open_job_age_seconds',
    'How long the oldest job of a kind is open; 0 where none is.',
    ['kind'],
    ({ openJobs, nowMs }, set) => {
      for (const kind of JOB_KINDS) {
        const begun = openJobs.filter((job) => job.kind === kind).map((job) => job.createdAtMs);
        set(Math.max(0, nowMs - Math.min(nowMs, ...begun)) / 1000, { kind });
      }
    },
  );
}

/** A counter that the supervisors keep: read, not told. */
function addWorkerRestarts(registry: Registry, all: ((scraped: Scraped) => void)[]): void {
  const restarts = new Counter({
    name: 'siphon_worker_restarts_total',
    help: 'Starts of warm workers after their first.',
    labelNames: ['role'],
    registers: [registry],
  });
  all.push(({ workerRestarts }) => {
    restarts.reset();
    for (const [role, count] of Object.entries(workerRestarts)) restarts.inc({ role }, count);
  });
}
