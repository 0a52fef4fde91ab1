// Images made of a set's snapshots, by clones of Ceph's or by copies: look, protect, clone or copy, name. Each step's intent is durable
// before it; whatever fails is undone at once, the clone first, then the protection of what it is cloned from.

import { allOf } from '../../wire/all-of.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { Job, JobProgress } from '../../wire/journal.ts';
import type { Cluster } from '../../wire/ports.ts';
import type { PublishedImage } from '../../wire/publish-api.ts';
import {
  type CloneAt,
  PUBLISHED_SNAP,
  type PublishEntry,
  type PublishFacts,
} from '../../wire/publish-protocol.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import { dropLocks, ownClient } from '../discard.ts';
import { StaysOpen } from '../jobs.ts';
import { type PlannedImage, type PublishData, type PublishPlan, sourceOf } from './data.ts';
import { decidePublish, type PublishDecision } from './plan.ts';
import type { PublishParts } from './ports.ts';

/** What a way came to. `failed`: nothing of it is left, and another may be gone; `isOfClones`: it may not fail there. */
export type Outcome =
  | {
      readonly kind: 'usable';
      readonly images: readonly PublishedImage[];
      readonly data: PublishData;
    }
  | {
      readonly kind: 'failed';
      readonly error: OperatingError;
      readonly isOfClones: boolean;
    };

/** How images are made, and for a copy why it is one. */
export type Making =
  | { readonly way: 'native' }
  | { readonly way: 'copied'; readonly whyCopied: string };

const STEPS = { native: 'cloning', copied: 'copying' } as const;

/** From a call that got no answer, or was not waited for: it has ended by then, as librados' own timeouts have. */
export const LOOK_AGAIN_MS = 40_000;

/** @throws OperatingError StaysOpen: what was made could not be removed yet, or may come later */
export async function makeImages(
  parts: PublishParts,
  job: Job,
  plan: PublishPlan,
  how: Making,
): Promise<Outcome> {
  let data: PublishData = { plan };
  try {
    const cluster = await parts.byFsid(plan.fsid);
    const looked = await lookAll(parts, cluster, plan, how);
    const snapshotClient = await ownClient(cluster);
    const [{ poolId, format, client } = absurd()] = looked.map(({ facts }) => facts);
    job.signal.throwIfAborted();
    data = { plan, making: { way: how.way, poolId, format, client, snapshotClient } };
    job.step(STEPS[how.way], data);
    const made = await makeAll(parts, cluster, job, data, looked, how);
    data = { ...data, made };
    job.step('naming', data);
    await nameAll(cluster, data);
    return { kind: 'usable', images: made, data };
  } catch (thrown) {
    const error = operating(thrown, job, plan);
    const isOfClones = !(error instanceof Refusal) || error.isOfClones;
    return { kind: 'failed', error: await undo(parts, job, data, error), isOfClones };
  }
}

/** What was decided before anything was made. */
class Refusal extends OperatingError {
  readonly isOfClones: boolean;

  constructor({ error, isOfClones }: PublishDecision & { readonly kind: 'refuse' }) {
    super(error);
    this.isOfClones = isOfClones;
  }
}

/** What a look at a plan's image gave, as far as it may go on. */
interface Looked {
  readonly image: PlannedImage;
  readonly facts: PublishFacts;
  readonly depth: number;
}

async function lookAll(
  { log }: PublishParts,
  { ceph }: Cluster,
  plan: PublishPlan,
  { way }: Making,
): Promise<readonly Looked[]> {
  return await allOf(
    plan.images.map(async (image): Promise<Looked> => {
      const to = { ...plan.to, image: image.image };
      const asked = { source: sourceOf(plan, image), to };
      const facts = await ceph.call('lookToPublish', asked, DEADLINE_MS.look);
      const decision = decidePublish(plan, image, facts, way);
      if (decision.kind === 'refuse') throw new Refusal(decision);
      if (decision.warning !== undefined) log.warn({ set: plan.set }, decision.warning);
      return { image, facts, depth: decision.depth };
    }),
  );
}

async function makeAll(
  { host }: PublishParts,
  { ceph }: Cluster,
  job: Job,
  { plan, making }: PublishData,
  looked: readonly Looked[],
  how: Making,
): Promise<readonly PublishedImage[]> {
  const { set, to, flatten } = plan;
  const isCopy = how.way === 'copied';
  const progress = progressOf(job, looked.length);
  return await allOf(
    looked.map(async ({ image, facts, depth }, index): Promise<PublishedImage> => {
      const source = sourceOf(plan, image);
      const { format, sizeBytes, isEncrypted } = facts;
      if (format === 1 && !isCopy) await ceph.call('protectSource', source, DEADLINE_MS.snapshot);
      const linked = flatten === 'never' && !isCopy && { isLinked: true as const };
      const what = { schema: 1, host, set, source, format, image: image.image } as const;
      const entry: PublishEntry = { ...what, ...linked };
      const asked = { to: cloneAt(plan, making, image), entry };
      const bounds = { signal: job.signal, onProgress: progress(index) };
      const made = await (isCopy
        ? ceph.call('makeCopy', asked, { ...DEADLINE_MS.flatten, ...bounds })
        : ceph.call('makeClone', asked, { ...DEADLINE_MS.clone, signal: job.signal }));
      const named = { target: image.target, ...to, image: image.image, snap: PUBLISHED_SNAP };
      const state = { ...how, isIndependent: isCopy, depth };
      return { ...named, ...made, sizeBytes, ...state, ...(isEncrypted && { isEncrypted: true }) };
    }),
  );
}

/** Of several images as of one. */
function progressOf(job: Job, count: number) {
  const all: JobProgress[] = Array.from({ length: count }, () => ({ doneBytes: 0, totalBytes: 0 }));
  const sum = (of: 'doneBytes' | 'totalBytes') => all.reduce((total, each) => total + each[of], 0);
  return (index: number) => (progress: JobProgress) => {
    all[index] = progress;
    job.progress({ doneBytes: sum('doneBytes'), totalBytes: sum('totalBytes') });
  };
}

export function cloneAt(
  { to }: PublishPlan,
  making: PublishData['making'],
  { marked }: PlannedImage,
  imageId?: string,
): CloneAt {
  const at = { poolId: making?.poolId ?? -1, namespace: to.namespace, marked };
  return imageId === undefined ? at : { ...at, imageId };
}

/** May be done again. @throws OperatingError refused: somebody took a name meanwhile; not-found: somebody removed an image */
export async function nameAll(
  { ceph }: Cluster,
  { plan, making, made = [] }: PublishData,
): Promise<void> {
  await allOf(
    plan.images.map((image, index) => {
      const at = cloneAt(plan, making, image, made[index]?.imageId);
      return ceph.call('nameClone', { at, image: image.image }, DEADLINE_MS.record);
    }),
  );
}

/** Gives the error that it failed with. @throws OperatingError StaysOpen: it is tried again */
export async function undo(
  parts: PublishParts,
  job: Job,
  data: PublishData,
  error: OperatingError,
): Promise<OperatingError> {
  if (data.making === undefined) return error;
  const mayComeLate = error.code === 'unavailable' || error.code === 'cancelled';
  const untilMs = parts.now() + (mayComeLate ? LOOK_AGAIN_MS : 0);
  const failed = { ...data, error: error.toWire(), untilMs };
  job.step('removing', failed);
  try {
    await removeAll(parts, failed);
  } catch (cause) {
    if (!(cause instanceof OperatingError)) throw cause;
    parts.log.warn({ job: job.id, error: cause.toWire() }, 'what was made is not removed yet');
    throw new StaysOpen(error);
  }
  if (mayComeLate) throw new StaysOpen(error);
  return error;
}

/** All that may have been made. `isDead`: by an earlier life of siphond. May be done again. @throws OperatingError */
export async function removeAll(
  { byFsid }: PublishParts,
  { plan, making, made = [] }: PublishData,
  isDead = false,
): Promise<void> {
  if (making === undefined) return;
  const cluster = await byFsid(plan.fsid);
  const dead = isDead ? { dead: making.client } : {};
  const isProtecting = making.way === 'native' && making.format === 1;
  if (isDead && isProtecting) {
    const disks = plan.images.map(({ disk }) => disk);
    await dropLocks(cluster, disks, making.snapshotClient);
  }
  await allOf(
    plan.images.map(async (image, index) => {
      const at = cloneAt(plan, making, image, made[index]?.imageId);
      await cluster.ceph.call('removeClone', { at, ...dead }, DEADLINE_MS.clone);
      if (!isProtecting) return;
      await cluster.ceph.call('releaseSource', sourceOf(plan, image), DEADLINE_MS.snapshot);
    }),
  );
}

function operating(error: unknown, { signal }: Job, { set }: PublishPlan): OperatingError {
  if (error instanceof OperatingError) return error;
  if (!signal.aborted) throw error;
  return new OperatingError({ code: 'cancelled', op: 'publish', subject: set, cause: error });
}

function absurd(): never {
  throw new TypeError('a set without disks');
}
