// Looks at everything, in parallel where nothing needs another's outcome. Each look ends by itself.

import { VERSION } from '../../wire/version.ts';
import type { ImageAt } from '../../wire/worker-protocol.ts';
import type { Config, LoadedConfig } from '../config/load.ts';
import { formatProblem } from '../config/problems.ts';
import { findPolicyProblems } from '../policies.ts';
import type { DomainFacts, Facts, SiphondFacts, SiteFacts } from './facts.ts';
import { type CephLook, gatherCluster } from './gather-ceph.ts';
import { gatherHost } from './gather-host.ts';
import { gatherLibvirt } from './gather-libvirt.ts';
import {
  gatherDisk,
  gatherSiphond,
  gatherSockets,
  gatherSpool,
  type Known,
} from './gather-site.ts';

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
  const [policyProblems, sockets, spool, disk, siphond, libvirt] = await Promise.all([
    findPolicyProblems(config.snapshot.policies),
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
      return gatherCluster(cluster, cephLook(named, sources, domains));
    }),
  );
  return { config, policyProblems, sockets, spool, disk, siphond, libvirt, clusters };
}

const DISKS_MAX = 64;
const USERS_MAX = 8;

function fsidOf(name: string, siphond: SiphondFacts): string | undefined {
  if (siphond.kind === 'silent') return undefined;
  return siphond.status.clusters.find((each) => each.name === name)?.fsid;
}

function cephLook(
  named: NamedPools,
  sources: Known['sources'],
  domains: readonly DomainFacts[],
): CephLook {
  const disks = domains.flatMap((domain) => domain.disks);
  const images = named.images ?? sources.map(placeOf);
  const vms = named.vms ?? disks.map(placeOf);
  return {
    pools: { images: [...new Set(images)], vms: [...new Set(vms)] },
    disks: disks
      .slice(0, DISKS_MAX)
      .map(({ pool, namespace, image }) => ({ pool, namespace, image })),
    vmUsers: [...new Set(disks.flatMap(({ user }) => user ?? []))].slice(0, USERS_MAX),
  };
}

function placeOf({ pool, namespace }: Pick<ImageAt, 'pool' | 'namespace'>): string {
  return namespace === '' ? pool : `${pool}/${namespace}`;
}
