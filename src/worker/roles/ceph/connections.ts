// One connection for each cephx user, made at first use and kept. A failed one is never kept: a cluster that was down, a key that
// was changed, caps that were granted are seen by the next call.

import { statSync } from 'node:fs';
import type { Cluster } from 'ceph-napi';
import type { Identity } from '../../../wire/caps.ts';
import { OperatingError } from '../../../wire/errors.ts';
import type { CephSettings } from '../../../wire/worker-protocol.ts';
import { errnoOf } from '../../translate-error.ts';
import { connect, userOf } from './connect.ts';

/** A connection, as its user. */
export interface Session {
  readonly cluster: Cluster;
  readonly fsid: string;
  readonly identity: Identity;
  /** `client.NAME` */
  readonly entity: string;
}

/** A connection that is in use. */
export interface Hold extends Disposable {
  readonly session: Session;
  /** Says what failed on it: where the connection itself is the cause, no later call has it. */
  readonly report: (error: unknown) => void;
}

interface Link {
  readonly key: string;
  /** What the keyring's file was when the connection was made. */
  readonly keyring: string;
  readonly cluster: Promise<{ readonly cluster: Cluster; readonly fsid: string }>;
  users: number;
  isRetired: boolean;
}

/**
 * EPERM, EACCES: caps are read when a session begins. ENOTCONN, ESHUTDOWN: it was blocklisted, for good. ETIMEDOUT: librados
 * goes on with the key that it began with, and where the monitors do not accept it any more it says nothing else, ever.
 */
const STALE_ERRNOS: readonly (number | undefined)[] = [1, 13, 107, 108, 110];

export class Connections {
  readonly #settings: CephSettings;
  readonly #links = new Map<string, Link>();

  constructor(settings: CephSettings) {
    this.#settings = settings;
  }

  /** Runs `body` on the identity's connection, which stays open until `body` has ended. */
  async as<T>(identity: Identity, body: (session: Session) => Promise<T>): Promise<T> {
    using hold = await this.hold(identity);
    try {
      return await body(hold.session);
    } catch (error) {
      hold.report(error);
      throw error;
    }
  }

  /** As the publish user; where that may not, and there is one, as the restore user: the one writes images' pools, the other disks'. */
  async asWriter<T>(body: (session: Session) => Promise<T>): Promise<T> {
    try {
      return await this.as('publish', body);
    } catch (error) {
      const isDenied = error instanceof OperatingError && error.code === 'denied';
      if (!isDenied || this.#settings.users.restore === undefined) throw error;
      return await this.as('restore', body);
    }
  }

  /** The identity's connection, which stays open until it is disposed of here. */
  async hold(identity: Identity): Promise<Hold> {
    const { name } = userOf(this.#settings, identity);
    const link = this.#linkOf(identity);
    link.users++;
    const leave = () => {
      link.users--;
      this.#closeIfUnused(link);
    };
    try {
      const { cluster, fsid } = await link.cluster;
      const session = { cluster, fsid, identity, entity: `client.${name}` };
      const report = (error: unknown) => {
        if (STALE_ERRNOS.includes(errnoOf(error))) this.#retire(link);
      };
      return { session, report, [Symbol.dispose]: leave };
    } catch (error) {
      this.#retire(link);
      leave();
      throw error;
    }
  }

  #linkOf(identity: Identity): Link {
    const { name, keyring = '' } = userOf(this.#settings, identity);
    const key = `${name} ${keyring}`;
    const found = fileMark(keyring || `/etc/ceph/ceph.client.${name}.keyring`);
    const known = this.#links.get(key);
    if (known?.keyring === found) return known;
    if (known) {
      this.#retire(known);
      this.#closeIfUnused(known);
    }
    const cluster = connect(this.#settings, identity);
    const made: Link = { key, keyring: found, cluster, users: 0, isRetired: false };
    this.#links.set(key, made);
    return made;
  }

  #retire(link: Link): void {
    link.isRetired = true;
    if (this.#links.get(link.key) === link) this.#links.delete(link.key);
  }

  /** Not waited for: the caller has its answer, and closing may wait for the cluster. */
  #closeIfUnused(link: Link): void {
    if (!link.isRetired || link.users > 0) return;
    link.cluster.then(
      ({ cluster }) => cluster.close().catch(reportClose),
      () => undefined, // it was never open, and its users have heard why
    );
  }
}

/** What tells a file from the one that was there before; '' where none is to be seen: ceph.conf may name another. */
function fileMark(path: string): string {
  try {
    const { ino, mtimeNs } = statSync(path, { bigint: true });
    return `${ino} ${mtimeNs}`;
  } catch {
    return ''; // connecting says why, where it matters
  }
}

/** A connection that does not close in order is lost memory, no more: its calls have ended. */
function reportClose(error: unknown): void {
  if (!(error instanceof OperatingError) && errnoOf(error) === undefined) throw error;
  console.error(`closing a connection: ${error instanceof Error ? error.message : String(error)}`);
}
