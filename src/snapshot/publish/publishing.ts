// Sets made into images of a pool. An image is usable when its snapshot stands under its final name, and independent when it has been
// flattened, which is work of its own. What an earlier life of siphond left is brought to an end.

import { allOf } from '../../wire/all-of.ts';
import { type ErrorCode, fromWire, OperatingError } from '../../wire/errors.ts';
import type { Job, JobRecord, Journal } from '../../wire/journal.ts';
import type { Cluster } from '../../wire/ports.ts';
import {
  type Flatten,
  type PoolTarget,
  type PublishAsk,
  type PublishedImage,
  type PublishResult,
  TO_FILE,
} from '../../wire/publish-api.ts';
import { formatImage } from '../../wire/source.ts';
import type { ImageAt } from '../../wire/worker-protocol.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import { Jobs, StaysOpen } from '../jobs.ts';
import { newSetId } from '../set-id.ts';
import {
  type FlattenData,
  type PublishData,
  type PublishPlan,
  poolOf,
  readPublishData,
  sourceOf,
} from './data.ts';
import { finishFiles, removeFiles } from './files.ts';
import { type Flattening, Flattens } from './flatten.ts';
import { cloneAt, nameAll, removeAll, undo } from './make.ts';
import { carryManifests } from './manifests.ts';
import { planPublish } from './plan.ts';
import type { PublishParts } from './ports.ts';
import { reconcileEntries } from './reconcile.ts';
import { clusterNamed, goWays } from './ways.ts';

export interface Publishing {
  /**
   * Durably begun when it returns. `usable`: its images are; `independent`: they have been flattened, as far as that was asked for and
   * did not have to wait. @throws OperatingError not-found, busy, usage
   */
  begin(setId: string, ask: PublishAsk): Publication;
  /** An image that siphon published, and that is a clone still. @throws OperatingError not-found, refused */
  flatten(image: ImageAt, by?: Flatten): Promise<Flattening>;
  /** Finishes or undoes what is open and does not run. Call it at start, and again and again. */
  recover(): Promise<void>;
  /** What a lost catalogue no longer knows. Call it at start, until it succeeds. @throws OperatingError */
  reconcile(): Promise<void>;
  /** Settles when no image is in the making. */
  idle(): Promise<void>;
}

export interface Publication {
  readonly jobId: string;
  readonly usable: Promise<PublishResult>;
  readonly independent: Promise<PublishResult>;
}

export function createPublishing(parts: PublishParts): Publishing {
  return new Room(parts);
}

class Room implements Publishing {
  readonly #parts: PublishParts;
  readonly #jobs: Jobs;
  readonly #flattens: Flattens;
  readonly #flattenJobs: Jobs;

  constructor(parts: PublishParts) {
    this.#parts = parts;
    this.#jobs = new Jobs(parts, ['publish']);
    this.#flattenJobs = new Jobs(parts, ['publish-flatten']);
    this.#flattens = new Flattens(parts, this.#flattenJobs);
  }

  begin(setId: string, ask: PublishAsk): Publication {
    const { journal, catalogue, files, now } = this.#parts;
    const set = catalogue.get(setId);
    if (set === undefined) throw unable('not-found', setId, 'no such set is known on this host');
    if (set.state !== 'complete') throw unable('busy', setId, 'it is being removed');
    const plan = planPublish(set, ask, newSetId(now()), files());
    const { to } = plan;
    if (to !== TO_FILE && to.cluster !== undefined) clusterNamed(this.#parts, to.cluster);
    const isAtWork = journal.open().some(({ kind, data }) => {
      return kind === 'publish' && readPublishData(data)?.plan.set === setId;
    });
    if (isAtWork) throw unable('busy', setId, 'it is being published');
    const place = to === TO_FILE ? `files in ${plan.files?.folder}` : placeName(to);
    const job = journal.begin('publish', `${set.domainName} ${setId} to ${place}`, { plan });
    const flattenings: Flattening[] = [];
    const usable = this.#jobs.run(job, () => this.#publish(job, plan, flattenings));
    usable.catch(() => undefined); // the job says how it ended
    const independent = usable.then((result) => whenFlat(journal, result, flattenings));
    independent.catch(() => undefined);
    return { jobId: job.id, usable, independent };
  }

  async #publish(job: Job, plan: PublishPlan, flattenings: Flattening[]): Promise<PublishResult> {
    const { data } = await goWays(this.#parts, job, plan);
    flattenings.push(...(await this.#part(data)));
    return resultOf(data);
  }

  /** Copies have no parent; of clones those that have to are parted from it in the background. */
  async #part(data: PublishData): Promise<readonly Flattening[]> {
    const { plan, making, made = [] } = data;
    if (making === undefined) return [];
    const all = plan.images.map((image, index) => {
      return { image, at: cloneAt(plan, making, image, made[index]?.imageId) };
    });
    if (making.way === 'copied') {
      const { ceph } = await this.#parts.byFsid(making.fsid ?? plan.fsid);
      await allOf(all.map(({ at }) => ceph.call('dropEntry', at, DEADLINE_MS.record)));
      return [];
    }
    if (plan.flatten === 'never') return [];
    return all.map(({ image, at }) => {
      const { pool, namespace } = poolOf(plan);
      const name = { pool, namespace, image: image.image };
      const source = sourceOf(plan, image);
      return this.#flattens.begin({ fsid: plan.fsid, at, name, source, ...byOf(plan.flatten) });
    });
  }

  async flatten(name: ImageAt, by: Flatten = 'here'): Promise<Flattening> {
    const { pool, namespace, image } = name;
    for (const cluster of this.#parts.clusters()) {
      const entries = await entriesOf(cluster, { pool, namespace });
      const found = entries.find((each) => each.image === image && each.state === 'named');
      if (found === undefined) continue;
      const { at, source } = found;
      const fsid = await cluster.fsid();
      return this.#flattens.begin({ fsid, at, name, source, ...byOf(by) });
    }
    const why = 'siphon has published no such image, or it has been flattened';
    throw unable('not-found', formatImage(name), why, 'flatten');
  }

  async recover(): Promise<void> {
    const jobs = this.#jobs;
    await Promise.all(
      jobs.left().map((record) => {
        const job = jobs.resume(record);
        return jobs.runUntilDone(job, () => this.#recover(job, record));
      }),
    );
    // Not waited for: they may take long, and nobody waits for them.
    for (const record of this.#flattenJobs.left()) void this.#flattens.recover(record);
  }

  async #recover(job: Job, record: JobRecord): Promise<void> {
    let data = readPublishData(record.data);
    if (data === null) throw unreadable(record);
    const { plan, making, made, written, error } = data;
    const isWhole = made !== undefined || written !== undefined;
    if (!isWhole || error !== undefined) return this.#rollBack(job, data);
    try {
      await finishFiles(this.#parts, data);
      if (made !== undefined) {
        data = { ...data, made: await carryManifests(this.#parts, data) };
        await nameAll(await this.#parts.byFsid(making?.fsid ?? plan.fsid), data);
      }
    } catch (cause) {
      const isFinal =
        cause instanceof OperatingError && ['refused', 'not-found'].includes(cause.code);
      if (!isFinal) throw cause;
      await removeFiles(this.#parts, data);
      throw await undo(this.#parts, job, data, cause);
    }
    await this.#part(data);
    job.done(resultOf(data));
  }

  async #rollBack(job: Job, data: PublishData): Promise<void> {
    const { error, untilMs = 0, plan } = data;
    await removeFiles(this.#parts, data);
    await removeAll(this.#parts, data, true);
    const why = 'siphond ended while it was published, and what was made is removed';
    const failure = error === undefined ? unable('cancelled', plan.set, why) : fromWire(error);
    if (this.#parts.now() < untilMs) throw new StaysOpen(failure);
    job.failed(failure.toWire());
  }

  reconcile() {
    return reconcileEntries(this.#parts);
  }

  idle() {
    return this.#jobs.idle();
  }
}

async function entriesOf(cluster: Cluster, where: { pool: string; namespace: string }) {
  try {
    return await cluster.ceph.call('findEntries', where, DEADLINE_MS.look);
  } catch (error) {
    if (error instanceof OperatingError && error.code === 'not-found') return [];
    throw error;
  }
}

/** As it is when they have ended; one that has to wait for something is not independent. */
async function whenFlat(
  journal: Journal,
  result: PublishResult,
  flattenings: readonly Flattening[],
): Promise<PublishResult> {
  await Promise.all(flattenings.map(({ work }) => work));
  const images = result.images.map((image, index): PublishedImage => {
    const isDone = journal.get(flattenings[index]?.jobId ?? '')?.state === 'done';
    return isDone ? { ...image, depth: 1, isIndependent: true } : image;
  });
  return { ...result, images };
}

function resultOf({ plan, making, made = [], written }: PublishData): PublishResult {
  const result = { set: plan.set, fsid: making?.fsid ?? plan.fsid, images: made };
  return written === undefined ? result : { ...result, files: written };
}

const byOf = (flatten: Flatten): Pick<FlattenData, 'by'> =>
  flatten === 'cluster' ? { by: flatten } : {};

function placeName({ cluster, pool, namespace }: PoolTarget): string {
  const place = formatImage({ pool, namespace, image: '' });
  return cluster === undefined ? place : `${place} of ${cluster}`;
}

function unable(code: ErrorCode, subject: string, why: string, op = 'publish'): OperatingError {
  return new OperatingError({ code, op, subject, why });
}

function unreadable({ id, subject }: JobRecord): OperatingError {
  const why = 'what the journal holds of it is not readable by this version';
  const hint = 'Look for images whose names begin with siphon. in the pool, and remove them.';
  return new OperatingError({ code: 'corrupt', op: `recover job ${id}`, subject, why, hint });
}
