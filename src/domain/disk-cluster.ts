// Which cluster an RBD disk is in, by what QEMU would connect to: the monitors that the disk names, else those of its ceph.conf. A
// domain's XML never names an fsid.

/** A monitor's address; a port that is not stated is one of the two default ones. */
export interface Monitor {
  readonly name: string;
  readonly port?: number;
}

/** What a disk says of its cluster: monitors go before a ceph.conf, as in QEMU (block/rbd.c, qemu_rbd_connect). */
export interface DiskSays {
  readonly configFile?: string;
  readonly hosts: readonly Monitor[];
}

export interface KnownCluster {
  readonly name: string;
  readonly conf: string;
  /** None: its ceph.conf names none, and its monitors are found in another way. */
  readonly monitors: readonly Monitor[];
}

export type WhichCluster =
  | { readonly kind: 'one'; readonly name: string }
  | { readonly kind: 'none' }
  | { readonly kind: 'several'; readonly names: readonly string[] };

/** librados looks there where it is told of no other. */
export const DEFAULT_CONF = '/etc/ceph/ceph.conf';

/** `monitorsOfConf`: of the ceph.conf that the disk names, where it names no monitors itself. */
export function whichCluster(
  disk: DiskSays,
  clusters: readonly KnownCluster[],
  monitorsOfConf: readonly Monitor[] = [],
): WhichCluster {
  const conf = disk.configFile ?? DEFAULT_CONF;
  const isByMonitors = disk.hosts.length > 0;
  const wanted = keysOf(isByMonitors ? disk.hosts : monitorsOfConf);
  const names = clusters
    .filter((cluster) => {
      const own = keysOf(cluster.monitors);
      if (isByMonitors && own.size > 0) return !wanted.isDisjointFrom(own);
      return cluster.conf === conf || !wanted.isDisjointFrom(own);
    })
    .map(({ name }) => name);
  const [name] = names;
  if (name === undefined) return { kind: 'none' };
  return names.length === 1 ? { kind: 'one', name } : { kind: 'several', names };
}

/** The monitors of `mon host` in a ceph.conf. */
export function monitorsInConf(text: string): readonly Monitor[] {
  const lines = text.replaceAll('\\\n', ' ').matchAll(/^[ \t]*mon[ _-]host[ \t]*=([^#;\n]*)/gm);
  return [...lines].flatMap(([, value = '']) => monitorsIn(value));
}

/** The monitors of a value of `mon_host`. */
export function monitorsIn(value: string): readonly Monitor[] {
  return value.split(/[\s,;"']+|\[(?=v[12]:)/).flatMap(monitorOf);
}

/** `10.0.0.1`, `mon-a:6789`, `v1:[fd00::1]:6789/0]`: the last one as the end of a group. */
const MONITOR =
  /^(?:v[12]:)?(?:\[(?<bracketed>[^\]]+)\]|(?<name>[^:/[\]]+)|(?<bare>[\da-f:.]+))(?::(?<port>\d+))?(?:\/\d+)?\]?$/i;

function monitorOf(word: string): Monitor[] {
  const { bracketed, name, bare, port } = MONITOR.exec(word)?.groups ?? {};
  const found = bracketed ?? name ?? bare;
  if (found === undefined) return [];
  return [{ name: found, ...(port === undefined ? {} : { port: Number(port) }) }];
}

/** msgr2's and msgr1's: librados tries both where none, or 0, is stated. */
const DEFAULT_PORTS: readonly (number | undefined)[] = [undefined, 0, 3300, 6789];

/** Equal for two names of one address, and for the two default ports of one monitor. */
function keysOf(monitors: readonly Monitor[]): ReadonlySet<string> {
  return new Set(
    monitors.map(({ name, port }) => {
      const isDefault = DEFAULT_PORTS.includes(port);
      return `${canonical(name)} ${isDefault ? 'default' : port}`;
    }),
  );
}

function canonical(name: string): string {
  const bare = name.replace(/^\[|\]$/g, '').toLowerCase();
  const url = `http://[${bare}]`;
  return bare.includes(':') && URL.canParse(url) ? new URL(url).hostname.slice(1, -1) : bare;
}
