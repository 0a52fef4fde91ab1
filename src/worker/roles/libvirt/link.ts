// The connection to libvirtd: kept up for ever, with its lifecycle events passed on. libvirtd restarts, exits when idle and is
// upgraded, so its absence is a state, not a failure.

import { setTimeout as delay } from 'node:timers/promises';
import { Connection, isOfMigration, STOPPED_DETAILS, watchLifecycle } from 'node-libvirt';
import { OperatingError } from '../../../wire/errors.ts';
import type { LibvirtEvent, LibvirtSettings } from '../../../wire/worker-protocol.ts';
import { type BackOff, countFailures, nextDelay } from '../../supervisor/back-off.ts';
import { translateError } from '../../translate-error.ts';

const BACK_OFF: BackOff = { firstDelayMs: 100, delayMsMax: 5000, forgetMs: 10_000 };

export class LibvirtLink {
  readonly #uri: string;
  readonly #emit: (event: LibvirtEvent) => void;
  #connection: Connection | undefined;
  /** Why there is no connection. */
  #why = 'connecting';

  constructor({ uri }: LibvirtSettings, emit: (event: LibvirtEvent) => void) {
    this.#uri = uri;
    this.#emit = emit;
  }

  /** The open connection. @throws OperatingError unavailable */
  get connection(): Connection {
    if (this.#connection && !this.#connection.isClosed) return this.#connection;
    throw new OperatingError({
      code: 'unavailable',
      op: 'ask libvirt',
      subject: this.#uri,
      why: this.#why,
      hint: 'Look at `systemctl status libvirtd`; siphon connects again by itself.',
    });
  }

  /** Connects, and again whenever the connection is lost. Never returns; a defect ends the worker. */
  async keepUp(): Promise<never> {
    for (let failures = 0; ; ) {
      const startedAt = performance.now();
      this.#lost(await this.#live());
      const livedMs = performance.now() - startedAt;
      failures = countFailures(failures, livedMs, BACK_OFF);
      await delay(nextDelay(failures, livedMs, Math.random(), BACK_OFF));
    }
  }

  /** One connection from open to end; gives why it ended, or never was. */
  async #live(): Promise<string> {
    try {
      const connection = await Connection.open(this.#uri);
      try {
        await watchLifecycle(connection, ({ uuid, name, event, detail }) =>
          this.#emit({
            what: 'lifecycle',
            uuid,
            name,
            event,
            ...(event === 'stopped' && { reason: STOPPED_DETAILS[detail] ?? 'unknown' }),
            ...(isOfMigration({ event, detail }) && { isMove: true }),
          }),
        );
        this.#connection = connection;
        this.#emit({ what: 'connected' });
        return `the connection was closed: ${await connection.closed}`;
      } finally {
        this.#connection = undefined;
        // Not waited for: calls that still run on it may take as long as libvirtd likes.
        connection[Symbol.asyncDispose]().catch(reportClose);
      }
    } catch (error) {
      return translateError(error, { op: 'connect', subject: this.#uri }).why;
    }
  }

  #lost(why: string): void {
    if (why === this.#why) return;
    this.#why = why;
    this.#emit({ what: 'closed', why });
  }
}

/** What a lost connection answers when it is closed changes nothing. */
function reportClose(error: unknown): void {
  console.error(translateError(error, { op: 'close connection', subject: 'libvirt' }).message);
}
