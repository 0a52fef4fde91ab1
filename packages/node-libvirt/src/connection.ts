// A connection to libvirtd: open, watch, close. One may carry any number of calls at once.

import { bind } from './call.ts';
import { Callback } from './callbacks.ts';
import { isLibvirtError, LibvirtError, VIR_ERR } from './errors.ts';
import { holdEventLoop } from './event-loop.ts';
import { Handle } from './handle.ts';
import type { Pointer } from './library.ts';
import { versionText } from './version.ts';

const virConnectOpen = bind('virConnectPtr virConnectOpen(const char *name)');
const virConnectOpenReadOnly = bind('virConnectPtr virConnectOpenReadOnly(const char *name)');
const virConnectClose = bind('int virConnectClose(virConnectPtr conn)');
const virConnectIsAlive = bind('int virConnectIsAlive(virConnectPtr conn)');
const virConnectSetKeepAlive = bind(
  'int virConnectSetKeepAlive(virConnectPtr conn, int interval, unsigned int count)',
);
const virConnectGetLibVersion = bind(
  'int virConnectGetLibVersion(virConnectPtr conn, unsigned long *libVer)',
);
const virConnectGetURI = bind('char *virConnectGetURI(virConnectPtr conn)');
const virConnectRegisterCloseCallback = bind(
  `int virConnectRegisterCloseCallback(virConnectPtr conn, virConnectCloseFunc cb, void *opaque,
     virFreeCallback freecb)`,
);
const virConnectUnregisterCloseCallback = bind(
  'int virConnectUnregisterCloseCallback(virConnectPtr conn, virConnectCloseFunc cb)',
);

const closeCallback = new Callback(
  'typedef void (*virConnectCloseFunc)(virConnectPtr conn, int reason, void *opaque);',
  ([, reason]) => reason as number,
);

/** virConnectCloseReason, in its order. */
export const CLOSE_REASONS = ['error', 'end of file', 'keepalive', 'client'] as const;
export type CloseReason = (typeof CLOSE_REASONS)[number];

export interface OpenOptions {
  /** Over libvirtd's read-only socket: may look, not touch. */
  readonly isReadOnly?: boolean;
  /** A daemon that answers none of `count` questions, `intervalSeconds` apart, counts as gone. Default 5 and 5; 0 s is never. */
  readonly keepAlive?: { readonly intervalSeconds: number; readonly count: number };
}

/** An open connection. Dispose of it; then, or when libvirtd goes, `closed` resolves. It does not reconnect: open another. */
export class Connection implements AsyncDisposable {
  readonly #handle: Handle;
  readonly #undo = new AsyncDisposableStack();
  readonly #closed = Promise.withResolvers<CloseReason>();
  #closeReason: CloseReason | undefined;

  private constructor(pointer: Pointer) {
    this.#handle = new Handle('connection', pointer);
  }

  /**
   * Connects. Waits for ever where something accepts and then says nothing (a stopped libvirtd): see call.ts.
   *
   * Implements: virConnectOpen, virConnectOpenReadOnly, virConnectSetKeepAlive, virConnectRegisterCloseCallback.
   * @throws LibvirtError
   */
  static async open(uri: string, options: OpenOptions = {}): Promise<Connection> {
    const { isReadOnly = false, keepAlive = { intervalSeconds: 5, count: 5 } } = options;
    using stack = new DisposableStack();
    stack.use(holdEventLoop());
    const connection = new Connection(
      await (isReadOnly ? virConnectOpenReadOnly : virConnectOpen)(uri),
    );
    connection.#undo.use(stack.move());
    connection.#undo.defer(() => connection.#handle.free(virConnectClose));
    await using failure = new AsyncDisposableStack();
    failure.use(connection);
    await connection.#watchClose();
    await connection.#keepAlive(keepAlive.intervalSeconds, keepAlive.count);
    failure.move();
    return connection;
  }

  /** Why it closed: libvirtd went ('end of file', 'error'), stopped answering ('keepalive'), or we closed it ('client'). */
  get closed(): Promise<CloseReason> {
    return this.#closed.promise;
  }

  get isClosed(): boolean {
    return this.#closeReason !== undefined;
  }

  /** Implements: virConnectIsAlive. False also for a connection that was disposed of. */
  async isAlive(): Promise<boolean> {
    return !this.isClosed && (await this.use(virConnectIsAlive)) === 1;
  }

  /** The daemon's libvirt, as '11.3.0'. Implements: virConnectGetLibVersion. */
  async version(): Promise<string> {
    const version = Buffer.alloc(8);
    await this.use((it) => virConnectGetLibVersion(it, version));
    return versionText(Number(version.readBigUInt64LE()));
  }

  /** Implements: virConnectGetURI. */
  uri(): Promise<string> {
    return this.use(virConnectGetURI);
  }

  /** Runs a binding on the connection's pointer; it is not closed meanwhile. For the other topics of this package. */
  use<T>(call: (connection: Pointer) => Promise<T>): Promise<T> {
    return this.#handle.use(call);
  }

  /** Has something undone before the connection closes; the last first. */
  onDispose(undo: () => Promise<void>): void {
    this.#undo.defer(undo);
  }

  /**
   * Runs what only tells libvirtd to forget something. Where the connection is gone, so is what it was told: the call then still
   * drops the reference on this side, and its failure to reach libvirtd is no failure.
   */
  async forget(call: (connection: Pointer) => Promise<unknown>): Promise<void> {
    try {
      await this.use(call);
    } catch (error) {
      if (!(error instanceof LibvirtError) || (await this.isAlive())) throw error;
    }
  }

  /**
   * Waits for calls that run, ends the watches, closes. Domains that are still held keep the socket open until they are freed.
   *
   * Implements: virConnectClose, virConnectUnregisterCloseCallback.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#close('client');
    await this.#undo.disposeAsync();
  }

  /** A driver without a daemon (test:///default) has nothing to keep alive, and says so. */
  async #keepAlive(intervalSeconds: number, count: number): Promise<void> {
    try {
      await this.use((it) => virConnectSetKeepAlive(it, intervalSeconds, count));
    } catch (error) {
      if (!isLibvirtError(error, VIR_ERR.NO_SUPPORT)) throw error;
    }
  }

  async #watchClose(): Promise<void> {
    const number = closeCallback.add((reason) => this.#close(CLOSE_REASONS[reason] ?? 'error'));
    this.#undo.defer(() => closeCallback.remove(number));
    await this.use((it) =>
      virConnectRegisterCloseCallback(it, closeCallback.address(), number, null),
    );
    this.onDispose(() =>
      this.forget((it) => virConnectUnregisterCloseCallback(it, closeCallback.address())),
    );
  }

  #close(reason: CloseReason): void {
    this.#closeReason ??= reason;
    this.#closed.resolve(this.#closeReason);
  }
}
