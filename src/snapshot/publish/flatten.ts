// Parts published images from what they were cloned from: each as a job of its own, so many at once, gone on with after a kill.

import { OperatingError } from '../../wire/errors.ts';
import { type Job, type JobProgress, type JobRecord, SIPHOND_STOPS } from '../../wire/journal.ts';
import type { CephPort } from '../../wire/ports.ts';
import { formatImage } from '../../wire/source.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import type { Jobs } from '../jobs.ts';
import { type FlattenData, readFlattenData } from './data.ts';
import type { PublishParts } from './ports.ts';

export interface Flattening {
  readonly jobId: string;
  /** Settles when it has ended, or is left for later. */
  readonly work: Promise<'ended' | 'left'>;
}

export class Flattens {
  readonly #parts: PublishParts;
  readonly #jobs: Jobs;

  constructor(parts: PublishParts, jobs: Jobs) {
    this.#parts = parts;
    this.#jobs = jobs;
  }

  /** Durably begun when it returns; of one image there is one such job. */
  begin(data: FlattenData): Flattening {
    const { journal } = this.#parts;
    const known = journal.open().find(({ kind, data: of }) => {
      return kind === 'publish-flatten' && readFlattenData(of)?.at.imageId === data.at.imageId;
    });
    if (known !== undefined) return { jobId: known.id, work: Promise.resolve('left') };
    return this.#run(journal.begin('publish-flatten', formatImage(data.name), data), data);
  }

  /** Those of an earlier life, and those that could not go on. */
  recover(record: JobRecord): Promise<'ended' | 'left'> {
    const job = this.#jobs.resume(record);
    const data = readFlattenData(record.data);
    if (data !== null) return this.#run(job, data).work;
    const why = 'what the journal holds of it is not readable by this version';
    const { subject } = record;
    return this.#jobs.runUntilDone(job, () => {
      return Promise.reject(
        new OperatingError({ code: 'corrupt', op: 'flatten', subject, why, hint: HINT(subject) }),
      );
    });
  }

  #run(job: Job, data: FlattenData): Flattening {
    return { jobId: job.id, work: this.#jobs.runUntilDone(job, () => this.#flatten(job, data)) };
  }

  async #flatten(job: Job, data: FlattenData): Promise<void> {
    const { at, source, name } = data;
    const subject = formatImage(name);
    const { ceph } = await this.#parts.byFsid(data.fsid);
    const was =
      (data.by === 'cluster' && (await this.#byCluster(job, data, ceph))) ||
      (await this.#parts.limitFlatten(() => this.#here(job, data, ceph)));
    await ceph.call('releaseSource', source, DEADLINE_MS.snapshot);
    await ceph.call('dropEntry', at, DEADLINE_MS.record);
    if (was === 'gone') throw gone(subject);
    job.done({ image: subject });
  }

  async #here(job: Job, data: FlattenData, ceph: CephPort): Promise<Was> {
    const { at, client: dead, name } = data;
    const { client } = await ceph.call('status', { as: 'publish' }, DEADLINE_MS.look);
    if (job.signal.aborted) throw cancelled(formatImage(name));
    job.step('flattening', { ...data, client });
    const rateBytes = this.#parts.flattenRate();
    const more = { ...(dead !== undefined && { dead }), ...(rateBytes && { rateBytes }) };
    return (await ceph.call('flattenClone', { at, ...more }, boundsOf(job))).was;
  }

  /** undefined: the cluster does not. */
  async #byCluster(job: Job, data: FlattenData, ceph: CephPort): Promise<Was | undefined> {
    const { at, name } = data;
    job.step('flattening by the cluster', data);
    try {
      const served = await ceph.call('flattenByTask', { at }, boundsOf(job));
      if (served.was !== 'unserved') return served.was;
      const fields = { job: job.id, image: formatImage(name), why: served.why };
      this.#parts.log.warn(fields, 'the cluster does not flatten it: this host does');
      return undefined;
    } catch (error) {
      if (isCancelled(job)) await ceph.call('dropTask', at, DEADLINE_MS.look);
      throw error;
    }
  }
}

type Was = 'flattened' | 'flat' | 'gone';

function boundsOf(job: Job) {
  const onProgress = (progress: JobProgress) => job.progress(progress);
  return { ...DEADLINE_MS.flatten, signal: job.signal, onProgress };
}

/** By an operator: what the cluster does goes on while siphond is away. */
function isCancelled({ signal }: Job): boolean {
  const { aborted, reason } = signal;
  return aborted && !(reason instanceof OperatingError && reason.why === SIPHOND_STOPS);
}

const HINT = (subject: string) => `siphon flatten ${subject}`;

function gone(subject: string): OperatingError {
  const why = 'the image is not there any more: somebody removed it';
  return new OperatingError({ code: 'not-found', op: 'flatten', subject, why });
}

function cancelled(subject: string): OperatingError {
  return new OperatingError({ code: 'cancelled', op: 'flatten', subject, hint: HINT(subject) });
}
