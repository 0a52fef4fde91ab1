// Each cluster: its conf, its users' keys, what each may do where, and what the cluster says of itself.

import type { Ability } from '../../wire/vocabulary.ts';
import type { Examined, PoolTrial } from '../../wire/worker-protocol.ts';
import { capsFor, grant } from './caps.ts';
import type { ClusterFacts, Job, SiteFacts, Trial, UserFacts, VmKeyFacts } from './facts.ts';
import { type Finding, finding } from './findings.ts';

export function checkCeph(site: SiteFacts): Finding[] {
  return unique(site.clusters.flatMap(checkCluster));
}

function checkCluster(cluster: ClusterFacts): Finding[] {
  const { conf } = cluster.settings;
  if (cluster.conf !== 'readable') {
    const what = cluster.conf === 'missing' ? 'there is no such file' : 'it cannot be read';
    return [finding('conf-missing', conf, what, `ls -l ${conf}`)];
  }
  const told = cluster.users
    .flatMap((user) => user.trials)
    .flatMap(({ trial }) => (trial.kind === 'told' ? [trial.examined] : []));
  return [
    ...cluster.closed.map((file) =>
      finding(
        'ceph-file-closed',
        file,
        'its group is another',
        `chgrp siphon ${file}`,
        `chmod g+r ${file}`,
      ),
    ),
    ...cluster.users.flatMap((user) => checkUser(cluster, user)),
    ...told.slice(0, 1).flatMap((examined) => checkHealth(cluster.name, examined)),
    ...told.flatMap(({ disks }) => disks.flatMap((disk) => checkDisk(cluster, disk))),
    ...cluster.vmKeys.flatMap(checkVmKey),
    ...checkAbilities(cluster.abilities),
    ...(cluster.pools.images.length + cluster.pools.vms.length === 0
      ? [finding('pools-unknown', cluster.name, 'the caps were not tried')]
      : []),
  ];
}

/** Jobs of one user that fail alike are one finding, and so is what all clusters have in common. */
function unique(findings: readonly Finding[]): Finding[] {
  const key = ({ code, subject, what }: Finding) => JSON.stringify([code, subject, what]);
  return [...new Map(findings.map((each) => [key(each), each])).values()];
}

function checkUser(cluster: ClusterFacts, user: UserFacts): Finding[] {
  const { key } = user;
  const entity = `client.${user.name}`;
  if (key.kind === 'unreadable') {
    const commands = [`ls -l ${key.file}`, `chmod u+r ${key.file}`];
    return [finding('keyring-unreadable', key.file, key.why, ...commands)];
  }
  if (key.kind === 'no-key') {
    const file = key.files[0] ?? `/etc/ceph/ceph.${entity}.keyring`;
    const what = `no key of it is in ${key.files.join(', ')}`;
    return [finding('key-missing', entity, what, `ceph auth get ${entity} -o ${file}`)];
  }
  return user.trials.flatMap(({ job, trial }) =>
    trial.kind === 'told'
      ? checkTrial(cluster, user, job, trial.examined)
      : trial.kind === 'failed'
        ? [connectFinding(cluster, user, trial)]
        : [],
  );
}

/** The files are there: what the cluster, or librados, said to them. */
function connectFinding(
  { settings: { conf } }: ClusterFacts,
  user: UserFacts,
  { code, why }: Extract<Trial, { kind: 'failed' }>,
): Finding {
  const entity = `client.${user.name}`;
  if (code === 'denied') return keyFinding(user, why);
  if (code === 'mismatch')
    return finding('fsid-wrong', conf, why, 'editor /etc/siphon/siphon.toml');
  if (code === 'usage') return finding('conf-malformed', conf, why, `editor ${conf}`);
  if (code === 'unavailable')
    return finding('monitors-silent', conf, why, `ceph -c ${conf} -s`, `grep mon ${conf}`);
  return finding('ceph-untold', entity, why, `ceph -c ${conf} --id ${user.name} -s`);
}

function keyFinding({ name, key }: UserFacts, why: string): Finding {
  const entity = `client.${name}`;
  if (key.kind !== 'there' || key.type === 'aes') {
    const file = key.kind === 'there' ? key.file : `/etc/ceph/ceph.${entity}.keyring`;
    return finding('key-wrong', entity, why, `ceph auth get ${entity} -o ${file}`);
  }
  const allow = [
    'ceph mon set auth_allowed_ciphers aes,aes256k',
    'ceph mon set auth_preferred_cipher aes',
  ];
  const anew = `ceph auth rotate ${entity} -o ${key.file}`;
  return finding('key-type', entity, `its key is of type ${key.type}`, ...allow, anew);
}

function correction({ settings, pools }: ClusterFacts, name: string): string[] {
  return capsFor(settings, pools)
    .filter((each) => each.user.name === name)
    .map((caps) => grant('caps', caps, settings.conf));
}

function checkTrial(
  cluster: ClusterFacts,
  { name }: UserFacts,
  job: Job,
  { pools, mayBlocklist, ticks }: Examined,
): Finding[] {
  const entity = `client.${name}`;
  const fix = correction(cluster, name);
  const found: Finding[] = [];
  if (mayBlocklist)
    found.push(
      finding('may-blocklist', entity, 'its mon caps let it add to the blocklist', ...fix),
    );
  for (const { pool, trial } of pools) {
    if (trial.kind === 'absent') {
      const what = 'there is no such pool';
      found.push(
        finding('pool-missing', pool, what, `ceph -c ${cluster.settings.conf} osd pool ls`),
      );
    }
    if (trial.kind === 'may-not') {
      const what = `it may not ${trial.op} in pool '${pool}', which its job '${job}' needs`;
      found.push(finding('caps-missing', entity, what, ...fix));
    }
    if (trial.kind === 'untold') found.push(finding('ceph-untold', entity, trial.why, 'ceph -s'));
  }
  return ticks === undefined ? found : [...found, ...checkTicks(cluster, entity, fix, ticks)];
}

/** A pool of the default's name need not be there: then ticks are of the first disk's pool, which costs little. */
function checkTicks(
  { name, settings: { conf, tickPool = '' }, isTickPoolStated }: ClusterFacts,
  entity: string,
  fix: readonly string[],
  trial: PoolTrial,
): Finding[] {
  if (trial.kind === 'absent' && isTickPoolStated) {
    const what = `clusters.${name}.tick_pool names it, and there is no such pool`;
    const create = `ceph -c ${conf} osd pool create ${tickPool} 1`;
    return [finding('tick-pool-missing', tickPool, what, create)];
  }
  if (trial.kind === 'may-not') {
    const what = `it may not take snapshot ids in pool '${tickPool}'`;
    return [finding('tick-pool-closed', entity, what, ...fix)];
  }
  return trial.kind === 'untold' ? [finding('ceph-untold', entity, trial.why, 'ceph -s')] : [];
}

/** Checks of Ceph that siphon feels (doc/rados/operations/health-checks). */
const FELT: readonly string[] = [
  'MON_DOWN',
  'OSD_DOWN',
  'OSD_FULL',
  'OSD_BACKFILLFULL',
  'OSD_NEARFULL',
  'POOL_FULL',
  'PG_AVAILABILITY',
  'SLOW_OPS',
];

export function checkAbilities(abilities: readonly Ability[]): Finding[] {
  return abilities
    .filter((each) => !each.isPresent)
    .map(({ of, name, without }) => {
      return finding('abilities', `${of} ${name}`, `left without it: ${without}`);
    });
}

function checkHealth(name: string, { health, release }: Examined): Finding[] {
  const isError = health.status === 'HEALTH_ERR';
  return [
    finding('versions', `cluster ${name}`, release),
    ...health.checks.map(({ code, summary }) => {
      const what = `${code}: ${summary}`;
      if (code === 'MON_CLOCK_SKEW')
        return finding('clock-skew', name, what, 'ceph time-sync-status', 'timedatectl');
      const felt = isError || FELT.includes(code);
      return felt
        ? finding('cluster-unhealthy', name, what, 'ceph health detail')
        : finding('cluster-warning', name, what);
    }),
  ];
}

function checkDisk(cluster: ClusterFacts, { at, trial }: Examined['disks'][number]): Finding[] {
  const image = [at.pool, at.namespace, at.image].filter(Boolean).join('/');
  if (trial.kind === 'absent') {
    const what = 'a domain names this image, and it is not there';
    return [finding('disk-missing', image, what, `rbd ls ${at.pool}`)];
  }
  if (trial.kind === 'may-not') {
    const { name } = cluster.settings.users.snapshot;
    const what = `it may not open ${image}, or the image that this is a clone of`;
    return [finding('caps-missing', `client.${name}`, what, ...correction(cluster, name))];
  }
  if (trial.kind !== 'there' || trial.hasLock) return [];
  const what = 'its feature exclusive-lock is off';
  return [finding('disk-without-lock', image, what, `rbd feature enable ${image} exclusive-lock`)];
}

function checkVmKey({ user, monCaps }: VmKeyFacts): Finding[] {
  const entity = `client.${user}`;
  if (monCaps === undefined)
    return [finding('vm-key-unchecked', entity, "domains' disks use it; its caps were not seen")];
  if (/profile rbd\b|allow \*|allow command "?osd blocklist/.test(monCaps)) return [];
  const what = `domains use it, and its mon caps are '${monCaps}'`;
  const see = `ceph auth get ${entity}`;
  return [
    finding(
      'vm-key-cannot-break-locks',
      entity,
      what,
      see,
      `ceph auth caps ${entity} mon 'profile rbd' osd 'THE SAME AS BEFORE'`,
    ),
  ];
}
