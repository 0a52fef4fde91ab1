// Disks of a set to files, where they cannot become images, or are wanted so: look, measure, write, name. All of them get their names, or
// nothing of them is left.

import path from 'node:path';
import { allOf } from '../../wire/all-of.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { Job } from '../../wire/journal.ts';
import type { FillPort } from '../../wire/ports.ts';
import type { PublishedFile } from '../../wire/publish-api.ts';
import type { PublishSource } from '../../wire/publish-protocol.ts';
import type { SaveSource } from '../../wire/save-protocol.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import { StaysOpen } from '../jobs.ts';
import {
  type FilePlan,
  type PlannedImage,
  type PublishData,
  type PublishPlan,
  sourceOf,
} from './data.ts';
import { type Outcome, operating, Refusal } from './make.ts';
import { assertRoom, decideEncrypted } from './plan.ts';
import type { FilePaths, PublishParts } from './ports.ts';

/** `why`: it is no image. @throws OperatingError StaysOpen: what was made could not be removed yet */
export async function writeFiles(
  parts: PublishParts,
  job: Job,
  plan: PublishPlan & { readonly files: FilePlan },
  why?: string,
): Promise<Outcome> {
  const all = allPaths(plan, plan.files);
  let data: PublishData = { plan };
  try {
    const looked = await lookAll(parts, plan);
    await parts.disk.assertFree(all);
    const written = await withWorker(parts, job, async (worker) => {
      await makeRoom(worker, parts, plan, job.signal);
      data = { plan, writing: plan.files };
      job.step('writing', data);
      return await writeAll(worker, parts, job, plan, looked);
    });
    const files =
      why === undefined ? written : written.map((file) => ({ ...file, whyCopied: why }));
    data = { ...data, written: files };
    job.step('naming', data);
    await parts.disk.nameFiles(all);
    return { kind: 'usable', images: [], files, data };
  } catch (thrown) {
    const error = operating(thrown, job, plan.set);
    const isFinal = error instanceof Refusal;
    return { kind: 'failed', way: 'file', error: await undo(parts, job, data, error), isFinal };
  }
}

/** May be done again. @throws OperatingError refused: somebody took a name meanwhile */
export async function finishFiles(
  { disk }: PublishParts,
  { plan, writing }: PublishData,
): Promise<void> {
  if (writing !== undefined) await disk.nameFiles(allPaths(plan, writing));
}

export async function removeFiles(
  { disk }: PublishParts,
  { plan, writing }: PublishData,
): Promise<void> {
  if (writing !== undefined) await disk.dropFiles(allPaths(plan, writing));
}

export function pathsOf(
  { folder, format }: FilePlan,
  { marked, file }: Pick<PlannedImage, 'marked' | 'file'>,
): FilePaths {
  return {
    partial: path.join(folder, `.${marked}.partial`),
    path: path.join(folder, `${file}.${format}`),
  };
}

function allPaths({ images }: PublishPlan, files: FilePlan): readonly FilePaths[] {
  return images.map((image) => pathsOf(files, image));
}

async function lookAll(
  { byFsid }: PublishParts,
  plan: PublishPlan,
): Promise<readonly PublishSource[]> {
  const { ceph } = await byFsid(plan.fsid);
  return await allOf(
    plan.images.map(async (image) => {
      const found = await ceph.call('lookAtSource', sourceOf(plan, image), DEADLINE_MS.look);
      const refusal = decideEncrypted(plan, image, found, plan.set);
      if (refusal !== undefined) throw new Refusal(refusal);
      return found;
    }),
  );
}

/** It has ended when this returns: nobody writes any more. */
async function withWorker<T>(
  { startFileWorker }: PublishParts,
  { id }: Job,
  work: (worker: FillPort) => Promise<T>,
): Promise<T> {
  await using worker = startFileWorker(id);
  return await work(worker);
}

async function saveSource(
  { byFsid }: PublishParts,
  plan: PublishPlan,
  image: PlannedImage,
): Promise<SaveSource> {
  const { settings: ceph } = await byFsid(plan.fsid);
  const { poolId, namespace, imageId, snapId, snap } = sourceOf(plan, image);
  const { pool, image: name } = image.disk;
  return {
    ceph,
    ids: { fsid: plan.fsid, poolId, namespace, imageId, snapId },
    name: { pool, namespace, image: name, snap },
  };
}

/** @throws OperatingError exhausted */
async function makeRoom(
  worker: FillPort,
  parts: PublishParts,
  plan: PublishPlan & { readonly files: FilePlan },
  signal: AbortSignal,
): Promise<void> {
  const { folder, format } = plan.files;
  await parts.disk.freeBytesIn(folder); // that it is there is asked first
  let neededBytes = 0;
  for (const image of plan.images) {
    const asked = { ...(await saveSource(parts, plan, image)), format };
    neededBytes += (await worker.call('measureDisk', asked, { ...DEADLINE_MS.clone, signal }))
      .neededBytes;
  }
  assertRoom(plan.files, neededBytes, await parts.disk.freeBytesIn(folder));
}

/** One after the other: each has the memory of the worker for itself. */
async function writeAll(
  worker: FillPort,
  parts: PublishParts,
  job: Job,
  plan: PublishPlan & { readonly files: FilePlan },
  looked: readonly PublishSource[],
): Promise<PublishedFile[]> {
  const { format } = plan.files;
  const totalBytes = looked.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const files: PublishedFile[] = [];
  let beforeBytes = 0;
  for (const [index, image] of plan.images.entries()) {
    const { partial, path: file } = pathsOf(plan.files, image);
    const asked = { ...(await saveSource(parts, plan, image)), partialPath: partial, format };
    const saved = await worker.call('saveDisk', asked, {
      ...DEADLINE_MS.flatten,
      signal: job.signal,
      onProgress: ({ doneBytes }) =>
        job.progress({ doneBytes: beforeBytes + doneBytes, totalBytes }),
    });
    beforeBytes += saved.sizeBytes;
    const encrypted = looked[index]?.isEncrypted === true && { isEncrypted: true as const };
    files.push({ target: image.target, path: file, format, ...saved, ...encrypted });
  }
  return files;
}

/** Gives the error that it failed with. @throws OperatingError StaysOpen: it is tried again */
async function undo(
  parts: PublishParts,
  job: Job,
  data: PublishData,
  error: OperatingError,
): Promise<OperatingError> {
  if (data.writing === undefined) return error;
  const { log, now } = parts;
  job.step('removing', { ...data, error: error.toWire(), untilMs: now() });
  try {
    await removeFiles(parts, data);
  } catch (cause) {
    if (!(cause instanceof OperatingError)) throw cause;
    log.warn({ job: job.id, error: cause.toWire() }, 'what was written is not removed yet');
    throw new StaysOpen(error);
  }
  return error;
}
