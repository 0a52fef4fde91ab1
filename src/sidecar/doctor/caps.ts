// The least cephx caps of each user, and the commands that give them. Pure.

import { type Identity, MON_CAPS, mgrGrants, osdGrants, type Pools } from '../../wire/caps.ts';
import type { CephSettings, CephUser } from '../../wire/worker-protocol.ts';

export interface UserCaps {
  readonly user: CephUser;
  readonly jobs: readonly Identity[];
  readonly mon: string;
  readonly osd: string;
  readonly mgr?: string;
}

const JOBS: readonly Identity[] = ['fill', 'snapshot', 'publish', 'restore'];

/** What each of a cluster's users needs for the jobs that the config gives it, and no more. */
export function capsFor(
  { users, tickPool }: Pick<CephSettings, 'users' | 'tickPool'>,
  pools: Pools,
): UserCaps[] {
  const all = { ...pools, ticks: tickPool === undefined ? [] : [tickPool] };
  const names = new Set(JOBS.flatMap((job) => users[job]?.name ?? []));
  return [...names].map((name) => {
    const jobs = JOBS.filter((job) => users[job]?.name === name);
    const user = users[jobs[0] ?? 'fill'] ?? users.fill;
    const mgr = jobs.includes('publish') ? mgrGrants(pools).join(', ') : '';
    const osd = osdGrants(jobs, all).join(', ');
    return { user, jobs, mon: MON_CAPS, osd, ...(mgr !== '' && { mgr }) };
  });
}

const DEFAULT_CONF = '/etc/ceph/ceph.conf';

/** `get-or-create` makes a user and writes its keyring; `caps` corrects one that is there. */
export function grant(verb: 'get-or-create' | 'caps', caps: UserCaps, conf: string): string {
  const { user, mon, osd, mgr } = caps;
  const ceph = conf === DEFAULT_CONF ? 'ceph' : `ceph -c ${conf}`;
  const entity = `client.${user.name}`;
  const osdPart = osd === '' ? '' : ` osd '${osd}'`;
  const mgrPart = mgr === undefined ? '' : ` mgr '${mgr}'`;
  const command = `${ceph} auth ${verb} ${entity} mon '${mon}'${osdPart}${mgrPart}`;
  const keyring = user.keyring ?? `/etc/ceph/ceph.${entity}.keyring`;
  return verb === 'caps' ? command : `${command} -o ${keyring}`;
}

export interface CapsOfCluster {
  readonly cluster: string;
  readonly users: readonly (UserCaps & { readonly create: string; readonly correct: string })[];
}

/** All that is to type, cluster by cluster. */
export function capsCommands(
  clusters: readonly { readonly name: string; readonly settings: CephSettings }[],
  pools: Pools,
): CapsOfCluster[] {
  return clusters.map(({ name, settings }) => ({
    cluster: name,
    users: capsFor(settings, pools).map((caps) => ({
      ...caps,
      create: grant('get-or-create', caps, settings.conf),
      correct: grant('caps', caps, settings.conf),
    })),
  }));
}

/** For a shell: comments, and one command a user. */
export function capsText(clusters: readonly CapsOfCluster[]): string {
  return clusters
    .map(({ cluster, users }) =>
      [
        `# cluster ${cluster}: type these where the admin key is, and bring the keyrings here`,
        ...users.flatMap(({ jobs, create, correct }) => [
          `# ${jobs.join(', ')}; a user that is there already: ${correct}`,
          create,
        ]),
        '# then, here, for each keyring: chgrp siphon KEYRING && chmod 640 KEYRING',
      ].join('\n'),
    )
    .join('\n\n');
}
