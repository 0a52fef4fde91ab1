// Looks at everything, in parallel where nothing needs another's outcome. Each look ends by itself.

import { TO_FILE } from '../../wire/publish-api.ts';
import { VERSION } from '../../wire/version.ts';
import type { Policy } from '../../wire/vocabulary.ts';
import type { ImageAt } from '../../wire/worker-protocol.ts';
import type { ClusterConfig, Config, LoadedConfig } from '../config/load.ts';
import { formatProblem } from '../config/problems.ts';
import { lookAtPolicies } from '../policies.ts';
import type { DomainFacts, Facts, SiphondFacts, SiteFacts } from './facts.ts';
import { type CephLook, gatherCluster } from './gather-ceph.ts';
import { gatherHost } from './gather-host.ts';
import { gatherLibvirt } from './gather-libvirt.ts';
import { gatherDisk, gatherSiphond, gatherSockets, gatherSpool } from './gather-site.ts';

/** Pools that the operator named; of a kind that is not named, those that bases or domains use. */
export interface NamedPools {
  readonly images?: readonly string[];
  readonly vms?: readonly string[];
}

export async function gather(loaded: LoadedConfig, named: NamedPools): Promise<Facts> {
  const isGood = loaded.kind === 'config';
  const [host, site] = await Promise.all([
    gatherHost(),
    isGood ? gatherSite(loaded.config, named) : undefined,
  ]);
  const configProblems = isGood ? [] : loaded.problems.map(formatProblem);
  const facts = { version: VERSION, nowMs: Date.now(), host, configProblems };
  return site === undefined ? facts : { ...facts, site };
}

async function gatherSite(config: Config, named: NamedPools): Promise<SiteFacts> {
  const [policies, sockets, spool, disk, siphond, libvirt] = await Promise.all([
    lookAtPolicies(config.snapshot.policies),
    gatherSockets(config),
    gatherSpool(config),
    gatherDisk(config),
    gatherSiphond(config),
    gatherLibvirt(config.libvirt.uri),
  ]);
  const clusters = await Promise.all(
    config.clusters.map((cluster) => {
      const fsid = cluster.settings.fsid ?? fsidOf(cluster.name, siphond);
      const sources = siphond.sources.filter((each) => each.fsid === fsid);
      // Which of several clusters a domain's disk is in is not looked into.
      const isOnly = config.clusters.length === 1;
      const domains = isOnly && libvirt.kind === 'answers' ? libvirt.domains : [];
      const own = policiesInto(policies.current, cluster);
      const tasks = flattenedByCluster(own);
      const places = [...sources.map(placeOf), ...own.flatMap(placesOf)];
      return gatherCluster(cluster, cephLook(named, places, domains, tasks));
    }),
  );
  const { problems: policyProblems } = policies;
  return { config, policyProblems, sockets, spool, disk, siphond, libvirt, clusters };
}

const DISKS_MAX = 64;
const USERS_MAX = 8;

function fsidOf(name: string, siphond: SiphondFacts): string | undefined {
  if (siphond.kind === 'silent') return undefined;
  return siphond.status.clusters.find((each) => each.name === name)?.fsid;
}

/** Those that publish there; where they name no cluster it is taken for the default one. */
function policiesInto(policies: readonly Policy[], cluster: ClusterConfig): readonly Policy[] {
  return policies.filter(({ publishCluster }) => {
    return publishCluster === undefined ? cluster.isDefault : publishCluster === cluster.name;
  });
}

function placesOf({ publishTo }: Policy): readonly string[] {
  return publishTo === undefined || publishTo === TO_FILE ? [] : [publishTo];
}

/** The pools whose images policies let the cluster itself flatten. */
export function flattenedByCluster(policies: readonly Policy[]): readonly string[] {
  return policies.filter(({ flatten }) => flatten === 'cluster').flatMap(placesOf);
}

function cephLook(
  named: NamedPools,
  places: readonly string[],
  domains: readonly DomainFacts[],
  tasks: readonly string[],
): CephLook {
  const disks = domains.flatMap((domain) => domain.disks);
  const images = named.images ?? places;
  const vms = named.vms ?? disks.map(placeOf);
  return {
    pools: { images: [...new Set(images)], vms: [...new Set(vms)], tasks },
    disks: disks
      .slice(0, DISKS_MAX)
      .map(({ pool, namespace, image }) => ({ pool, namespace, image })),
    vmUsers: [...new Set(disks.flatMap(({ user }) => user ?? []))].slice(0, USERS_MAX),
  };
}

function placeOf({ pool, namespace }: Pick<ImageAt, 'pool' | 'namespace'>): string {
  return namespace === '' ? pool : `${pool}/${namespace}`;
}
