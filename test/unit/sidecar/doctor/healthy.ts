// The facts of a healthy host, for tests to spoil.

import { parseConfig } from '../../../../src/sidecar/config/load.ts';
import type {
  ClusterFacts,
  Facts,
  HostFacts,
  SiteFacts,
  SocketFacts,
  Trial,
  UserFacts,
} from '../../../../src/sidecar/doctor/facts.ts';
import type { StatusAnswer } from '../../../../src/wire/api.ts';
import type { CephSettings, Examined } from '../../../../src/wire/worker-protocol.ts';

const loaded = parseConfig([{ file: 'siphon.toml', text: '' }]);
if (loaded.kind === 'bad') throw new Error('the defaults are no config');
const { config } = loaded;

export const examined: Examined = {
  health: { status: 'HEALTH_OK', checks: [] },
  release: 'ceph version 18.2.7 (x) reef (stable)',
  mayBlocklist: false,
  pools: [{ pool: 'vms', trial: { kind: 'may' } }],
  disks: [
    {
      at: { pool: 'vms', namespace: '', image: 'disk' },
      trial: { kind: 'there', hasLock: true },
    },
  ],
};

export const settings: CephSettings = {
  conf: '/etc/ceph/ceph.conf',
  timeoutMs: 5000,
  users: { fill: { name: 'f' }, snapshot: { name: 's' }, publish: { name: 'p' } },
};

export const told = (spoilt: Partial<Examined> = {}): Trial => ({
  kind: 'told',
  examined: { ...examined, ...spoilt },
});

export const user = (spoilt: Partial<UserFacts> = {}): UserFacts => ({
  name: 's',
  key: { kind: 'there', file: '/etc/ceph/s.keyring', type: 'aes' },
  trials: [{ job: 'snapshot', trial: told() }],
  ...spoilt,
});

export const cluster = (spoilt: Partial<ClusterFacts> = {}): ClusterFacts => ({
  name: 'ceph',
  settings,
  isTickPoolStated: true,
  conf: 'readable',
  closed: [],
  users: [user()],
  pools: { images: ['images'], vms: ['vms'] },
  vmKeys: [{ user: 'libvirt', monCaps: 'profile rbd' }],
  abilities: [{ of: 'librbd', name: 'rbd_clone4', isPresent: true, without: 'by name' }],
  ...spoilt,
});

export const status: StatusAnswer = {
  version: '1.0.0',
  pid: 1,
  startedAtMs: 0,
  clusters: [],
  libvirt: { state: 'connected' },
  cache: {
    path: '/var/lib/siphon/bases',
    bases: 0,
    allocatedBytes: 0,
    limitBytes: 1,
    freeBytes: 1,
    isMountedReadOnly: true,
  },
  abilities: [],
  fillGroup: { limits: [], absent: [] },
  jobsOpen: 0,
  paused: [],
  spooled: 0,
  trust: { unverified: 0, unstated: 0, refused: [], problems: [] },
  problems: [],
};

export const socket = (spoilt: Partial<SocketFacts>): SocketFacts => ({
  path: '/run/siphon/siphon.sock',
  modeWanted: 0o660,
  groupWanted: 'siphon-admin',
  ...spoilt,
});

export const siteFacts: SiteFacts = {
  config,
  policyProblems: [],
  sockets: [socket({ mode: 0o660, group: 'siphon-admin' })],
  spool: { events: 0, bad: 0 },
  disk: {
    mount: 'read-only',
    bases: 'open',
    freeBytes: 2 ** 40,
    totalBytes: 2 ** 41,
    stateFreeBytes: 2 ** 40,
  },
  siphond: { kind: 'answers', status, suspects: [] },
  libvirt: {
    kind: 'answers',
    versions: { libvirt: '11.3.0', hypervisor: '10.0.0' },
    domains: [{ name: 'd', hasAgentChannel: true, disks: [] }],
  },
  clusters: [cluster()],
};

export const hostFacts: HostFacts = {
  hook: { state: 'seen', words: 'installed and seen', copies: [], isBypassed: false },
  units: [
    {
      name: 'siphond.service',
      isLoaded: true,
      isActive: true,
      isEnabled: true,
      before: ['libvirtd.service'],
    },
  ],
  isClockSynchronised: true,
  missingAccounts: [],
  isAppArmorActive: false,
  guard: { isRuleThere: true },
};

export const healthy: Facts = {
  version: '1.0.0',
  nowMs: 1_000_000,
  host: hostFacts,
  configProblems: [],
  site: siteFacts,
};

export const site = (spoilt: Partial<SiteFacts>): Facts => ({
  ...healthy,
  site: { ...siteFacts, ...spoilt },
});
export const host = (spoilt: Partial<HostFacts>): Facts => ({
  ...healthy,
  host: { ...hostFacts, ...spoilt },
});
export const ceph = (spoilt: Partial<ClusterFacts>): Facts => site({ clusters: [cluster(spoilt)] });
