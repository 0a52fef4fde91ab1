// Watch and notify: a client tells all who watch an object something, and gets their answers.
import { type CArgument, keepAlive, Listeners } from './callbacks.ts';
import { CephError, check, errno } from './errors.ts';
import { Handle } from './handle.ts';
import { librados } from './library.ts';
import { assertSize, bytesAt, safeInteger, word, words } from './memory.ts';
import type { Pool } from './pool.ts';

const watch3 = librados(`int rados_watch3(rados_ioctx_t io, const char *o, uint64_t *cookie,
  rados_watchcb2_t watchcb, rados_watcherrcb_t watcherrcb, uint32_t timeout, void *arg)`);
const unwatch = librados('int rados_unwatch2(rados_ioctx_t io, uint64_t cookie)');
const watchCheck = librados('int rados_watch_check(rados_ioctx_t io, uint64_t cookie)');
const watchFlush = librados('int rados_watch_flush(rados_t cluster)');
const notifyAck = librados(`int rados_notify_ack(rados_ioctx_t io, const char *o,
  uint64_t notify_id, uint64_t cookie, const char *buf, int buf_len)`);

export interface Notification {
  /** The number in the notifier's `client.4123`. */
  readonly notifier: number;
  readonly payload: Buffer;
}

/** What the notifier gets; nothing is an empty answer. */
export type Answer = Uint8Array | undefined;
/** Answers a notification. The notifier waits for it, up to its own limit. Throwing is an uncaught exception. */
export type OnNotify = (notification: Notification) => Answer | Promise<Answer>;

export interface WatchOptions {
  /** After which the OSD forgets a watcher that it does not hear from; whole seconds, rounded up. Default: the OSDs' own, 30 s. */
  readonly timeoutMs?: number;
}

interface Told extends Notification {
  readonly id: bigint;
}

const notified = new Listeners<Told>(
  `void (void *arg, uint64_t notify_id, uint64_t handle, uint64_t notifier_id, void *data,
    size_t data_len)`,
  ([number, id, , notifier, data, length]) => [
    number,
    {
      id: BigInt(id ?? 0),
      notifier: safeInteger(notifier ?? 0, 'client id'),
      payload: bytesAt(BigInt(data ?? 0), Number(length)),
    },
  ],
);
const failed = new Listeners<number>(
  'void (void *arg, uint64_t cookie, int error)',
  ([number, , error]: readonly CArgument[]) => [number, Number(error)],
);

/** Open until closed, or until its pool is: it keeps the process alive. */
/** The object, the session, or this client's right to either is gone, and the watch with it. */
const GONE: readonly number[] = [errno.ENOENT, errno.ENOTCONN, errno.ESHUTDOWN];

export class ObjectWatch extends Handle {
  readonly oid: string;
  /**
   * Settles when the watch is broken, and never else: what is notified from then on, and perhaps what was shortly before, is missed. Close
   * it then, watch anew, and look at what the notifications are about. ENOTCONN: the OSD gave this client up; ENOENT: the object was removed.
   */
  readonly lost: Promise<CephError>;
  readonly #io: bigint;
  readonly #cluster: bigint;
  readonly #lose: (error: CephError) => void;
  readonly #end: () => void;

  private constructor(pool: Pool, oid: string, cookie: bigint, end: () => void) {
    super('watch', cookie, pool);
    this.oid = oid;
    this.#io = pool.pointer;
    this.#cluster = pool.cluster.pointer;
    this.#end = end;
    ({ promise: this.lost, resolve: this.#lose } = Promise.withResolvers<CephError>());
  }

  /**
   * Watches an object. `answer` is called for each notification, several at once if they come so, in their order; the client's own are
   * among them. Throws ENOENT where there is no such object.
   * Implements: rados_watch3
   */
  static open(
    pool: Pool,
    oid: string,
    answer: OnNotify,
    { timeoutMs = 0 }: WatchOptions = {},
  ): Promise<ObjectWatch> {
    assertSize(timeoutMs, 'timeout');
    return pool.during(async (io) => {
      const { promise: opened, resolve: open } = Promise.withResolvers<ObjectWatch>();
      // Both may be told something before rados_watch3 has returned. One number for both: `arg` is one.
      const number = notified.add((told) => void opened.then((watch) => watch.#tell(told, answer)));
      failed.set(number, (result) => void opened.then((watch) => watch.#fail(result)));
      const release = keepAlive();
      const end = () => {
        notified.remove(number);
        failed.remove(number);
        release();
      };
      const cookie = words();
      const seconds = Math.ceil(timeoutMs / 1000);
      const functions = [notified.function, failed.function];
      try {
        const result = await watch3.later(io, oid, cookie, ...functions, seconds, number);
        check(result, watch3.symbol, oid);
      } catch (error) {
        end();
        throw error;
      }
      const watch = new ObjectWatch(pool, oid, word(cookie), end);
      open(watch);
      return watch;
    });
  }

  /** How long ago, in ms, the OSD last confirmed the watch. Throws CephError where it is broken. Implements: rados_watch_check */
  async check(): Promise<number> {
    const ago = await this.during((cookie) => watchCheck.later(this.#io, cookie));
    return check(ago, watchCheck.symbol, this.oid);
  }

  /**
   * The answer is sent here and now, which waits for nobody: in the pool it could queue behind the very notifications that wait for it.
   * Implements: rados_notify_ack
   */
  async #tell({ id, ...notification }: Told, answer: OnNotify): Promise<void> {
    if (this.closed) return;
    const reply = (await answer(notification)) ?? Buffer.alloc(0);
    if (this.closed) return; // the notifier is not kept waiting: the OSD knows that the watch is gone
    const result = notifyAck.call(this.#io, this.oid, id, this.pointer, reply, reply.length);
    if (result < 0) this.#lose(new CephError(-result, notifyAck.symbol, this.oid));
  }

  #fail(result: number): void {
    this.#lose(new CephError(-result, watch3.symbol, this.oid));
  }

  /**
   * Ends the watch, and waits until librados calls no more: it does so for the whole connection, while the event loop serves such calls.
   * Implements: rados_unwatch2, rados_watch_flush
   */
  protected override async release(cookie: bigint): Promise<void> {
    try {
      const result = await unwatch.later(this.#io, cookie);
      if (!GONE.includes(-result)) check(result, unwatch.symbol, this.oid);
    } finally {
      await watchFlush.later(this.#cluster);
      this.#end();
    }
  }
}
