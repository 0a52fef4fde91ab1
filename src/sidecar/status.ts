// GET /v1/status: what siphond knows, and a question to each cluster that no answer holds up for long.

import { setTimeout as delay } from 'node:timers/promises';
import { type Cache, isReadOnlyMount } from '../cache/index.ts';
import { METADATA_NAMESPACE } from '../domain/domain.ts';
import { problemOf } from '../snapshot/evaluate.ts';
import type { FillGroup } from '../systemd/fill-group.ts';
import { standingOf, trustProblems } from '../trust/index.ts';
import type { StatusAnswer } from '../wire/api.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Journal } from '../wire/journal.ts';
import type { LibvirtPort } from '../wire/ports.ts';
import { VERSION } from '../wire/version.ts';
import type { Ability, Policy } from '../wire/vocabulary.ts';
import { libvirtAbilities } from './abilities.ts';
import type { OpenCluster } from './clusters.ts';
import type { Config } from './config/load.ts';
import type { Inventory, Wished } from './domains.ts';
import type { Pauses } from './pause.ts';
import type { Policies } from './policies.ts';
import { suspectProblems } from './suspects.ts';

/** A cluster that has not answered by then is told as unavailable; the question goes on, to its own deadline. */
const CLUSTER_MS_MAX = 2000;

export interface StatusParts {
  readonly config: Config;
  readonly startedAtMs: number;
  readonly clusters: readonly OpenCluster[];
  readonly libvirt: LibvirtPort & { readonly standing: StatusAnswer['libvirt'] };
  readonly cache: Cache;
  readonly journal: Journal;
  readonly spool: { count(): Promise<number> };
  readonly pauses: Pick<Pauses, 'current'>;
  readonly policies: Pick<Policies, 'current' | 'problems'>;
  readonly inventory: Pick<Inventory, 'wishes'>;
  readonly fillGroup: Pick<FillGroup, 'standing'>;
  readonly reload: { readonly problems: readonly Problem[] };
}

type ClusterStanding = StatusAnswer['clusters'][number];
type Problem = StatusAnswer['problems'][number];

export async function readStatus(parts: StatusParts): Promise<StatusAnswer> {
  const { config, cache, journal, libvirt } = parts;
  const [clusters, abilities, spooled, problems] = await Promise.all([
    Promise.all(parts.clusters.map(standingOfCluster)),
    abilitiesOf(parts),
    parts.spool.count(),
    problemsOfTrust(config.trust),
  ]);
  const isMountedReadOnly = isReadOnlyMount(config.cache.mount);
  const bases = cache.list();
  const complete = bases.filter((base) => base.state !== 'filling');
  return {
    version: VERSION,
    pid: process.pid,
    startedAtMs: parts.startedAtMs,
    clusters,
    libvirt: libvirt.standing,
    cache: { path: config.cache.mount, ...cache.usage(), isMountedReadOnly },
    abilities,
    fillGroup: parts.fillGroup.standing,
    trust: { ...standingOf(config.trust.rules, complete), problems },
    jobsOpen: journal.open().length,
    paused: parts.pauses.current(),
    spooled,
    problems: [
      ...(isMountedReadOnly ? [] : [notMounted(config.cache)]),
      ...suspectProblems(bases),
      ...parts.policies.problems,
      ...parts.inventory.wishes().flatMap((each) => unreadable(each, parts.policies.current)),
      ...parts.reload.problems,
    ],
  };
}

async function standingOfCluster(cluster: OpenCluster): Promise<ClusterStanding> {
  const { name, knownFsid } = cluster;
  const known = knownFsid === undefined ? { name } : { name, fsid: knownFsid };
  const asked = cluster.ask().then(
    (fsid): ClusterStanding => ({ name, fsid, state: 'connected' }),
    (error: unknown): ClusterStanding => {
      if (!(error instanceof OperatingError)) throw error;
      return { ...known, state: 'unavailable', why: error.message };
    },
  );
  const silent = { ...known, state: 'unavailable', why: 'it has not answered yet' } as const;
  return Promise.race([asked, delay(CLUSTER_MS_MAX, silent)]);
}

/** Every cluster's worker has the same librbd. */
async function abilitiesOf({ clusters, libvirt }: StatusParts): Promise<readonly Ability[]> {
  const soon = { deadlineMs: CLUSTER_MS_MAX };
  const told = await Promise.allSettled([
    ...clusters.slice(0, 1).map(({ ceph }) => ceph.call('abilities', {}, soon)),
    libvirt.call('versions', {}, soon).then((versions) => libvirtAbilities(versions.libvirt)),
  ]);
  return told.flatMap((each) => {
    if (each.status === 'fulfilled') return each.value;
    // The standing of what does not answer says so.
    if (each.reason instanceof OperatingError) return [];
    throw each.reason;
  });
}

async function problemsOfTrust(trust: Config['trust']): Promise<readonly Problem[]> {
  try {
    return await trustProblems(trust, Date.now());
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return [{ where: trust.folder, what: error.message }];
  }
}

function notMounted({ path, mount }: Config['cache']): Problem {
  return {
    where: mount,
    what: `it is no read-only mount of ${path}: guests do not find bases there`,
  };
}

/** What is then done: evaluate.ts, UNREADABLE. */
function unreadable({ name, wish }: Wished, policies: readonly Policy[]): readonly Problem[] {
  const problem = problemOf(wish, policies);
  if (problem === undefined) return [];
  const what = `its metadata (${METADATA_NAMESPACE}): ${problem}; the policies apply, and it is not held for a set`;
  return [{ where: `domain ${name}`, what }];
}
