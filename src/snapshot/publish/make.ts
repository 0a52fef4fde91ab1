// Images made of a set's snapshots, by clones of Ceph's or by copies: look, protect, clone or copy, name. Each step's intent is durable
// before it; whatever fails is undone at once, the clone first, then the protection of what it is cloned from.

import { allOf } from '../../wire/all-of.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { Job, JobProgress } from '../../wire/journal.ts';
import type { Cluster } from '../../wire/ports.ts';
import type { PublishedFile, PublishedImage, PublishWay } from '../../wire/publish-api.ts';
import {
  type CloneAt,
  PUBLISHED_SNAP,
  type PublishEntry,
  type PublishPlace,
  type PublishSource,
} from '../../wire/publish-protocol.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import { dropLocks, ownClient } from '../discard.ts';
import { StaysOpen } from '../jobs.ts';
import { type PlannedImage, type PublishData, type PublishPlan, poolOf, sourceOf } from './data.ts';
import { carryManifests, dropManifests } from './manifests.ts';
import { decidePublish, type PublishDecision } from './plan.ts';
import type { PublishParts } from './ports.ts';

/** What a way came to. `failed`: nothing of it is left; `isFinal`: it would be the same in any other. */
export type Outcome =
  | {
      readonly kind: 'usable';
      readonly images: readonly PublishedImage[];
      readonly files?: readonly PublishedFile[];
      readonly data: PublishData;
    }
  | {
      readonly kind: 'failed';
      readonly way: PublishWay | 'file';
      readonly error: OperatingError;
      readonly isFinal: boolean;
    };

/** How images are made, and for a copy why it is one. `elsewhere`: the cluster that gets them, where it is not the set's. */
export type Making =
  | { readonly way: 'native' }
  | { readonly way: 'copied'; readonly whyCopied: string; readonly elsewhere?: Cluster };

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
    const ends = await endsOf(parts, plan, how);
    const looked = await lookAll(parts, ends, plan, how);
    const [{ poolId, format, client } = absurd()] = looked.map(({ facts }) => facts);
    const more = {
      ...(how.way === 'native' && { snapshotClient: await ownClient(ends.from) }),
      ...(ends.to !== ends.from && { fsid: await ends.to.fsid() }),
    };
    job.signal.throwIfAborted();
    data = { plan, making: { way: how.way, poolId, format, client, ...more } };
    job.step(STEPS[how.way], data);
    const made = await makeAll(parts, ends, job, data, looked, how);
    data = { ...data, made };
    job.step('naming', data);
    const carried = await carryManifests(parts, data);
    await nameAll(ends.to, data);
    return { kind: 'usable', images: carried, data: { ...data, made: carried } };
  } catch (thrown) {
    const error = operating(thrown, job, plan.set);
    const isFinal = error instanceof Refusal && error.isFinal;
    return { kind: 'failed', way: how.way, error: await undo(parts, job, data, error), isFinal };
  }
}

/** The cluster of the disks, and that of the images. */
interface Ends {
  readonly from: Cluster;
  readonly to: Cluster;
}

async function endsOf({ byFsid }: PublishParts, { fsid }: PublishPlan, how: Making): Promise<Ends> {
  const from = await byFsid(fsid);
  return { from, to: how.way === 'copied' && how.elsewhere !== undefined ? how.elsewhere : from };
}

/** What was decided before anything was made. */
export class Refusal extends OperatingError {
  readonly isFinal: boolean;

  constructor({ error, isFinal }: PublishDecision & { readonly kind: 'refuse' }) {
    super(error);
    this.isFinal = isFinal;
  }
}

/** What a look at a plan's image gave, as far as it may go on. */
interface Looked {
  readonly image: PlannedImage;
  readonly facts: PublishSource & PublishPlace;
  readonly depth: number;
}

async function lookAll(
  { log }: PublishParts,
  ends: Ends,
  plan: PublishPlan,
  { way }: Making,
): Promise<readonly Looked[]> {
  return await allOf(
    plan.images.map(async (image): Promise<Looked> => {
      const { pool, namespace } = poolOf(plan);
      const to = { pool, namespace, image: image.image };
      const [source, place] = await Promise.all([
        ends.from.ceph.call('lookAtSource', sourceOf(plan, image), DEADLINE_MS.look),
        ends.to.ceph.call('lookAtPlace', to, DEADLINE_MS.look),
      ]);
      const facts = { ...source, ...place };
      const decision = decidePublish(plan, image, facts, way);
      if (decision.kind === 'refuse') throw new Refusal(decision);
      if (decision.warning !== undefined) log.warn({ set: plan.set }, decision.warning);
      return { image, facts, depth: decision.depth };
    }),
  );
}

async function makeAll(
  { host, limitCopy, now }: PublishParts,
  { from, to: { ceph } }: Ends,
  job: Job,
  { plan, making }: PublishData,
  looked: readonly Looked[],
  how: Making,
): Promise<readonly PublishedImage[]> {
  const { set, flatten } = plan;
  const { pool, namespace } = poolOf(plan);
  const isCopy = how.way === 'copied';
  const { elsewhere, ...way } = { elsewhere: undefined, ...how };
  const settings = elsewhere && { from: { ...from.settings, fsid: plan.fsid } };
  const progress = progressOf(job, looked.length);
  return await allOf(
    looked.map(async ({ image, facts, depth }, index): Promise<PublishedImage> => {
      const source = sourceOf(plan, image);
      const { format, sizeBytes, isEncrypted, client } = facts;
      if (format === 1 && !isCopy) await ceph.call('protectSource', source, DEADLINE_MS.snapshot);
      const what = { schema: 1, host, set, source, format, image: image.image } as const;
      const entry: PublishEntry = {
        ...what,
        atMs: now(),
        client,
        ...(flatten === 'never' && !isCopy && { isLinked: true }),
        ...(isCopy && { isCopy }),
      };
      const asked = { to: cloneAt(plan, making, image), entry };
      const bounds = { signal: job.signal, onProgress: progress(index) };
      const made = await (isCopy
        ? limitCopy(() => {
            job.signal.throwIfAborted();
            const what = { ...asked, ...settings };
            return ceph.call('makeCopy', what, { ...DEADLINE_MS.flatten, ...bounds });
          })
        : ceph.call('makeClone', asked, { ...DEADLINE_MS.clone, signal: job.signal }));
      const { target, image: name } = image;
      const named = { target, pool, namespace, image: name, snap: PUBLISHED_SNAP };
      const state = { ...way, isIndependent: isCopy, depth };
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
  plan: PublishPlan,
  making: PublishData['making'],
  { marked }: PlannedImage,
  imageId?: string,
): CloneAt {
  const at = { poolId: making?.poolId ?? -1, namespace: poolOf(plan).namespace, marked };
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
  data: PublishData,
  isDead = false,
): Promise<void> {
  const { plan, making, made = [] } = data;
  if (making === undefined) return;
  const cluster = await byFsid(making.fsid ?? plan.fsid);
  const dead = isDead ? { dead: making.client } : {};
  const isProtecting = making.way === 'native' && making.format === 1;
  if (isDead && isProtecting && making.snapshotClient !== undefined) {
    const disks = plan.images.map(({ disk }) => disk);
    await dropLocks(cluster, disks, making.snapshotClient);
  }
  await dropManifests(cluster, data);
  await allOf(
    plan.images.map(async (image, index) => {
      const at = cloneAt(plan, making, image, made[index]?.imageId);
      await cluster.ceph.call('removeClone', { at, ...dead }, DEADLINE_MS.clone);
      if (!isProtecting) return;
      await cluster.ceph.call('releaseSource', sourceOf(plan, image), DEADLINE_MS.snapshot);
    }),
  );
}

/** What a cancelled job threw is that it was. @throws what is no operating error */
export function operating(error: unknown, { signal }: Job, subject: string): OperatingError {
  if (error instanceof OperatingError) return error;
  if (!signal.aborted) throw error;
  return new OperatingError({ code: 'cancelled', op: 'publish', subject, cause: error });
}

function absurd(): never {
  throw new TypeError('a set without disks');
}
