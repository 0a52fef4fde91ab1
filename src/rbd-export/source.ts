// A source in Ceph: connected with limits, opened read-only by its ids, and looked at again through a fresh open.

import type { Pool } from 'ceph-napi';
import { Cluster, Image, ImageReader } from 'ceph-napi';
import { OperatingError } from '../wire/errors.ts';
import { formatSource } from '../wire/source.ts';
import type { SourceIds } from '../wire/vocabulary.ts';
import type { CephSettings, FillSpec } from '../wire/worker-protocol.ts';
import { withCeph } from './errors.ts';

/** librbd's own cache and read-ahead only copy what is read once, in order. */
const OPTIONS = { rbd_cache: 'false' };

export class Source implements AsyncDisposable {
  readonly subject: string;
  readonly image: Image;
  readonly sizeBytes: number;
  readonly #ids: SourceIds;
  readonly #pool: Pool;
  readonly #reader: ImageReader;

  private constructor(
    subject: string,
    ids: SourceIds,
    pool: Pool,
    image: Image,
    sizeBytes: number,
  ) {
    this.subject = subject;
    this.image = image;
    this.sizeBytes = sizeBytes;
    this.#ids = ids;
    this.#pool = pool;
    this.#reader = ImageReader.attach(image);
  }

  /** @throws OperatingError `mismatch` (another cluster), `not-found`, `denied`, `unavailable` */
  static async open(
    { ceph, ids, name }: Pick<FillSpec, 'ceph' | 'ids' | 'name'>,
    identity: 'fill' | 'snapshot' = 'fill',
  ): Promise<Source> {
    const subject = formatSource(name);
    await using stack = new AsyncDisposableStack();
    const cluster = stack.use(await connect(ceph, identity));
    await assertCluster(cluster, ceph, ids);
    return await withCeph('open source', subject, async () => {
      const pool = await cluster.openPool(ids.poolId, ids.namespace);
      const image = await Image.open(pool, { id: ids.imageId }, { snapshot: ids.snapId });
      const source = new Source(subject, ids, pool, image, await image.size());
      stack.move();
      return source;
    });
  }

  /** Fills `buffer` from `offset`, wholly. */
  async read(buffer: Uint8Array, offset: number): Promise<void> {
    const count = await withCeph('read source', this.subject, () =>
      this.#reader.read(buffer, offset),
    );
    if (count === buffer.length) return;
    const why = `${count} bytes of ${buffer.length} at ${offset}`;
    throw new OperatingError({ code: 'corrupt', op: 'read source', subject: this.subject, why });
  }

  /**
   * Whether image and snapshot are there still. A reader of an image that was deleted gets zeros and no error: what was read counts only
   * if this succeeds after the last read. @throws OperatingError `not-found`
   */
  async lookAgain(): Promise<void> {
    try {
      await withCeph('look again', this.subject, async () => {
        const { imageId, snapId } = this.#ids;
        await using again = await Image.open(this.#pool, { id: imageId }, { snapshot: snapId });
        await again.size();
      });
    } catch (cause) {
      if (!(cause instanceof OperatingError) || cause.code !== 'not-found') throw cause;
      const why = 'it was removed while it was read, so what was read cannot be trusted';
      const hint = 'Nothing was kept. Ask for a source that exists.';
      throw new OperatingError({
        code: 'not-found',
        op: 'export',
        subject: this.subject,
        why,
        hint,
        cause,
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.cluster.close();
  }
}

/** A cluster that cannot be entered proves nothing about what is in it: never `not-found`. */
async function connect(ceph: CephSettings, identity: 'fill' | 'snapshot'): Promise<Cluster> {
  const { conf, timeoutMs } = ceph;
  const { name: user, keyring } = ceph.users[identity];
  const subject = `client.${user.replace(/^client\./, '')} by ${conf}`;
  try {
    return await withCeph('connect', subject, () =>
      Cluster.connect({
        conf,
        user,
        ...(keyring === undefined ? {} : { keyring }),
        options: OPTIONS,
        connectTimeoutMs: timeoutMs,
        monTimeoutMs: timeoutMs,
        osdTimeoutMs: timeoutMs,
      }),
    );
  } catch (cause) {
    if (!(cause instanceof OperatingError)) throw cause;
    const isAbsent = cause.code === 'not-found';
    const hint = isAbsent
      ? 'Check that the configuration file and the keyring of the user are there and readable.'
      : 'Is the cluster up? `ceph -s` tells; `siphon doctor` finds what else keeps siphon from it.';
    const code = isAbsent ? 'denied' : cause.code;
    throw new OperatingError({ code, op: 'connect', subject, cause: cause.cause, hint });
  }
}

async function assertCluster(cluster: Cluster, ceph: CephSettings, ids: SourceIds): Promise<void> {
  const fsid = await withCeph('connect', ceph.conf, () => cluster.fsid());
  const wanted = [ids.fsid, ceph.fsid ?? ids.fsid];
  if (wanted.every((one) => one === fsid)) return;
  const why = `it is the cluster ${fsid}, not ${wanted.find((one) => one !== fsid)}`;
  throw new OperatingError({ code: 'mismatch', op: 'connect', subject: ceph.conf, why });
}
