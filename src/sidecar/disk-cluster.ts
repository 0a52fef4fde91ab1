// Which configured cluster a domain's RBD disk is in. A domain's XML names monitors, or a ceph.conf, never an fsid.

import { readFile } from 'node:fs/promises';
import type { RbdSource } from '../domain/disk-source.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Cluster } from '../wire/ports.ts';
import type { OpenCluster } from './clusters.ts';

type Asked = Pick<RbdSource, 'configFile' | 'hosts' | 'pool' | 'image'>;

/** By the ceph.conf that the XML names, else by its monitors, where there is a choice. @throws OperatingError not-found, unavailable */
export async function clusterOfDisk(all: readonly OpenCluster[], source: Asked): Promise<Cluster> {
  const { configFile, hosts } = source;
  const [only, ...more] = all;
  if (only !== undefined && more.length === 0) return only;
  const byConf = all.find((cluster) => cluster.settings.conf === configFile);
  if (byConf !== undefined) return byConf;
  if (hosts.length === 0) return all.find((cluster) => cluster.isDefault) ?? none(source);
  for (const cluster of all) {
    const monitors = await monitorsIn(cluster.settings.conf);
    if (hosts.some((host) => monitors.has(host.name))) return cluster;
  }
  return none(source);
}

/** The words of `mon host` in a ceph.conf: addresses and names, ports and protocols left out. */
async function monitorsIn(conf: string): Promise<ReadonlySet<string>> {
  const text = await readFile(conf, 'utf8').catch((cause: unknown) => {
    throw new OperatingError({ code: 'unavailable', op: 'read ceph.conf', subject: conf, cause });
  });
  const lines = text.matchAll(/^\s*mon[ _]host\s*=\s*(.*)$/gm);
  return new Set([...lines].flatMap(([, value = '']) => wordsOf(value)));
}

function wordsOf(monHost: string): string[] {
  return monHost
    .split(/[\s,;]+|\[(?=v[12]:)/)
    .map((word) =>
      word
        .replace(/^v[12]:/, '')
        .replace(/\]$/, '')
        .replace(/\/\d+$/, ''),
    )
    .map((word) => /^\[(.*?)\](:\d+)?$/.exec(word)?.[1] ?? word.replace(/^([^:]+):\d+$/, '$1'))
    .filter((word) => word !== '');
}

function none({ pool, image, hosts }: Asked): never {
  const named = hosts.map((host) => host.name).join(', ');
  const why =
    named === '' ? 'no cluster is the default one' : `no configured cluster has a monitor ${named}`;
  throw new OperatingError({
    code: 'not-found',
    op: 'find cluster',
    subject: `${pool}/${image}`,
    why,
  });
}
