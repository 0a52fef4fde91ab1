// Which configured cluster an RBD image that a domain names is in. What could not be told is never guessed: the same name in
// another cluster is another image.

import { lookup } from 'node:dns/promises';
import { readFile, realpath, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import {
  DEFAULT_CONF,
  type KnownCluster,
  type Monitor,
  monitorsInConf,
  type WhichCluster,
  whichCluster,
} from '../domain/disk-cluster.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Cluster, ImagePlace } from '../wire/ports.ts';
import { formatImage } from '../wire/source.ts';

const CONF_BYTES_MAX = 1024 * 1024;
const LOOK_UP_MS_MAX = 2000;

/** @throws OperatingError not-found: it is in none of these; refused: could not tell which; unavailable */
export async function clusterOfDisk<C extends Cluster>(
  all: readonly C[],
  image: ImagePlace,
): Promise<C> {
  const known = await Promise.all(all.map(knownCluster));
  const conf = image.hosts.length > 0 ? undefined : (image.configFile ?? DEFAULT_CONF);
  const monitors = conf === undefined ? [] : await monitorsOf(conf).catch(ignoreUnreadable);
  const said = conf === undefined ? image : { ...image, configFile: await realName(conf) };
  const asNamed = whichCluster(said, known, monitors);
  const which = asNamed.kind === 'none' ? await byAddress(said, known, monitors) : asNamed;
  const found = which.kind === 'one' ? all.find(({ name }) => name === which.name) : undefined;
  if (found === undefined) throw untold(image, which, all);
  return found;
}

async function knownCluster({ name, settings }: Cluster): Promise<KnownCluster> {
  const { conf } = settings;
  return { name, conf: await realName(conf), monitors: await monitorsOf(conf) };
}

/** Once more, with names looked up: XML may say an address where ceph.conf says a name, and the other way round. */
async function byAddress(
  image: ImagePlace,
  known: readonly KnownCluster[],
  monitors: readonly Monitor[],
): Promise<WhichCluster> {
  const withAddresses = await Promise.all(
    known.map(async (each) => ({ ...each, monitors: await addressesOf(each.monitors) })),
  );
  const asked = { ...image, hosts: await addressesOf(image.hosts) };
  return whichCluster(asked, withAddresses, await addressesOf(monitors));
}

async function addressesOf(monitors: readonly Monitor[]): Promise<readonly Monitor[]> {
  const found = await Promise.all(
    monitors.map(async (monitor) => {
      if (isIP(monitor.name) !== 0) return [monitor];
      const asked = lookup(monitor.name, { all: true }).catch(() => []); // then its name alone counts
      const addresses = await Promise.race([asked, delay(LOOK_UP_MS_MAX, [], { ref: false })]);
      return [monitor, ...addresses.map(({ address }) => ({ ...monitor, name: address }))];
    }),
  );
  return found.flat();
}

/** @throws OperatingError unavailable */
async function monitorsOf(conf: string): Promise<readonly Monitor[]> {
  try {
    const found = await stat(conf);
    if (!found.isFile() || found.size > CONF_BYTES_MAX) throw new Error('it is no ceph.conf');
    return monitorsInConf(await readFile(conf, 'utf8'));
  } catch (cause) {
    throw new OperatingError({ code: 'unavailable', op: 'read ceph.conf', subject: conf, cause });
  }
}

/** Of the conf that a disk names: its path alone counts then. */
function ignoreUnreadable(error: unknown): readonly Monitor[] {
  if (!(error instanceof OperatingError)) throw error;
  return [];
}

const realName = (path: string): Promise<string> => realpath(path).catch(() => path);

function untold(image: ImagePlace, which: WhichCluster, all: readonly Cluster[]): OperatingError {
  const { configFile = DEFAULT_CONF, hosts } = image;
  const named = hosts.map(({ name, port }) => (port === undefined ? name : `${name}:${port}`));
  const says = hosts.length > 0 ? `the monitors ${named.join(', ')}` : configFile;
  const fields = { op: 'find cluster', subject: formatImage(image) };
  if (which.kind === 'several') {
    const why = `could not tell which cluster it is in: ${says} may be of ${which.names.join(', ')}`;
    const hint = "Let each cluster's ceph.conf name its own monitors, with their ports.";
    return new OperatingError({ ...fields, code: 'refused', why, hint });
  }
  const names = all.map(({ name, settings }) => `${name} (${settings.conf})`).join(', ');
  const why = `it is in no configured cluster: its disk names ${says}; configured: ${names}`;
  const hint = "Configure its cluster, or name these monitors in 'mon host' of its ceph.conf.";
  return new OperatingError({ ...fields, code: 'not-found', why, hint });
}
