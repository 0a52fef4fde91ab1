// The effects of a restore, in their order: clones, the record, the names, the definition. The journal knows each step before its effect;
// on any failure all is put back as it was, which may be done again at any time.

import { createHash } from 'node:crypto';
import { allOf } from '../../wire/all-of.ts';
import { type ErrorCode, OperatingError } from '../../wire/errors.ts';
import type { Job } from '../../wire/journal.ts';
import type { Cluster, LibvirtPort } from '../../wire/ports.ts';
import type { UndoAnswer } from '../../wire/restore-api.ts';
import {
  type ClonedDisk,
  type RestoreDisk,
  type RestoreRecord,
  stagingName,
} from '../../wire/restore-protocol.ts';
import type { DiskAt } from '../../wire/worker-protocol.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import { dropLocks } from '../discard.ts';
import { StaysOpen } from '../jobs.ts';
import { type FlattenData, type RestorePlan, readRestoreData, recordOf } from './data.ts';
import type { RestoreParts } from './ports.ts';

/** A disk's whole contents pass: 8 TiB at 200 MiB/s. */
const WHOLE = { deadlineMs: 12 * 3_600_000 };

/** Who works for this job now, known before it takes a lock. */
export async function clientOf({ ceph }: Cluster): Promise<string> {
  return (await ceph.call('status', { as: 'restore' }, DEADLINE_MS.look)).client;
}

/** Locks that an earlier try of the job died with. */
export async function dropOldLocks(
  cluster: Cluster,
  { id, disks }: Pick<RestoreRecord, 'id' | 'disks'>,
  client: string | undefined,
): Promise<void> {
  if (client === undefined) return;
  const images = await allOf(disks.map((disk) => imagesOf(cluster, id, disk)));
  await dropLocks(cluster, images.flat(), client);
}

/** All that a restore of the disk may have open: by their ids, and the clone that has none yet. */
async function imagesOf({ ceph }: Cluster, id: string, disk: RestoreDisk): Promise<DiskAt[]> {
  const { from, to, oldId, newId, target } = disk;
  const poolOf = (poolId: number) => ceph.call('poolName', { poolId }, DEADLINE_MS.look);
  const [source, destination] = await allOf([poolOf(from.poolId), poolOf(to.poolId)]);
  const at = { pool: destination?.name ?? '', namespace: to.namespace, image: to.image };
  const origin = { ...at, pool: source?.name ?? '', namespace: from.namespace };
  return [
    { ...origin, imageId: from.imageId },
    ...[oldId, newId].flatMap((imageId) => (imageId === undefined ? [] : [{ ...at, imageId }])),
    ...(newId === undefined ? [{ ...at, image: stagingName(id, target) }] : []),
  ];
}

/** Makes the clones, and puts them in their places. @throws OperatingError: all is as it was; StaysOpen: it is not yet */
export async function restoreDisks(
  parts: RestoreParts,
  cluster: Cluster,
  job: Job,
  plan: RestorePlan,
): Promise<RestorePlan> {
  const client = await clientOf(cluster);
  job.step('cloning', { plan, client });
  try {
    const cloned = { ...plan, disks: await cloneAll(cluster, plan) };
    if (job.signal.aborted) throw job.signal.reason;
    job.step('placing', { plan: cloned, client });
    await placeAll(parts, cluster, cloned);
    return cloned;
  } catch (error) {
    if (!(error instanceof OperatingError) || error instanceof StaysOpen) throw error;
    return await giveUp(parts, cluster, job, plan, error);
  }
}

/** Each under its marked name. */
export function cloneAll(
  { ceph }: Cluster,
  { id, disks }: Pick<RestorePlan, 'id' | 'disks'>,
): Promise<RestorePlan['disks']> {
  return allOf(
    disks.map(async (disk) => {
      const { imageId } = await ceph.call('cloneDisk', { id, disk }, DEADLINE_MS.drop);
      return { ...disk, newId: imageId };
    }),
  );
}

/** Forward, from wherever it was left. The record comes first: it leads to what is in the trash. */
export async function placeAll(
  { libvirt, nvram }: Pick<RestoreParts, 'libvirt' | 'nvram'>,
  { ceph }: Cluster,
  plan: RestorePlan,
): Promise<void> {
  const { id, disks, way, domain } = plan;
  if (way === 'in-place') await ceph.call('putRestore', recordOf(plan), DEADLINE_MS.record);
  await allOf(
    disks.map((disk) => {
      return ceph.call('placeDisk', { id, disk: disk as ClonedDisk }, DEADLINE_MS.drop);
    }),
  );
  if (domain === undefined) return;
  if (domain.nvram) await nvram.keep(domain.uuid, await nvramOf(ceph, domain.nvram));
  await define(libvirt, domain);
}

type NewDomain = NonNullable<RestorePlan['domain']>;

/** @throws OperatingError corrupt: they are not the bytes that were kept */
export async function nvramOf(
  ceph: Cluster['ceph'],
  { set, copy }: NonNullable<NewDomain['nvram']>,
): Promise<Buffer> {
  const { base64 } = await ceph.call('readKept', { set, what: 'nvram' }, DEADLINE_MS.record);
  const bytes = Buffer.from(base64, 'base64');
  if (createHash('sha256').update(bytes).digest('hex') === copy.sha256) return bytes;
  const why = 'its digest is not the one that the set has';
  const subject = copy.object;
  throw new OperatingError({ code: 'corrupt', op: 'read kept file', subject, why });
}

/** Where it could not be told whether it was defined: a domain that is has to keep its disks. */
async function define(libvirt: LibvirtPort, { uuid, xml }: NewDomain): Promise<void> {
  try {
    await libvirt.call('define', { xml }, DEADLINE_MS.libvirt);
  } catch (error) {
    if (!(error instanceof OperatingError) || error.code !== 'unavailable') throw error;
    const isThere = await isDefined(libvirt, uuid);
    if (isThere === undefined) throw new StaysOpen(error);
    if (!isThere) throw error;
  }
}

/** undefined: libvirt does not say. */
async function isDefined(libvirt: LibvirtPort, domain: string): Promise<boolean | undefined> {
  try {
    await libvirt.call('lookUp', { domain }, DEADLINE_MS.libvirt);
    return true;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return error.code === 'not-found' ? false : undefined;
  }
}

/** Puts all back, and throws why it had to. */
export async function giveUp(
  parts: RestoreParts,
  cluster: Cluster,
  job: Job,
  plan: RestorePlan,
  error: OperatingError,
): Promise<never> {
  // With the clones' ids, once the journal has them.
  const known = readRestoreData(parts.journal.get(job.id)?.data) ?? { plan };
  job.step('returning', { ...known, error: error.toWire() });
  try {
    await putBack(parts, cluster, known.plan);
  } catch (left) {
    if (!(left instanceof OperatingError)) throw left;
    const why = `${error.why}; it is not put back yet, and tried again: ${left.why}`;
    throw new StaysOpen(new OperatingError({ ...error.toWire(), why, cause: left }));
  }
  throw error;
}

export async function putBack(
  { nvram }: RestoreParts,
  { ceph }: Cluster,
  plan: RestorePlan,
): Promise<void> {
  const { id, disks, way, domain } = plan;
  await allOf(disks.map((disk) => ceph.call('unplaceDisk', { id, disk }, DEADLINE_MS.drop)));
  if (way === 'in-place') await ceph.call('removeRestore', recordOf(plan), DEADLINE_MS.record);
  if (domain !== undefined) await nvram.drop(domain.uuid);
}

/** Makes each image what its snapshot is. Once begun it has to come to its end: what is between is neither. */
export async function rollBack(cluster: Cluster, job: Job, plan: RestorePlan): Promise<void> {
  job.step('rolling back', { plan, client: await clientOf(cluster) });
  const totalBytes = plan.disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let before = 0;
  for (const disk of plan.disks) {
    const onProgress = tellOf(job, disk.sizeBytes, before, totalBytes);
    await cluster.ceph.call('rollBackDisk', { disk }, { ...WHOLE, onProgress });
    before += disk.sizeBytes;
  }
}

/** Once begun it has to come to its end, too. */
export async function undoRestore(
  cluster: Cluster,
  job: Job,
  record: RestoreRecord,
): Promise<UndoAnswer> {
  const { ceph } = cluster;
  const { id, setId: set } = record;
  job.step('taking back', { record, client: await clientOf(cluster) });
  const disks = await allOf(
    record.disks.map(async (disk) => {
      const { clone } = await ceph.call('unplaceDisk', { id, disk }, DEADLINE_MS.drop);
      return { target: disk.target, image: disk.name, clone };
    }),
  );
  await ceph.call('removeRestore', record, DEADLINE_MS.record);
  return { id, set, disks };
}

/** Work that is begun and has to come to its end: what stands in its way now may not do so later. */
export async function untilDone<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const isLater = error instanceof OperatingError && LATER.includes(error.code);
    throw isLater ? new StaysOpen(error) : error;
  }
}

const LATER: readonly ErrorCode[] = ['unavailable', 'busy', 'denied'];

/** One after the other; then nobody needs a protected snapshot of theirs. */
export async function flattenAll(
  { ceph }: Cluster,
  job: Job,
  { disks }: FlattenData,
): Promise<void> {
  const totalBytes = disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let before = 0;
  for (const disk of disks) {
    const onProgress = tellOf(job, disk.sizeBytes, before, totalBytes);
    const bounds = { ...WHOLE, onProgress, signal: job.signal };
    await unlessRemoved(ceph.call('flattenDisk', { disk }, bounds));
    if (!disk.wasProtected) await ceph.call('unprotectSnapshot', disk.from, DEADLINE_MS.snapshot);
    before += disk.sizeBytes;
  }
}

/** A clone that is gone, by an undo perhaps, needs no parent. */
async function unlessRemoved(work: Promise<null>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof OperatingError) || error.code !== 'not-found') throw error;
  }
}

/** Of a whole, in which this disk begins at `before`. */
function tellOf(job: Job, sizeBytes: number, before: number, totalBytes: number) {
  return ({ done, total }: { readonly done: number; readonly total: number }) => {
    const share = total === 0 ? 1 : done / total;
    job.progress({ doneBytes: before + Math.floor(share * sizeBytes), totalBytes });
  };
}
