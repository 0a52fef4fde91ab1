// The config's shape: every key with its default, its meaning and what is allowed. The tables of docs/configuration.md are
// written from it (scripts/config-reference.ts).

import { z } from 'zod';
import { API_SOCKET, HOOK_SOCKET, READ_SOCKET } from '../../wire/api.ts';
import { PROOF_LEVELS } from '../../wire/verify-api.ts';
import { STATE_KINDS } from '../../wire/vocabulary.ts';
import { TRUST } from './trust-shape.ts';
import {
  duration,
  folders,
  oneOf,
  path,
  RESTART,
  size,
  socket,
  someOf,
  text,
  user,
  WORD,
  wholeNumber,
} from './types.ts';

/** The longest that a domain's start may wait for a fill: libvirtd's own patience with a hook at its stop is 30 s. */
const FILL_WAIT_MS_MAX = 10_000;
export const POLICIES_DEFAULT = '/etc/siphon/policies.d';
/** An fsid as Ceph writes it. */
const FSID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const weight = () => wholeNumber(1, 10_000).default(50);

const cluster = z.strictObject({
  conf: path().default('/etc/ceph/ceph.conf').describe("the cluster's ceph.conf"),
  fsid: text('an fsid: 8-4-4-4-12 lower-case hex digits', (each) => FSID.test(each))
    .exactOptional()
    .describe(
      "the cluster's fsid; a connection to another is refused. Where it is not stated it is learnt at the first connection",
    ),
  default: z
    .boolean({ error: 'true or false' })
    .meta({ allowed: 'true or false' })
    .exactOptional()
    .describe('`true` in exactly one of several clusters: it has the sources that name no fsid'),
  timeout: duration(1000, 60_000, 'from 1s to 1min')
    .prefault('5s')
    .describe('how long one answer of the cluster may take before it counts as unavailable'),
  tick_pool: text("a pool's name without /", (each) => /^[^/\0]{1,128}$/.test(each))
    .exactOptional()
    .describe(
      "a small pool of siphon's own, of one placement group, whose snapshot ids tell when the monitors commit; where it is not stated, `siphon`, if there is one. Where there is none, or the snapshot user may not, they are of the first disk's pool",
    ),
  user: user().prefault('siphon').describe('the cephx user for whatever `users` leaves out'),
  users: z
    .strictObject({
      fill: user().exactOptional().describe('who reads source images'),
      snapshot: user()
        .exactOptional()
        .describe("who snapshots domains' disks and keeps siphon's records beside them"),
      publish: user()
        .exactOptional()
        .describe('who writes into the pools of source images (`siphon describe`)'),
      restore: user()
        .exactOptional()
        .describe(
          'who puts disks back: it writes all of their pools, so that it is never `user`; where it is not stated nobody does',
        ),
    })
    .prefault({}),
});

const table = <T extends z.core.$ZodLooseShape>(shape: T) =>
  z.strictObject(shape).prefault({} as never);

/** What each file may hold, and all of them together. */
export const CONFIG_SHAPE = z.strictObject({
  cache: table({
    path: path()
      .default('/var/lib/siphon/bases-rw')
      .describe(
        'where bases are written: a folder of the user siphon’s, not in /home, /usr or /etc; on a disk, which fills, with space for `cache.limit`',
      )
      .meta(RESTART),
    mount: path()
      .default('/var/lib/siphon/bases')
      .describe(
        'the read-only bind mount of `cache.path`: where guests and libvirt find bases. Overlays name it: do not change it later',
      )
      .meta(RESTART),
    limit: size(1)
      .prefault('100GiB')
      .describe(
        'how much the bases may take on disk before the least recently used ones are evicted. Pinned and leased bases stay',
      ),
    reserve: size()
      .prefault('1GiB')
      .describe(
        'free space that a fill must leave on the file system; a fill that would not is refused before a byte moves',
      ),
    fill_concurrency: wholeNumber(1, 16)
      .default(2)
      .describe(
        "how many fills run at once; more wait, those that a domain's start waits for first",
      ),
    raw_becomes: oneOf('qcow2', 'raw')
      .default('qcow2')
      .describe(
        'the file that a raw source becomes; a raw one is sparse. qcow2 sources are copied as they are',
      ),
    quarantine_age: duration(0, 365 * 86_400_000, 'at most 365d')
      .prefault('7d')
      .describe('how long a file that failed its check is kept (`siphon list --quarantined`)'),
    quarantine_limit: size()
      .prefault('10GiB')
      .describe(
        'how much such files may take, beside `cache.limit`; the oldest go, all of them where a fill needs the space. 0: none is kept',
      ),
    scrub_rate: size()
      .prefault('64MiB')
      .describe(
        'how much a scrub reads of the disk in a second, with idle priority; 0: as fast as it goes. One base is read at a time',
      ),
    scrub_every: duration(3_600_000, 365 * 86_400_000, 'from 1h to 365d')
      .prefault('7d')
      .describe(
        'how old the last scrub of a base, or its fill, may be before `siphon-scrub.timer` has it scrubbed',
      ),
    overlays: folders()
      .default(['/var/lib/libvirt/images'])
      .describe(
        "where overlays lie: a base that one of them stands on is not evicted, whether a domain has it or not. They are looked for 3 folders deep, and in the folders of domains' disks; where that cannot be told, no base is evicted",
      ),
  }),
  fills: table({
    memory: size(256 * 1024 * 1024)
      .exactOptional()
      .describe(
        'what all fill workers together may hold in memory, with what they have read and written and the kernel still keeps (memory.max); where it is not stated, 512 MiB for each of `cache.fill_concurrency`',
      ),
    tasks: wholeNumber(128, 100_000)
      .exactOptional()
      .describe(
        'how many threads all fill workers together may have (pids.max); where it is not stated, 256 for each of `cache.fill_concurrency`',
      ),
    cpu_weight: weight().describe(
      'their share of the processors where these are short; anybody else has 100',
    ),
    io_weight: weight().describe(
      'their share of the disks where these are short; anybody else has 100',
    ),
  }),
  clusters: z
    .record(
      text('a name of letters, digits, . _ -', (each) => WORD.test(each)),
      cluster,
    )
    .prefault({ ceph: {} }),
  trust: table(TRUST),
  hook: table({
    fill_wait: duration(0, FILL_WAIT_MS_MAX, 'at most 10s')
      .prefault('5s')
      .describe(
        "how long a domain's start waits for a missing base before it is refused. libvirtd holds the domain's lock meanwhile",
      ),
    spool: path()
      .default('/var/spool/siphon/hook')
      .describe('where the hook leaves events that siphond could not take')
      .meta(RESTART),
  }),
  snapshot: table({
    policies: path()
      .default(POLICIES_DEFAULT)
      .describe('the folder of snapshot policies, `*.toml`; a change is taken up at once'),
    at_once: wholeNumber(1, 64)
      .default(2)
      .describe('how many sets are taken at once on this host; more wait'),
    jitter: duration(0, 60_000, 'at most 1min')
      .prefault('0s')
      .describe(
        "how long a set of libvirt's events (not of a stop, a start, or an operator) waits at most, by chance, so that hosts do not ask the monitors all at once",
      ),
    worst_health: oneOf('ok', 'warn', 'any')
      .default('warn')
      .describe('the worst health of a cluster in which sets are still taken'),
    full: wholeNumber(1, 100)
      .default(85)
      .describe(
        'how full a cluster may be, in percent of its raw space, for sets to be taken; none is where Ceph itself says that an OSD or a pool is near full',
      ),
    image_warning: wholeNumber(1, 10_000)
      .default(250)
      .describe(
        'snapshots of one image, whoever made them, from which on each further one is told as too many',
      ),
    image_limit: wholeNumber(1, 10_000)
      .default(450)
      .describe('snapshots of one image, whoever made them, from which on none is taken'),
    keep_files: someOf(...STATE_KINDS)
      .default(['nvram'])
      .describe(
        "what of a domain's state that is in no disk each set has a copy of: `nvram`, its UEFI variables; `tpm`, the state of its emulated TPM, which holds keys: whoever may read its first disk's pool then has them",
      ),
  }),
  publish: table({
    snapshots_directory: path()
      .exactOptional()
      .describe(
        'a folder that the user siphon may write, for disks as files: where they can become images in no pool, or are wanted so; where it is not stated there are none',
      ),
    flatten_rate: size(1)
      .exactOptional()
      .describe(
        'how much the flattens of images that this host published copy a second; one at a time then. Where it is not stated, two at a time, as fast as they go',
      ),
    file_format: oneOf('qcow2', 'raw').default('qcow2').describe('of such a file; both are sparse'),
  }),
  verify: table({
    level: oneOf(...PROOF_LEVELS)
      .default('agent')
      .describe(
        'what counts as proven: `agent`, the guest boots and its agent answers with filesystems mounted; `checked`, the filesystems of all its disks were checked, too',
      ),
    boot_timeout: duration(1000, 3_600_000, 'from 1s to 1h')
      .prefault('5min')
      .describe("how long the guest's agent may take until its first answer"),
    memory_max: size(64 * 1024 * 1024)
      .prefault('2GiB')
      .describe('what the guest gets of memory at most; one that has less gets what it has'),
    vcpus_max: wholeNumber(1, 64)
      .default(2)
      .describe('how many virtual processors the guest gets at most'),
  }),
  libvirt: table({
    uri: text('a libvirt URI such as "qemu:///system"', (each) => /^[a-z+]+:\/\/\S*$/.test(each))
      .default('qemu:///system')
      .describe("libvirt's connection URI")
      .meta(RESTART),
  }),
  state: table({
    path: path()
      .default('/var/lib/siphon/siphon.db')
      .describe('the catalogue and the journal, SQLite')
      .meta(RESTART),
  }),
  api: table({
    socket: socket()
      .default(API_SOCKET)
      .describe('the API for operators; mode 0660 where siphond makes it itself')
      .meta(RESTART),
    read_socket: socket()
      .default(READ_SOCKET)
      .describe(
        'what of the API changes nothing, and the metrics; mode 0660 where siphond makes it itself',
      )
      .meta(RESTART),
    hook_socket: socket()
      .default(HOOK_SOCKET)
      .describe(
        "the API for libvirt's hook alone; mode 0600. The installed hook knows the default path only",
      )
      .meta(RESTART),
  }),
  log: table({
    level: oneOf('debug', 'info', 'warn', 'error')
      .default('info')
      .describe('the least level that is logged'),
  }),
});

/** All files together. */
export const CONFIG_SCHEMA = CONFIG_SHAPE.superRefine(checkTogether);

export type ConfigFile = z.output<typeof CONFIG_SCHEMA>;

interface Together {
  readonly clusters: Record<string, { readonly default?: boolean; readonly fsid?: string }>;
  readonly cache: { readonly path: string; readonly mount: string };
  readonly api: {
    readonly socket: string;
    readonly read_socket: string;
    readonly hook_socket: string;
  };
}

/** Marks the issues of {@link checkTogether}. */
export const TOGETHER = { together: true } as const;

/** What no key can say alone. */
function checkTogether({ clusters, cache, api }: Together, context: z.RefinementCtx): void {
  const complain = (path: string[], message: string) =>
    context.addIssue({ code: 'custom', path, message, params: TOGETHER });
  const entries = Object.entries(clusters);
  const marked = entries.filter(([, each]) => each.default === true);
  if (entries.length === 0) complain(['clusters'], 'at least one [clusters.NAME]');
  if (entries.length > 1 && marked.length !== 1) {
    const path = marked[1] === undefined ? ['clusters'] : ['clusters', marked[1][0], 'default'];
    complain(path, 'such that exactly one of several clusters says default = true');
  }
  const seen = new Set<string>();
  for (const [name, { fsid }] of entries) {
    if (fsid === undefined) continue;
    if (seen.has(fsid))
      complain(['clusters', name, 'fsid'], 'an fsid of its own: another cluster states the same');
    seen.add(fsid);
  }
  if (cache.path === cache.mount)
    complain(['cache', 'mount'], 'another path than cache.path: it is its read-only view');
  const sockets = [api.socket];
  for (const key of ['read_socket', 'hook_socket'] as const) {
    if (sockets.includes(api[key]))
      complain(['api', key], "another path than those of the API's other sockets");
    sockets.push(api[key]);
  }
}
