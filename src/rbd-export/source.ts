// A source in Ceph: connected with limits, opened read-only by its ids, and looked at again through a fresh open.

import type { Pool } from 'ceph-napi';
import { Cluster, Image, ImageReader } from 'ceph-napi';
import { OperatingError } from '../wire/errors.ts';
import { formatSource } from '../wire/source.ts';
import type { SourceIds } from '../wire/vocabulary.ts';
import type { CephSettings, FillSpec } from '../wire/worker-protocol.ts';
import { withCeph } from './errors.ts';

/** Who reads: never the one who may write disks. */
type Reader = 'fill' | 'snapshot' | 'publish';

/** librbd's own cache and read-ahead only copy what is read once, in order. */
const OPTIONS = { rbd_cache: 'false' };

export class Source implements AsyncDisposable {
  readonly subject: string;
  readonly image: Image;
  readonly sizeBytes: number;
  readonly #ids: SourceIds;
  readonly #pool: Pool;
  readonly #reader: ImageReader;
  #close: () => Promise<void> = () => Promise.resolve();

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
    spec: Pick<FillSpec, 'ceph' | 'ids' | 'name'>,
    as: Reader = 'fill',
  ): Promise<Source> {
    await using stack = new AsyncDisposableStack();
    const cluster = stack.use(await connectTo(spec.ceph, as, spec.ids.fsid));
    const source = await Source.openIn(cluster, spec);
    const connection = stack.move();
    source.#close = () => connection.disposeAsync();
    return source;
  }

  /** On a connection that stays open when it is disposed of. @throws OperatingError `not-found`, `denied`, `unavailable` */
  static async openIn(
    cluster: Cluster,
    { ids, name }: Pick<FillSpec, 'ids' | 'name'>,
  ): Promise<Source> {
    const subject = formatSource(name);
    return await withCeph('open source', subject, async () => {
      await using stack = new AsyncDisposableStack();
      const pool = stack.use(await cluster.openPool(ids.poolId, ids.namespace));
      const image = stack.use(
        await Image.open(pool, { id: ids.imageId }, { snapshot: ids.snapId }),
      );
      const source = new Source(subject, ids, pool, image, await image.size());
      const opened = stack.move();
      source.#close = () => opened.disposeAsync();
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
    await this.#close();
  }
}

/** Connects as one of siphon's users. @throws OperatingError `mismatch` (another cluster), `denied`, `unavailable` */
export async function connectTo(
  ceph: CephSettings,
  identity: Reader,
  fsid: string,
): Promise<Cluster> {
  await using stack = new AsyncDisposableStack();
  const cluster = stack.use(await connect(ceph, identity));
  await assertCluster(cluster, ceph, fsid);
  stack.move();
  return cluster;
}

/** A cluster that cannot be entered proves nothing about what is in it: never `not-found`. */
async function connect(ceph: CephSettings, identity: Reader): Promise<Cluster> {
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

async function assertCluster(cluster: Cluster, ceph: CephSettings, of: string): Promise<void> {
  const fsid = await withCeph('connect', ceph.conf, () => cluster.fsid());
  const wanted = [of, ceph.fsid ?? of];
  if (wanted.every((one) => one === fsid)) return;
  const why = `it is the cluster ${fsid}, not ${wanted.find((one) => one !== fsid)}`;
  throw new OperatingError({ code: 'mismatch', op: 'connect', subject: ceph.conf, why });
}
