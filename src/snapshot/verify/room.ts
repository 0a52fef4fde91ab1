// Proofs that sets can be restored: one at a time on a host, each a job; and the removal of what an earlier life has left of one.

import { OperatingError, type WireError } from '../../wire/errors.ts';
import type { Job, JobRecord } from '../../wire/journal.ts';
import type { Proof, ProofRequest, ProofsAnswer } from '../../wire/verify-api.ts';
import type { SnapshotSet } from '../../wire/vocabulary.ts';
import { Jobs } from '../jobs.ts';
import type { Recovered } from '../recover.ts';
import type { Started } from '../service.ts';
import { chooseNewest } from './choose.ts';
import { type ProofData, readProofData } from './data.ts';
import { planProof } from './plan.ts';
import type { ProofParts } from './ports.ts';
import { type Outcome, prove, takeUp } from './work.ts';

const KIND = 'verify-restore';
/** It could not be tried; of any other failure before the start the set itself is the cause. */
const NOT_OF_THE_SET = ['unavailable', 'busy', 'exhausted', 'denied', 'cancelled'];

/** What was begun; without a job there was nothing to do. */
export type BegunProofs = Partial<Pick<Started<unknown>, 'jobId'>> & {
  readonly finished: Promise<ProofsAnswer>;
};

export class Proofs {
  readonly #parts: ProofParts;
  readonly #jobs: Jobs;
  #isRunning = false;

  constructor(parts: ProofParts) {
    this.#parts = parts;
    this.#jobs = new Jobs(parts, [KIND]);
  }

  /** The first is durably begun when it returns. @throws OperatingError not-found; busy: one is under way, or its removal */
  begin(request: ProofRequest): BegunProofs {
    const isOpen = this.#parts.journal.open().some(({ kind }) => kind === KIND);
    if (this.#isRunning || isOpen) throw busy();
    const { sets, later } = 'set' in request ? this.#one(request.set) : this.#newest(request);
    const [first, ...rest] = sets;
    if (first === undefined) return { finished: Promise.resolve(nothing(later)) };
    const begun = this.#start(first);
    this.#isRunning = true;
    const all = this.#inTurn(begun.finished, first, rest, later);
    const finished = all.finally(() => (this.#isRunning = false));
    finished.catch(() => undefined); // its jobs say how they ended
    return { jobId: begun.jobId, finished };
  }

  /** Removes what is open and does not run. Call it at start, and again and again. */
  async recover(): Promise<Recovered> {
    const outcomes = await Promise.all(
      this.#jobs.left().map((record) => {
        const job = this.#jobs.resume(record);
        return this.#jobs.runUntilDone(job, async () => {
          const outcome = await this.#takeUp(record);
          // Whatever it was, it is told: the job has nothing left to wait for.
          if ('error' in outcome) job.failed(outcome.error);
          else job.done(outcome.proof);
        });
      }),
    );
    const left = outcomes.filter((each) => each === 'left').length;
    return { ended: outcomes.length - left, left };
  }

  /** Settles when nothing is in progress. */
  idle(): Promise<void> {
    return this.#jobs.idle();
  }

  #one(id: string): { readonly sets: readonly SnapshotSet[]; readonly later: [] } {
    return { sets: [this.#find(id)], later: [] };
  }

  #newest({ newest: { domains, max } }: Extract<ProofRequest, { readonly newest: object }>) {
    const choices = chooseNewest(this.#parts.catalogue.list(), domains, max);
    if (choices.length === 0 && domains.length > 0) throw noSets(domains);
    const now = choices.filter(({ decision }) => decision === 'now');
    const later = choices.filter(({ decision }) => decision === 'later');
    return { sets: now.map(({ set }) => this.#find(set)), later };
  }

  /** @throws OperatingError not-found, busy */
  #find(id: string): SnapshotSet {
    const kept = this.#parts.catalogue.get(id);
    if (kept === undefined) {
      const hint = '`siphon snapshot list` tells what is there; a set is proven on its own host.';
      throw unable('not-found', id, 'no such set is known on this host', hint);
    }
    const { state, ...set } = kept;
    if (state === 'complete') return set;
    throw unable('busy', id, 'it is being removed');
  }

  #start(set: SnapshotSet): Started<Proof> {
    const data: ProofData = { setId: set.id };
    const job = this.#parts.journal.begin(KIND, `${set.domainName} ${set.id}`, data);
    const finished = this.#jobs.run(job, () => this.#prove(job, set));
    return { jobId: job.id, finished };
  }

  async #prove(job: Job, set: SnapshotSet): Promise<Proof> {
    const { byFsid, log } = this.#parts;
    const cluster = await byFsid(set.fsid);
    let plan: Awaited<ReturnType<typeof planProof>>;
    try {
      plan = await planProof(this.#parts, cluster, set);
    } catch (error) {
      return await this.#notAsItIs(set, error);
    }
    const proof = await prove(this.#parts, cluster, job, plan, set);
    const { isProven, level, why } = proof;
    const told = { set: set.id, domain: set.domainName, isProven, level, why };
    if (isProven) log.info(told, 'a set is proven');
    else log.warn(told, 'a set is not proven');
    return proof;
  }

  /** @throws what is not the set's fault */
  async #notAsItIs(set: SnapshotSet, error: unknown): Promise<Proof> {
    if (!(error instanceof OperatingError) || NOT_OF_THE_SET.includes(error.code)) throw error;
    const { now, verify, record } = this.#parts;
    const { why } = error;
    const none = { filesystems: [], checks: [] };
    const proof = { atMs: now(), isProven: false, wanted: verify().level, why, ...none };
    await record(set.id, proof);
    return proof;
  }

  /** One after the other, until one is cancelled. Of one alone its failure is the request's. */
  async #inTurn(
    running: Promise<Proof>,
    first: SnapshotSet,
    rest: readonly SnapshotSet[],
    later: ProofsAnswer['later'],
  ): Promise<ProofsAnswer> {
    const proofs: ProofsAnswer['proofs'][number][] = [];
    const failed: { set: string; domain: string; error: WireError }[] = [];
    for (const [index, set] of [first, ...rest].entries()) {
      const of = { set: set.id, domain: set.domainName };
      try {
        const proof = await (index === 0 ? running : this.#start(set).finished);
        proofs.push({ ...of, proof });
      } catch (error) {
        if (!(error instanceof OperatingError) || rest.length === 0) throw error;
        failed.push({ ...of, error: error.toWire() });
        if (error.code === 'cancelled') break;
      }
    }
    return { proofs, failed, later };
  }

  async #takeUp(record: JobRecord): Promise<Outcome> {
    const data = readProofData(record.data);
    if (data !== null) return await takeUp(this.#parts, data);
    const why = 'what the journal holds of it is not readable by this version';
    const hint = 'Look for images with the mark siphon.v- (`rbd ls`).';
    throw unable('corrupt', record.subject, why, hint);
  }
}

const nothing = (later: ProofsAnswer['later']): ProofsAnswer => ({ proofs: [], failed: [], later });

function busy(): OperatingError {
  const why = 'another set is being proven, or what is left of that is being removed';
  return unable('busy', 'this host', why, '`siphon jobs` shows it.');
}

function noSets(domains: readonly string[]): OperatingError {
  const hint = '`siphon snapshot list` tells what is there.';
  return unable('not-found', domains.join(' '), 'no complete set of it is known here', hint);
}

function unable(
  code: 'not-found' | 'busy' | 'corrupt',
  subject: string,
  why: string,
  hint?: string,
): OperatingError {
  const fields = { code, op: 'verify restore', subject, why };
  return new OperatingError({ ...fields, ...(hint !== undefined && { hint }) });
}
