// A connection to a cluster (rados_t), and what it answers about itself. Without limits librados waits for ever and cannot be
// interrupted, so every connection has them.
import assert from 'node:assert/strict';
import { check, errno } from './errors.ts';
import { freeBuffer } from './free.ts';
import { Handle } from './handle.ts';
import { type CFunction, librados } from './library.ts';
import {
  assertSize,
  bytes,
  bytesAt,
  pointersTo,
  safeInteger,
  textAt,
  textOf,
  textsOf,
  withRoom,
  word,
  words,
} from './memory.ts';
import { Pool } from './pool.ts';

const create = librados(`int rados_create2(rados_t *pcluster, const char *const clustername,
  const char *const name, uint64_t flags)`);
const readConf = librados('int rados_conf_read_file(rados_t cluster, const char *path)');
const getConf = librados(
  'int rados_conf_get(rados_t cluster, const char *option, char *buf, size_t len)',
);
const setConf = librados(
  'int rados_conf_set(rados_t cluster, const char *option, const char *value)',
);
const connect = librados('int rados_connect(rados_t cluster)');
const shutdown = librados('void rados_shutdown(rados_t cluster)');
const clusterFsid = librados('int rados_cluster_fsid(rados_t cluster, char *buf, size_t len)');
const poolLookup = librados('int64_t rados_pool_lookup(rados_t cluster, const char *pool_name)');
const poolReverseLookup = librados(
  'int rados_pool_reverse_lookup(rados_t cluster, int64_t id, char *buf, size_t maxlen)',
);
const poolList = librados('int rados_pool_list(rados_t cluster, char *buf, size_t len)');
const monCommand = librados(`int rados_mon_command(rados_t cluster, const char **cmd, size_t cmdlen,
  const char *inbuf, size_t inbuflen, char **outbuf, size_t *outbuflen, char **outs, size_t *outslen)`);
const mgrCommand = librados(`int rados_mgr_command(rados_t cluster, const char **cmd, size_t cmdlen,
  const char *inbuf, size_t inbuflen, char **outbuf, size_t *outbuflen, char **outs, size_t *outslen)`);
const getAddresses = librados('int rados_getaddrs(rados_t cluster, char** addrs)');
const instanceId = librados('uint64_t rados_get_instance_id(rados_t cluster)');
const waitForMap = librados('int rados_wait_for_latest_osdmap(rados_t cluster)');

export interface ClusterOptions {
  /** The configuration file; null for none. Default: /etc/ceph/ceph.conf. */
  readonly conf?: string | null;
  /** The cephx user, `images` or `client.images`. */
  readonly user: string;
  /** The file of its key, where the configuration does not say. */
  readonly keyring?: string;
  /** Any other option of librados, set before it connects; these win over the file and over all above. */
  readonly options?: Readonly<Record<string, string>>;
  /** How long to try to connect (client_mount_timeout). librados counts in whole seconds: rounded up. Default 30 s. */
  readonly connectTimeoutMs?: number;
  /** How long a call of the monitors may take (rados_mon_op_timeout). Default 30 s. */
  readonly monTimeoutMs?: number;
  /** How long a call of an OSD may take (rados_osd_op_timeout). Default 30 s. */
  readonly osdTimeoutMs?: number;
}

/** A command as `ceph` sends it: `{prefix: 'osd pool ls', format: 'json'}`. */
export type ClusterCommand = Readonly<Record<string, unknown>>;

export interface CommandAnswer {
  readonly output: Buffer;
  readonly status: string;
}

export class Cluster extends Handle {
  private constructor(pointer: bigint) {
    super('cluster', pointer, null);
  }

  /**
   * Connects. Throws CephError: ENOENT (no configuration file, no keyring), EACCES or EPERM (wrong key, no such user), EINVAL (an unknown
   * option or value), ETIMEDOUT (no monitor answered within `connectTimeoutMs`).
   * Implements: rados_create2, rados_conf_read_file, rados_conf_set, rados_connect
   */
  static async connect(options: ClusterOptions): Promise<Cluster> {
    const out = words();
    const user = options.user.startsWith('client.') ? options.user : `client.${options.user}`;
    check(create.call(out, 'ceph', user, 0), create.symbol);
    const pointer = word(out);
    try {
      configure(pointer, options);
      check(await connect.later(pointer), connect.symbol);
      return new Cluster(pointer);
    } catch (error) {
      await shutdown.later(pointer);
      throw error;
    }
  }

  /** The cluster's id, a UUID. Implements: rados_cluster_fsid */
  async fsid(): Promise<string> {
    const buffer = bytes(37); // a UUID and its NUL
    await this.call(clusterFsid, buffer, buffer.length);
    return textOf(buffer);
  }

  /**
   * An option of this client, as the configuration file, the monitors and the caller have set it. Throws ENOENT (no such option).
   * Implements: rados_conf_get
   */
  async option(name: string): Promise<string> {
    const { result, buffer } = await withRoom(getConf.symbol, 256, async (room) => {
      const into = bytes(room);
      const answer = await this.try(getConf, name, into, room);
      return {
        result: answer === -errno.ENAMETOOLONG ? -errno.ERANGE : answer,
        wanted: room,
        buffer: into,
      };
    });
    check(result, getConf.symbol, name);
    return textOf(buffer);
  }

  /** The pool's id. Throws ENOENT. Implements: rados_pool_lookup */
  async poolId(name: string): Promise<number> {
    return safeInteger(await this.call(poolLookup, name), 'pool id');
  }

  /** The pool's name. Throws ENOENT. Implements: rados_pool_reverse_lookup */
  async poolName(id: number): Promise<string> {
    assertSize(id, 'pool id');
    const { result, buffer } = await withRoom(poolReverseLookup.symbol, 128, async (room) => {
      const into = bytes(room);
      const answer = await this.try(poolReverseLookup, id, into, room);
      return { result: answer, wanted: room, buffer: into };
    });
    check(result, poolReverseLookup.symbol);
    return textOf(buffer);
  }

  /** Names of all pools. Implements: rados_pool_list */
  async listPools(): Promise<string[]> {
    for (let room = 4096; ; ) {
      const buffer = bytes(room);
      const wanted = await this.call(poolList, buffer, room);
      if (wanted <= room) return textsOf(buffer.subarray(0, wanted)).filter((name) => name !== '');
      room = wanted;
    }
  }

  /** Opens a pool by name or id: {@link Pool.open}. */
  openPool(pool: string | number, namespace = ''): Promise<Pool> {
    return Pool.open(this, pool, namespace);
  }

  /** The number in `client.4123`, by which locks and watchers name this connection. Implements: rados_get_instance_id */
  instanceId(): number {
    return safeInteger(instanceId.call(this.pointer), 'instance id');
  }

  /** This connection's address as a blocklist takes it: `10.0.0.1:0/123456`. Implements: rados_getaddrs */
  async address(): Promise<string> {
    const out = words();
    await this.call(getAddresses, out);
    try {
      return textAt(word(out));
    } finally {
      freeBuffer(word(out));
    }
  }

  /** Waits until this connection has seen the newest map of the OSDs: what it holds of blocklists and pools. Implements: rados_wait_for_latest_osdmap */
  async waitForLatestOsdMap(): Promise<void> {
    await this.call(waitForMap);
  }

  /** Asks the monitors. Throws CephError with their errno and words. Implements: rados_mon_command */
  monCommand(command: ClusterCommand, input?: Uint8Array): Promise<CommandAnswer> {
    return this.#ask(monCommand, command, input);
  }

  /**
   * Asks the active manager: `pg dump`, `rbd task add flatten`. Needs mgr caps. Waits for a manager where there is none, until
   * `monTimeoutMs`. Throws CephError with its errno and words.
   * Implements: rados_mgr_command
   */
  mgrCommand(command: ClusterCommand, input?: Uint8Array): Promise<CommandAnswer> {
    return this.#ask(mgrCommand, command, input);
  }

  async #ask(
    f: CFunction,
    command: ClusterCommand,
    input: Uint8Array = Buffer.alloc(0),
  ): Promise<CommandAnswer> {
    const text = pointersTo([Buffer.from(JSON.stringify(command))]);
    const body = Buffer.from(input);
    const [out, outSize, status, statusSize] = [words(), words(), words(), words()];
    const answers = [out, outSize, status, statusSize];
    const result = await this.try(f, text, 1, body, body.length, ...answers);
    try {
      const message = bytesAt(word(status), Number(word(statusSize))).toString();
      check(result, f.symbol, message);
      return { output: bytesAt(word(out), Number(word(outSize))), status: message };
    } finally {
      for (const each of [out, status]) freeBuffer(word(each));
    }
  }

  /** Implements: rados_shutdown */
  protected override async release(pointer: bigint): Promise<void> {
    await shutdown.later(pointer);
  }
}

function configure(pointer: bigint, options: ClusterOptions): void {
  const set = (name: string, value: string) =>
    check(setConf.call(pointer, name, value), setConf.symbol, name);
  const conf = options.conf === undefined ? '/etc/ceph/ceph.conf' : options.conf;
  if (conf !== null) check(readConf.call(pointer, conf), readConf.symbol, conf);
  set('client_mount_timeout', seconds(options.connectTimeoutMs));
  set('rados_mon_op_timeout', seconds(options.monTimeoutMs));
  set('rados_osd_op_timeout', seconds(options.osdTimeoutMs));
  if (options.keyring !== undefined) set('keyring', options.keyring);
  for (const [name, value] of Object.entries(options.options ?? {})) set(name, value);
}

function seconds(ms = 30_000): string {
  assert(Number.isFinite(ms) && ms > 0, `not a time limit: ${ms}`);
  return String(Math.ceil(ms / 1000));
}
