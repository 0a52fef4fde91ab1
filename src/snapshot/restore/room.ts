// Restores: disks put back, new domains, single clones; undone, flattened, and brought to an end after siphond was. One at a time for each
// domain.

import { allOf } from '../../wire/all-of.ts';
import { OperatingError, type WireError } from '../../wire/errors.ts';
import type { Job, JobKind, JobRecord } from '../../wire/journal.ts';
import type { Cluster } from '../../wire/ports.ts';
import type {
  RestoreAnswer,
  RestoreRequest,
  RestoresAnswer,
  UndoAnswer,
} from '../../wire/restore-api.ts';
import type { FoundRestore, RestoreRecord } from '../../wire/restore-protocol.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import { Jobs, StaysOpen } from '../jobs.ts';
import type { Recovered } from '../recover.ts';
import type { Started } from '../service.ts';
import {
  answerOf,
  type FlattenData,
  type RestorePlan,
  readFlattenData,
  readRestoreData,
  readUndoData,
  replacingJob,
  restoredDomain,
} from './data.ts';
import { decideUndo } from './decide.ts';
import { domainFacts, must, planRestore } from './plan.ts';
import type { RestoreParts } from './ports.ts';
import {
  dropOldLocks,
  flattenAll,
  giveUp,
  placeAll,
  putBack,
  restoreDisks,
  rollBack,
  undoRestore,
  untilDone,
} from './work.ts';

const KINDS: readonly JobKind[] = ['restore', 'undo-restore', 'flatten'];

export class Restores {
  readonly #parts: RestoreParts;
  readonly #jobs: Jobs;
  /** Domains of restores that are being planned. */
  readonly #planning = new Set<string>();

  constructor(parts: RestoreParts) {
    this.#parts = parts;
    this.#jobs = new Jobs(parts, KINDS);
  }

  /** Durably begun when it resolves. @throws OperatingError: why it may not be; nothing has changed then */
  async begin(request: RestoreRequest): Promise<Started<RestoreAnswer>> {
    const set = await this.#parts.findSet(request.set);
    const cluster = await this.#parts.byFsid(set.fsid);
    return await this.#alone(set.domainUuid, set.domainName, async () => {
      const plan = await planRestore(this.#parts, cluster, set, request);
      const job = this.#parts.journal.begin('restore', `${set.domainName} ${set.id}`, { plan });
      return this.#start(job, async () => {
        if (plan.way !== 'rollback') return this.#done(await this.#restore(cluster, job, plan));
        await untilDone(() => rollBack(cluster, job, plan));
        return this.#done(plan);
      });
    });
  }

  async #restore(cluster: Cluster, job: Job, plan: RestorePlan): Promise<RestorePlan> {
    const restored = await restoreDisks(this.#parts, cluster, job, plan);
    if (plan.way === 'in-place') await this.#forgetPurged(cluster, plan.domainUuid);
    return restored;
  }

  /** Restores that can be undone no more. Whatever is wrong with that, the disks are back. */
  async #forgetPurged({ ceph }: Cluster, domainUuid: string): Promise<void> {
    try {
      for (const { isPurged, ...record } of await ceph.call('findRestores', {}, DEADLINE_MS.look)) {
        if (isPurged !== true || record.domainUuid !== domainUuid) continue;
        await ceph.call('removeRestore', record, DEADLINE_MS.record);
      }
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#parts.log.warn({ error: error.toWire() }, 'purged restores are not forgotten yet');
    }
  }

  /** By a restore's id, or a set's. Durably begun when it resolves. @throws OperatingError */
  async undo(id: string): Promise<Started<UndoAnswer>> {
    const record = await this.#find(id);
    const cluster = await this.#parts.byFsid(record.fsid);
    const { domainUuid, domainName } = record;
    return await this.#alone(domainUuid, domainName, async () => {
      const found = await allOf(
        record.disks.map(({ from, to, oldId }) => {
          const at = { ...to, pool: to.poolId };
          const asked = { from, to: at, ...(oldId !== undefined && { oldId }) };
          return cluster.ceph.call('lookRestore', asked, DEADLINE_MS.look);
        }),
      );
      const domain = await domainFacts(this.#parts, domainUuid);
      must(decideUndo(record, found, domain), record.id);
      const subject = `${domainName} ${record.id}`;
      const job = this.#parts.journal.begin('undo-restore', subject, { record });
      return this.#start(job, () => untilDone(() => undoRestore(cluster, job, record)));
    });
  }

  /** Those that can be undone, of all clusters. @throws OperatingError */
  async list(): Promise<RestoresAnswer> {
    return { restores: (await this.#all()).filter(({ isPurged }) => isPurged !== true) };
  }

  async #all(): Promise<readonly FoundRestore[]> {
    const found = await allOf(
      this.#parts.clusters().map(({ ceph }) => ceph.call('findRestores', {}, DEADLINE_MS.look)),
    );
    return found.flat().toSorted((a, b) => b.createdAtMs - a.createdAtMs);
  }

  /** Of a job that replaces the domain's disks now, or has to be finished first: its id. */
  replacing(domainUuid: string): string | undefined {
    return replacingJob(this.#open(), domainUuid)?.id;
  }

  /** Finishes, or takes back, what is open and does not run. Call it at start, and again and again. */
  async recover(): Promise<Recovered> {
    const outcomes = await Promise.all(
      this.#jobs.left().map((record) => {
        const job = this.#jobs.resume(record);
        return this.#jobs.runUntilDone(job, () => this.#recover(record, job));
      }),
    );
    const left = outcomes.filter((each) => each === 'left').length;
    return { ended: outcomes.length - left, left };
  }

  /** Settles when nothing is in progress. */
  idle(): Promise<void> {
    return this.#jobs.idle();
  }

  #open(): readonly JobRecord[] {
    return this.#parts.journal.open().filter(({ kind }) => KINDS.includes(kind));
  }

  /** @throws OperatingError busy: something is going on with the domain's disks */
  async #alone<T>(domainUuid: string, name: string, work: () => Promise<T>): Promise<T> {
    const { isTaking } = this.#parts;
    const isOf = ({ data }: JobRecord) => restoredDomain(data) === domainUuid;
    if (this.#planning.has(domainUuid) || this.#open().some(isOf)) {
      throw busy(name, 'disks of it are being restored');
    }
    if (isTaking(domainUuid)) throw busy(name, 'a set of it is being taken');
    this.#planning.add(domainUuid);
    try {
      return await work();
    } finally {
      this.#planning.delete(domainUuid);
    }
  }

  #start<T>(job: Job, work: () => Promise<T>): Started<T> {
    const finished = this.#jobs.run(job, work);
    finished.catch(() => undefined); // the job says how it ended
    return { jobId: job.id, finished };
  }

  async #find(id: string): Promise<RestoreRecord> {
    const found = (await this.#all()).find((each) => each.id === id || each.setId === id);
    if (found !== undefined) return found;
    const why = 'no restore is known that can be undone, by this id or of a set of this id';
    const hint = '`siphon restore --list` tells what can be undone.';
    throw new OperatingError({ code: 'not-found', op: 'undo restore', subject: id, why, hint });
  }

  /** Begins what follows in the background. */
  #done(plan: RestorePlan): RestoreAnswer {
    const disks = plan.disks as FlattenData['disks'];
    const { fsid, flattens, way, domainName, setId } = plan;
    if (!flattens || way === 'rollback') return answerOf(plan, undefined);
    const data: FlattenData = { fsid, disks };
    const job = this.#parts.journal.begin('flatten', `${domainName} ${setId}`, data);
    const work = () => this.#flatten(job, data);
    this.#jobs.runUntilDone(job, work).catch(() => undefined); // a defect, and told as one
    return answerOf(plan, job.id);
  }

  async #flatten(job: Job, data: FlattenData): Promise<void> {
    await flattenAll(await this.#parts.byFsid(data.fsid), job, data);
    job.done();
  }

  async #recover(record: JobRecord, job: Job): Promise<void> {
    const { data } = record;
    const flatten = record.kind === 'flatten' ? readFlattenData(data) : null;
    if (flatten !== null) return this.#flatten(job, flatten);
    const undo = record.kind === 'undo-restore' ? readUndoData(data) : null;
    if (undo !== null) {
      const cluster = await this.#parts.byFsid(undo.record.fsid);
      await dropOldLocks(cluster, undo.record, undo.client);
      return job.done(await undoRestore(cluster, job, undo.record));
    }
    return await this.#recoverRestore(record, job);
  }

  async #recoverRestore(record: JobRecord, job: Job): Promise<void> {
    const data = record.kind === 'restore' ? readRestoreData(record.data) : null;
    if (data === null) throw unreadable(record);
    const { plan, client, error = interrupted(record) } = data;
    const cluster = await this.#parts.byFsid(plan.fsid);
    await dropOldLocks(cluster, plan, client);
    if (record.step === 'rolling back') {
      await rollBack(cluster, job, plan);
      return job.done(answerOf(plan, undefined));
    }
    if (record.step !== 'placing') {
      if (client !== undefined) await putBack(this.#parts, cluster, plan);
      return job.failed(error);
    }
    try {
      await placeAll(this.#parts, cluster, plan);
    } catch (failure) {
      if (!(failure instanceof OperatingError) || failure instanceof StaysOpen) throw failure;
      return await giveUp(this.#parts, cluster, job, plan, failure);
    }
    job.done(this.#done(plan));
  }
}

function busy(subject: string, why: string): OperatingError {
  return new OperatingError({ code: 'busy', op: 'restore', subject, why });
}

function interrupted({ subject }: JobRecord): WireError {
  const why = 'siphond ended before any disk was replaced, and what was made is removed';
  return { code: 'cancelled', op: 'restore', subject, why, hint: 'Ask for it again.' };
}

function unreadable({ id, subject }: JobRecord): OperatingError {
  const why = 'what the journal holds of it is not readable by this version';
  const hint = 'Look for images with the mark siphon.r- (`rbd ls`), and in the trash.';
  return new OperatingError({ code: 'corrupt', op: `recover job ${id}`, subject, why, hint });
}
