// Removes sets, each as a job of its own: its snapshots, its record in Ceph, its row; protects those that nothing may remove. And
// looks again for what a set that failed may have left.

import type { SetState } from '../wire/api.ts';
import { type ErrorCode, OperatingError } from '../wire/errors.ts';
import type { Job } from '../wire/journal.ts';
import type { Proof } from '../wire/verify-api.ts';
import type { SnapshotSet } from '../wire/vocabulary.ts';
import { DEADLINE_MS } from './deadlines.ts';
import { assertUncloned, discardPlan, discardSet, dropLocks, ownClient } from './discard.ts';
import type { DeleteData } from './job-data.ts';
import type { Jobs } from './jobs.ts';
import type { SnapshotParts } from './ports.ts';

/** After a call that failed for want of an answer: longer than a dead client's watch (osd_client_watch_timeout, 30 s). */
export const LOOK_AGAIN_MS = 40_000;

export class Removal {
  readonly #parts: SnapshotParts;
  readonly #jobs: Jobs;
  readonly #removing = new Set<string>();
  readonly #changing = new Set<string>();

  constructor(parts: SnapshotParts, jobs: Jobs) {
    this.#parts = parts;
    this.#jobs = jobs;
  }

  isRemoving(setId: string): boolean {
    return this.#removing.has(setId);
  }

  /** Ceph has it first, so that a lost catalogue loses no protection. @throws OperatingError not-found, busy, unavailable */
  protect(setId: string, isProtected: boolean): Promise<SnapshotSet> {
    return this.#change(setId, (set) => {
      const { isProtected: _, ...bare } = set;
      return { ...bare, ...(isProtected && { isProtected }) };
    });
  }

  /** As protect. */
  recordProof(setId: string, proof: Proof): Promise<SnapshotSet> {
    return this.#change(setId, (set) => ({ ...set, proof }));
  }

  async #change(setId: string, change: (set: SnapshotSet) => SnapshotSet): Promise<SnapshotSet> {
    const set = change(this.#find(setId, 'complete'));
    this.#changing.add(setId);
    try {
      const cluster = await this.#parts.byFsid(set.fsid);
      await cluster.ceph.call('putSet', set, DEADLINE_MS.record);
      this.#parts.catalogue.put(set, 'complete');
      return set;
    } finally {
      this.#changing.delete(setId);
    }
  }

  /** One that nobody works on. @throws OperatingError not-found, busy */
  #find(setId: string, state?: SetState): SnapshotSet {
    const kept = this.#parts.catalogue.get(setId);
    if (kept === undefined) throw unable('not-found', setId, 'no such set is known on this host');
    const { state: found, ...set } = kept;
    const isRemoving = this.#removing.has(setId) || (state !== undefined && found !== state);
    if (isRemoving) throw unable('busy', setId, 'it is being removed already');
    if (this.#changing.has(setId)) throw unable('busy', setId, 'its record is being changed');
    return set;
  }

  /** @throws OperatingError not-found, busy, refused: it is protected */
  begin(setId: string): { readonly jobId: string; readonly finished: Promise<void> } {
    const { journal } = this.#parts;
    const set = this.#find(setId);
    if (set.isProtected === true) throw unable('refused', setId, 'it is protected');
    const job = journal.begin('delete-set', `${set.domainName} ${setId}`, { set });
    this.#removing.add(setId);
    const finished = this.#jobs.run(job, () => this.discard(job, { set }));
    const leave = () => this.#removing.delete(setId);
    finished.then(leave, leave);
    return { jobId: job.id, finished };
  }

  /** May be done again, after whoever did it before is gone. */
  async discard(job: Job, data: DeleteData): Promise<void> {
    const isSet = 'set' in data;
    const cluster = await this.#parts.byFsid(isSet ? data.set.fsid : data.leftovers.fsid);
    if (isSet) await assertUncloned(cluster, data.set);
    if (isSet && this.#isKnown(data.set)) this.#parts.catalogue.put(data.set, 'deleting');
    const images = isSet ? data.set.disks : data.leftovers.disks.map(({ at }) => at);
    await dropLocks(cluster, images, data.client);
    job.step('removing', { ...data, client: await ownClient(cluster) });
    if (!isSet) return discardPlan(cluster, data.leftovers);
    await discardSet(cluster, data.set);
    this.#parts.catalogue.remove(data.set.id);
  }

  #isKnown({ id }: SnapshotSet): boolean {
    return this.#parts.catalogue.get(id) !== undefined;
  }

  /** Durably begun when it returns. Where the cluster cannot be reached then, recovery goes on with it. */
  lookAgain(setId: string, data: DeleteData): void {
    const { journal, wait } = this.#parts;
    const job = journal.begin('delete-set', `leftovers of ${setId}`, data);
    const looked = this.#jobs.runUntilDone(job, async () => {
      await wait(LOOK_AGAIN_MS, job.signal);
      if (job.signal.aborted) throw unable('cancelled', setId, 'it was asked to end');
      await this.discard(job, data);
      job.done();
    });
    looked.catch(() => undefined); // a defect, and told as one
  }
}

const HINTS: Readonly<Partial<Record<ErrorCode, string>>> = {
  'not-found': '`siphon snapshot list` tells what is there.',
  refused: '`siphon snapshot unprotect` lets it be removed.',
};

function unable(code: ErrorCode, setId: string, why: string): OperatingError {
  const hint = HINTS[code];
  const fields = { code, op: 'change snapshot set', subject: setId, why };
  return new OperatingError({ ...fields, ...(hint !== undefined && { hint }) });
}
