// The routes' services, bound to the rooms.

import type { Cache, WarmAsk } from '../cache/index.ts';
import type { HookService } from '../hook/service.ts';
import type { Leftovers } from '../snapshot/leftovers/room.ts';
import type { Publishing } from '../snapshot/publish/publishing.ts';
import type { Restores } from '../snapshot/restore/room.ts';
import type { Begun, Snapshots, Started } from '../snapshot/service.ts';
import type { Proofs } from '../snapshot/verify/room.ts';
import type {
  DescribeRequest,
  PoliciesAnswer,
  PropertyChanges,
  PruneAnswer,
  PruneRequest,
  SnapshotCreateAnswer,
  SnapshotsAnswer,
  StatusAnswer,
  WarmRequest,
} from '../wire/api.ts';
import { splitPlace } from '../wire/caps.ts';
import { OperatingError, type WireError } from '../wire/errors.ts';
import type { Clusters, SetCatalogue } from '../wire/ports.ts';
import { type PublishAsk, type PublishRequest, TO_FILE } from '../wire/publish-api.ts';
import type { ScrubRequest } from '../wire/scrub-api.ts';
import { parseImage, parseSource } from '../wire/source.ts';
import type { ProofRequest } from '../wire/verify-api.ts';
import type { Digests, SnapshotSet, SourceProperties } from '../wire/vocabulary.ts';
import { nextRuns, systemdCalendar } from './calendar.ts';
import { findSets } from './found-sets.ts';
import { type JobJournal, wireErrorOf } from './journal.ts';
import { getManifest, type ManifestParts, setManifest, showSource } from './manifests.ts';
import type { Metrics, Scraped } from './metrics.ts';
import type { Pauses } from './pause.ts';
import type { Policies } from './policies.ts';
import { testPolicy } from './policy-test.ts';
import type { Reload } from './reload.ts';
import type { LongWork, Services } from './server/services.ts';
import { type StartParts, startDomain } from './start-domain.ts';
import type { Statuses } from './statuses.ts';

export interface ServiceParts {
  readonly cache: Cache;
  readonly clusters: Clusters;
  readonly cephDeadlineMs: () => number;
  readonly findKeys: ManifestParts['findKeys'];
  readonly hook: HookService;
  readonly journal: JobJournal;
  readonly sets: SetCatalogue;
  readonly snapshots: Snapshots;
  readonly restores: Pick<Restores, 'begin' | 'undo' | 'list'>;
  readonly proofs: Pick<Proofs, 'begin'>;
  readonly transfers: Services['transfers'];
  readonly publishing: Publishing;
  readonly leftovers: Leftovers;
  readonly start: StartParts;
  readonly policies: Pick<Policies, 'current' | 'problems'>;
  readonly status: () => Promise<StatusAnswer>;
  readonly impact: Services['impact'];
  readonly statuses: Pick<Statuses, 'lookAt'>;
  readonly pauses: Pauses;
  readonly reload: Pick<Reload, 'run'>;
  readonly metrics: Metrics;
  readonly workerRestarts: () => Scraped['workerRestarts'];
}

export function bindServices(parts: ServiceParts): Services {
  const { cache, snapshots, journal, pauses } = parts;
  return {
    status: parts.status,
    impact: parts.impact,
    warm: (request) => warm(parts, request),
    describe: (request) => describe(parts, request),
    showSource: (source) => showSource(parts, source),
    getManifest: (source) => getManifest(parts, source),
    setManifest: (request) => setManifest(parts, request),
    async table({ source }) {
      const { jobId: id, done: ended } = await cache.table(parseSource(source));
      return { kind: 'job', id, ended };
    },
    path: (source) => cache.path(source),
    listBases: () => ({ bases: cache.list() }),
    getBase: (base) => cache.get(base),
    pin: (base) => cache.pin(base),
    unpin: (base) => cache.unpin(base),
    listQuarantine: async () => ({ files: await cache.quarantined() }),
    evict: (request) => cache.evict(request),
    scrub: (request) => scrub(parts, request),
    start: (domain) => startDomain(parts.start, domain),
    async takeSnapshots({ domains, ...wanted }) {
      const begun = await snapshots.create(domains, wanted);
      return { kind: 'job', id: begun[0]?.jobId ?? '', ended: answerOf(begun) };
    },
    listSnapshots: async (domain, isOfAllHosts) =>
      isOfAllHosts ? listFound(parts, domain) : listSets(parts.sets.list(), domain),
    getSnapshot: (id) => getSet(parts.sets, id),
    protectSnapshot: (id, isProtected) => snapshots.protect(id, isProtected),
    prune: (request) => prune(parts, request),
    deleteSnapshot: (id) => snapshots.remove(id).finished,
    publish: (request) => publish(parts, request),
    flatten: async ({ image, cluster }) => ({
      kind: 'job',
      id: (await parts.publishing.flatten(parseImage(image), cluster ? 'cluster' : 'here')).jobId,
    }),
    async reconcile(request) {
      const { jobId: id, ended } = parts.leftovers.begin(request);
      return { kind: 'job', id, ended };
    },
    restore: async (request) => longWork(await parts.restores.begin(request)),
    undoRestore: async (id) => longWork(await parts.restores.undo(id)),
    listRestores: () => parts.restores.list(),
    verifyRestore: (request) => verifyRestore(parts, request),
    transfers: parts.transfers,
    listPolicies: () => listPolicies(parts),
    testPolicy: (domain, event) => {
      const { libvirt } = parts.start;
      const { policies } = parts;
      const calendar = systemdCalendar;
      return testPolicy({ libvirt, policies, calendar, now: Date.now }, domain, event);
    },
    pause({ what }, claimedUser) {
      pauses.pause(what, claimedUser);
      return { paused: pauses.current() };
    },
    resume({ what }) {
      pauses.resume(what);
      return { paused: pauses.current() };
    },
    reload: () => parts.reload.run(),
    jobs: journal,
    hook: (request, signal) => parts.hook.answer(request, signal),
    metrics: () => metricsOf(parts),
  };
}

async function metricsOf(parts: ServiceParts) {
  const { metrics } = parts;
  return { text: await metrics.text(await scrape(parts)), contentType: metrics.contentType };
}

async function scrape(parts: ServiceParts): Promise<Scraped> {
  const { cache, journal } = parts;
  const [status, quarantined] = await Promise.all([parts.status(), keptAside(cache)]);
  // From here to the text nothing is awaited: no job ends between the two that count it.
  const openJobs = journal.open().map((record) => {
    const progress = journal.progressOf(record.id);
    return progress === undefined ? record : { ...record, progress };
  });
  const bases = cache.list();
  const sets = parts.sets.list();
  return {
    status,
    bases,
    ...(quarantined && { quarantined }),
    sets,
    openJobs,
    workerRestarts: parts.workerRestarts(),
    nowMs: Date.now(),
  };
}

/** undefined: the disk does not tell, and the other metrics go on. */
async function keptAside(cache: Cache): Promise<Scraped['quarantined']> {
  try {
    return await cache.quarantined();
  } catch (error) {
    if (error instanceof OperatingError) return undefined;
    throw error;
  }
}

async function warm({ cache, metrics }: ServiceParts, request: WarmRequest): Promise<LongWork> {
  const { source, sha256, sha512, properties, again } = request;
  const digests: Digests = {
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(sha512 === undefined ? {} : { sha512 }),
  };
  const ask: WarmAsk = {
    source: parseSource(source),
    priority: 'operator',
    ...(Object.keys(digests).length === 0 ? {} : { operatorDigests: digests }),
    ...(properties === undefined ? {} : { properties }),
    ...(again === true && { again }),
  };
  const { jobId, done } = await cache.warm(ask);
  if (jobId === undefined) {
    const base = await done;
    metrics.counts.baseHeld(base.allocatedBytes);
    return { kind: 'done', result: base };
  }
  return { kind: 'job', id: jobId, ended: done };
}

/** Where it stays open after a failure, the request has failed all the same. */
function longWork({ jobId, finished }: Started<unknown>): LongWork {
  return { kind: 'job', id: jobId, ended: finished };
}

/** Of one domain its failure is the request's. */
async function answerOf(begun: readonly Begun[]): Promise<SnapshotCreateAnswer> {
  const ended = await Promise.allSettled(begun.map(({ finished }) => finished));
  const sets: SnapshotSet[] = [];
  const failed: { domain: string; error: WireError }[] = [];
  for (const [index, each] of ended.entries()) {
    if (each.status === 'fulfilled') sets.push(each.value);
    else if (begun.length === 1) throw each.reason;
    else failed.push({ domain: begun[index]?.domain ?? '', error: wireErrorOf(each.reason) });
  }
  return { sets, failed };
}

async function publish({ publishing }: ServiceParts, request: PublishRequest): Promise<LongWork> {
  const { set, to: place, cluster, flatten = 'here', fallback = 'copy', ...more } = request;
  const { encrypted, wait, ...asked } = more;
  const [pool, namespace] = splitPlace(place);
  const to: PublishAsk['to'] =
    place === TO_FILE ? TO_FILE : { pool, namespace, ...(cluster && { cluster }) };
  const taken = encrypted === true && { isEncryptedTaken: true as const };
  const ask = { ...asked, to, flatten, fallback, ...taken };
  const begun = publishing.begin(set, ask);
  const { jobId: id, usable, independent } = begun;
  return { kind: 'job', id, ended: wait === true ? independent : usable };
}

async function scrub({ cache }: ServiceParts, request: ScrubRequest): Promise<LongWork> {
  const { jobId: id, done: ended } = await cache.scrub(request);
  if (id === undefined) return { kind: 'done', result: await ended };
  return { kind: 'job', id, ended };
}

async function verifyRestore({ proofs }: ServiceParts, request: ProofRequest): Promise<LongWork> {
  const { jobId: id, finished } = proofs.begin(request);
  if (id === undefined) return { kind: 'done', result: await finished };
  return { kind: 'job', id, ended: finished };
}

async function listPolicies({
  policies: { current: policies, problems },
}: ServiceParts): Promise<PoliciesAnswer> {
  return { policies, problems, nextRuns: await nextRuns(systemdCalendar, policies, Date.now()) };
}

async function describe(
  { clusters, cephDeadlineMs, statuses }: ServiceParts,
  request: DescribeRequest,
): Promise<void> {
  const name = parseSource(request.source);
  const { ceph } = await clusters.ofSource(name);
  const options = { deadlineMs: cephDeadlineMs() };
  const { change, properties: given = null } = request;
  // One that cannot be read can be replaced.
  const asked = { ...name, isRecordLeft: change === undefined };
  const { ids, properties: before } = await ceph.call('resolveSource', asked, options);
  const properties = change === undefined ? given : changedBy(before, change);
  await ceph.call('setProperties', { ids, properties }, options);
  await statuses.lookAt(ids);
}

/** null: nothing is left of the record. */
function changedBy(
  before: SourceProperties | undefined,
  change: PropertyChanges,
): SourceProperties | null {
  const all = Object.entries({ ...before, ...change });
  const left = all.filter((pair): pair is [string, string] => typeof pair[1] === 'string');
  return left.length === 0 ? null : Object.fromEntries(left);
}

type KeptSet = SnapshotsAnswer['sets'][number];

/** `domain`: a name or a UUID, of a domain that libvirt may not know any more. */
function listSets(sets: readonly KeptSet[], domain: string | undefined): SnapshotsAnswer {
  const isOf = (set: KeptSet) =>
    domain === undefined || set.domainName === domain || set.domainUuid === domain.toLowerCase();
  return { sets: sets.filter(isOf) };
}

async function listFound(
  { clusters, sets }: ServiceParts,
  domain: string | undefined,
): Promise<SnapshotsAnswer> {
  const found = await findSets(clusters.all);
  const known = found.sets.map((set): KeptSet => {
    return sets.get(set.id) ?? { ...set, state: 'complete' };
  });
  return { ...listSets(known, domain), closed: found.closed };
}

function getSet(sets: SetCatalogue, id: string): KeptSet {
  const set = sets.get(id);
  if (set !== undefined) return set;
  const why = 'no such set is known on this host';
  const hint = '`siphon snapshot list` tells what is there.';
  throw new OperatingError({ code: 'not-found', op: 'find snapshot set', subject: id, why, hint });
}

function prune(parts: ServiceParts, { dryRun, domain }: PruneRequest): PruneAnswer {
  const { sets } = listSets(parts.sets.list(), domain);
  const uuids = new Set(sets.map(({ domainUuid }) => domainUuid));
  const byId = new Map(sets.map((set) => [set.id, set]));
  const ofDomains = domain === undefined ? [undefined] : [...uuids];
  const decisions = ofDomains.flatMap((domainUuid) =>
    parts.snapshots.prune({ isDryRun: dryRun, ...(domainUuid !== undefined && { domainUuid }) }),
  );
  return {
    dryRun,
    decisions: decisions.map((each) => {
      const { domainName = '', createdAtMs = 0 } = byId.get(each.set) ?? {};
      return { ...each, domain: domainName, createdAtMs };
    }),
  };
}
