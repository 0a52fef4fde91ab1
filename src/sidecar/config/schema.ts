// The config's shape: every key with its default, its meaning and what is allowed. docs/configuration.md says the same
// to people; a test compares the two.

import { z } from 'zod';
import { API_SOCKET, HOOK_SOCKET } from '../../wire/api.ts';
import { DURATION_ALLOWED, parseDuration, parseSize, SIZE_ALLOWED } from './units.ts';

/** The longest that a domain's start may wait for a fill: libvirtd's own patience with a hook at its stop is 30 s. */
const FILL_WAIT_MS_MAX = 10_000;
const FSID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** A cephx entity's id, a cluster's name: what needs no quoting anywhere. */
const WORD = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const text = (allowed: string, test: (text: string) => boolean) =>
  z.string({ error: allowed }).refine(test, { error: allowed });

const path = () =>
  text('an absolute path without .. or a NUL byte', (each) => {
    return each.startsWith('/') && !each.includes('\0') && !each.split('/').includes('..');
  });

/** Unix socket paths end at 107 bytes (unix(7), sun_path). */
const socket = () =>
  path().refine((each) => Buffer.byteLength(each) <= 107, {
    error: 'an absolute path of at most 107 bytes',
  });

function measured(
  parse: (text: string) => number | undefined,
  min: number,
  max: number,
  allowed: string,
) {
  return z.string({ error: allowed }).transform((written, context) => {
    const value = parse(written);
    if (value !== undefined && value >= min && value <= max) return value;
    context.addIssue({ code: 'custom', message: allowed, input: written });
    return z.NEVER;
  });
}

const size = (min = 0) => measured(parseSize, min, Number.MAX_SAFE_INTEGER, SIZE_ALLOWED);
const duration = (min: number, max: number, range: string) =>
  measured(parseDuration, min, max, `${DURATION_ALLOWED}, ${range}`);

function oneOf<const T extends readonly [string, ...string[]]>(...words: T) {
  return z.enum(words, { error: `one of ${words.map((word) => `"${word}"`).join(', ')}` });
}

const USER_ALLOWED = 'a cephx user without "client.", or { name = USER, keyring = PATH }';
const userName = () => text(USER_ALLOWED, (each) => WORD.test(each) && !each.startsWith('client.'));
const user = () =>
  z.union(
    [
      userName().transform((name) => ({ name })),
      z.strictObject({ name: userName(), keyring: path().exactOptional() }),
    ],
    { error: USER_ALLOWED },
  );

const cluster = z.strictObject({
  conf: path().default('/etc/ceph/ceph.conf').describe("the cluster's ceph.conf"),
  fsid: text('an fsid: 8-4-4-4-12 lower-case hex digits', (each) => FSID.test(each))
    .exactOptional()
    .describe("the cluster's fsid; learnt at the first connection where it is not stated"),
  default: z
    .boolean({ error: 'true or false' })
    .exactOptional()
    .describe('whether sources that name no fsid are in this one; the only cluster is'),
  timeout: duration(1000, 60_000, 'from 1s to 1min')
    .prefault('5s')
    .describe('how long one answer of the cluster may take before it counts as unavailable'),
  user: user().prefault('siphon').describe('the cephx user for whatever `users` leaves out'),
  users: z
    .strictObject({
      fill: user().exactOptional().describe('reads source images'),
      snapshot: user().exactOptional().describe("reads, and snapshots, domains' disks"),
      publish: user().exactOptional().describe('writes into the pools of source images'),
    })
    .prefault({}),
});

const table = <T extends z.core.$ZodLooseShape>(shape: T) =>
  z.strictObject(shape).prefault({} as never);

export const CONFIG_SCHEMA = z
  .strictObject({
    cache: table({
      path: path().default('/var/lib/siphon/bases-rw').describe('where bases are written'),
      mount: path()
        .default('/var/lib/siphon/bases')
        .describe('the read-only bind mount of it: where guests find bases'),
      limit: size(1)
        .prefault('100GiB')
        .describe('how much the bases may take on disk before the least recently used are evicted'),
      reserve: size()
        .prefault('1GiB')
        .describe('free space that a fill must leave on the file system'),
      fill_concurrency: z
        .int({ error: 'a whole number from 1 to 16' })
        .min(1, { error: 'a whole number from 1 to 16' })
        .max(16, { error: 'a whole number from 1 to 16' })
        .default(2)
        .describe('how many fills run at once; more wait their turn'),
      raw_becomes: oneOf('qcow2', 'raw')
        .default('qcow2')
        .describe('the file that a raw source becomes'),
    }),
    clusters: z
      .record(
        text('a name of letters, digits, . _ -', (each) => WORD.test(each)),
        cluster,
      )
      .prefault({ ceph: {} }),
    trust: table({
      folder: path()
        .default('/etc/siphon/trust')
        .describe('the certificates that may sign images, each as UUID.pem'),
    }),
    hook: table({
      fill_wait: duration(0, FILL_WAIT_MS_MAX, 'at most 10s')
        .prefault('5s')
        .describe("how long a domain's start waits for a missing base before it is refused"),
      spool: path()
        .default('/var/spool/siphon/hook')
        .describe('where the hook leaves events that siphond could not take'),
    }),
    snapshot: table({
      policies: path()
        .default('/etc/siphon/policies.d')
        .describe('the folder of snapshot policies'),
    }),
    libvirt: table({
      uri: text('a libvirt URI such as "qemu:///system"', (each) => /^[a-z+]+:\/\/\S*$/.test(each))
        .default('qemu:///system')
        .describe("libvirt's connection URI"),
    }),
    state: table({
      path: path().default('/var/lib/siphon/siphon.db').describe('the catalogue and the journal'),
    }),
    api: table({
      socket: socket().default(API_SOCKET).describe('the API for operators, mode 0660'),
      hook_socket: socket().default(HOOK_SOCKET).describe('the API for the hook alone, mode 0600'),
    }),
    log: table({
      level: oneOf('debug', 'info', 'warn', 'error')
        .default('info')
        .describe('the least level that is logged'),
    }),
  })
  .superRefine(checkTogether);

export type ConfigFile = z.output<typeof CONFIG_SCHEMA>;

interface Together {
  readonly clusters: Record<string, { readonly default?: boolean; readonly fsid?: string }>;
  readonly cache: { readonly path: string; readonly mount: string };
  readonly api: { readonly socket: string; readonly hook_socket: string };
}

/** What no key can say alone. */
function checkTogether({ clusters, cache, api }: Together, context: z.RefinementCtx): void {
  const complain = (path: string[], message: string) =>
    context.addIssue({ code: 'custom', path, message });
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
  if (api.socket === api.hook_socket)
    complain(['api', 'hook_socket'], 'another path than api.socket');
}
