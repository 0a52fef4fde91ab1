// What a host that is gone has left in Ceph: listed, and removed by any other host that an operator tells to. Each is found by its own record,
// and its removal may be done again: a kill in the middle leaves the record.

import { OperatingError } from '../../wire/errors.ts';
import type { Job } from '../../wire/journal.ts';
import type { Leftover, LeftoversAnswer, LeftoversRequest } from '../../wire/leftovers-api.ts';
import type { Cluster } from '../../wire/ports.ts';
import type { FoundEntry } from '../../wire/publish-protocol.ts';
import { formatImage } from '../../wire/source.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import { Jobs } from '../jobs.ts';
import type { SnapshotParts } from '../ports.ts';
import { decideEntry, decideImport, type LeftoverDecision } from './decide.ts';

export interface LeftoversParts
  extends Pick<SnapshotParts, 'journal' | 'host' | 'log' | 'now' | 'onDefect'> {
  readonly clusters: () => readonly Cluster[];
}

/** With a dead client's watch, and a rollback. */
const SETTLE = { deadlineMs: 3_600_000 };

/** Found, and decided. `remove` may be done again. */
interface Found extends Pick<Leftover, 'kind' | 'subject' | 'set' | 'atMs'> {
  readonly decision: LeftoverDecision;
  readonly remove: () => Promise<unknown>;
}

export class Leftovers {
  readonly #parts: LeftoversParts;
  readonly #jobs: Jobs;

  constructor(parts: LeftoversParts) {
    this.#parts = parts;
    this.#jobs = new Jobs(parts, ['reconcile']);
  }

  /** @throws OperatingError usage: it is this host, which does so by itself */
  begin({ host, dryRun = false }: LeftoversRequest): {
    readonly jobId: string;
    readonly ended: Promise<LeftoversAnswer>;
  } {
    if (host === this.#parts.host) {
      const why = 'it is this host: siphond brings its own to an end by itself';
      throw new OperatingError({ code: 'usage', op: 'reconcile', subject: host, why });
    }
    const job = this.#parts.journal.begin('reconcile', host, {});
    const ended = this.#jobs.run(job, () => this.#reconcile(job, host, dryRun));
    ended.catch(() => undefined); // the job says how it ended
    return { jobId: job.id, ended };
  }

  idle(): Promise<void> {
    return this.#jobs.idle();
  }

  async #reconcile(job: Job, host: string, isDryRun: boolean): Promise<LeftoversAnswer> {
    const leftovers: Leftover[] = [];
    for (const cluster of this.#parts.clusters()) {
      const all = [
        ...(await this.#entriesOf(cluster, host)),
        ...(await this.#importsOf(cluster, host)),
      ];
      for (const { remove, ...found } of all) {
        job.signal.throwIfAborted();
        const outcome = await carriedOut(found.decision, isDryRun, remove);
        const told = { ...found, cluster: cluster.name, ...outcome };
        if (told.decision === 'removed')
          this.#parts.log.warn({ ...told, host }, 'a leftover is removed');
        leftovers.push(told);
      }
    }
    return { host, leftovers };
  }

  async #entriesOf({ ceph }: Cluster, host: string): Promise<readonly Found[]> {
    const entries = await ceph.call('findEntries', {}, DEADLINE_MS.clone);
    const theirs = entries.filter((entry) => entry.host === host);
    return await Promise.all(
      theirs.map(async (entry) => {
        const { at, pool, image, set, atMs } = entry;
        const { users } = await ceph.call('lookWhoUses', at, DEADLINE_MS.look);
        return {
          kind: 'publish' as const,
          subject: formatImage({ pool, namespace: at.namespace, image }),
          set,
          ...(atMs !== undefined && { atMs }),
          decision: decideEntry(entry, users, this.#parts.now()),
          remove: () => removeEntry(ceph, entry),
        };
      }),
    );
  }

  async #importsOf({ ceph, settings }: Cluster, host: string): Promise<readonly Found[]> {
    if (settings.users.restore === undefined) return []; // nobody imports there, on this host
    const imports = await ceph.call('findImports', {}, DEADLINE_MS.clone);
    const theirs = imports.filter((found) => found.host === host);
    return theirs.map((found) => {
      const { id, pool, namespace, setId, atMs, users } = found;
      return {
        kind: 'import' as const,
        subject: namespace === '' ? pool : `${pool}/${namespace}`,
        set: setId,
        atMs,
        decision: decideImport(found, users, this.#parts.now()),
        remove: () => ceph.call('settleImport', { id, pool, namespace, isGivenUp: true }, SETTLE),
      };
    });
  }
}

/** One that cannot be removed keeps none of the others. */
async function carriedOut(
  { kind, why }: LeftoverDecision,
  isDryRun: boolean,
  remove: Found['remove'],
): Promise<Pick<Leftover, 'decision' | 'why' | 'error'>> {
  if (kind === 'stays') return { decision: 'stays', why };
  if (isDryRun) return { decision: 'would-remove', why };
  try {
    await remove();
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { decision: 'failed', why: error.message, error: error.toWire() };
  }
  return { decision: 'removed', why };
}

async function removeEntry(
  ceph: Cluster['ceph'],
  { at, client, source, isCopy }: FoundEntry,
): Promise<void> {
  const dead = client === undefined ? {} : { dead: client };
  await ceph.call('removeClone', { at, ...dead }, DEADLINE_MS.clone);
  if (isCopy !== true) await ceph.call('releaseSource', source, DEADLINE_MS.snapshot);
}
