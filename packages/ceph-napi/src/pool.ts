// A pool, in one RBD namespace (rados_ioctx_t): where images and objects are found.
import type { Cluster } from './cluster.ts';
import { check } from './errors.ts';
import { Handle } from './handle.ts';
import { librados } from './library.ts';
import { assertSize, safeInteger, word, words } from './memory.ts';

const create = librados(
  'int rados_ioctx_create(rados_t cluster, const char *pool_name, rados_ioctx_t *ioctx)',
);
const create2 = librados(
  'int rados_ioctx_create2(rados_t cluster, int64_t pool_id, rados_ioctx_t *ioctx)',
);
const destroy = librados('void rados_ioctx_destroy(rados_ioctx_t io)');
const getId = librados('int64_t rados_ioctx_get_id(rados_ioctx_t io)');
const setNamespace = librados(
  'void rados_ioctx_set_namespace(rados_ioctx_t io, const char *nspace)',
);
const setFullTry = librados('void rados_set_pool_full_try(rados_ioctx_t io)');

export class Pool extends Handle {
  readonly cluster: Cluster;
  readonly id: number;
  /** The name that it was opened by, or had when it was opened by id. */
  readonly name: string;
  /** '' for the default namespace. */
  readonly namespace: string;

  private constructor(cluster: Cluster, pointer: bigint, name: string, namespace: string) {
    super('pool', pointer, cluster);
    this.cluster = cluster;
    this.id = safeInteger(getId.call(pointer), 'pool id');
    this.name = name;
    this.namespace = namespace;
  }

  /**
   * Opens a pool by name or id, in the RBD namespace given. Throws ENOENT where there is no such pool; a namespace is not looked up.
   * Implements: rados_ioctx_create, rados_ioctx_create2, rados_ioctx_set_namespace, rados_ioctx_get_id
   */
  static open(cluster: Cluster, pool: string | number, namespace = ''): Promise<Pool> {
    return cluster.during(async (pointer) => {
      const out = words();
      const named = typeof pool === 'string';
      if (!named) assertSize(pool, 'pool id');
      const name = named ? pool : await cluster.poolName(pool);
      const open = named ? create : create2;
      check(await open.later(pointer, pool, out), open.symbol, `pool ${pool}`);
      const io = word(out);
      if (namespace !== '') setNamespace.call(io, namespace);
      return new Pool(cluster, io, name, namespace);
    });
  }

  /**
   * From now on what adds to a full pool fails at once (ENOSPC; EDQUOT by a quota), also in images that are opened then, and what
   * removes goes through. Without it both wait until there is room (librados.h). Implements: rados_set_pool_full_try
   */
  failWhenFull(): void {
    setFullTry.call(this.pointer);
  }

  /** Implements: rados_ioctx_destroy */
  protected override async release(pointer: bigint): Promise<void> {
    await destroy.later(pointer);
  }
}
