// Parts published images from what they were cloned from: each as a job of its own, so many at once, gone on with after a kill.

import { OperatingError } from '../../wire/errors.ts';
import type { Job, JobRecord } from '../../wire/journal.ts';
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
    const turn = () => this.#parts.limitFlatten(() => this.#flatten(job, data));
    return { jobId: job.id, work: this.#jobs.runUntilDone(job, turn) };
  }

  async #flatten(job: Job, data: FlattenData): Promise<void> {
    const { at, source, name, client: dead } = data;
    const subject = formatImage(name);
    const { ceph } = await this.#parts.byFsid(data.fsid);
    const { client } = await ceph.call('status', { as: 'publish' }, DEADLINE_MS.look);
    if (job.signal.aborted) throw cancelled(subject);
    job.step('flattening', { ...data, client });
    const { was } = await ceph.call(
      'flattenClone',
      { at, ...(dead !== undefined && { dead }) },
      {
        ...DEADLINE_MS.flatten,
        signal: job.signal,
        onProgress: (progress) => job.progress(progress),
      },
    );
    await ceph.call('releaseSource', source, DEADLINE_MS.snapshot);
    await ceph.call('dropEntry', at, DEADLINE_MS.record);
    if (was === 'gone') throw gone(subject);
    job.done({ image: subject });
  }
}

const HINT = (subject: string) => `siphon flatten ${subject}`;

function gone(subject: string): OperatingError {
  const why = 'the image is not there any more: somebody removed it';
  return new OperatingError({ code: 'not-found', op: 'flatten', subject, why });
}

function cancelled(subject: string): OperatingError {
  return new OperatingError({ code: 'cancelled', op: 'flatten', subject, hint: HINT(subject) });
}
