// Which way images are made, and which is gone where that fails: the one place where another is.

import { OperatingError } from '../../wire/errors.ts';
import type { Job } from '../../wire/journal.ts';
import type { Cluster } from '../../wire/ports.ts';
import { TO_FILE } from '../../wire/publish-api.ts';
import type { FilePlan, PublishPlan } from './data.ts';
import { writeFiles } from './files.ts';
import { makeImages, type Outcome } from './make.ts';
import { decideNext, type NextWay } from './plan.ts';
import type { PublishParts } from './ports.ts';

export type Usable = Outcome & { readonly kind: 'usable' };

const TRIED = { copied: 'a copy was tried', file: 'a file was tried' } as const;

/** @throws OperatingError: that of the last way, with the reasons of all; nothing is left */
export async function goWays(parts: PublishParts, job: Job, plan: PublishPlan): Promise<Usable> {
  let outcome = await first(parts, job, plan);
  let why = '';
  for (let word: string | undefined; outcome.kind === 'failed'; ) {
    const { error } = outcome;
    why = word === undefined ? error.why : `${error.why}; ${word}, since: ${why}`;
    const next = decideNext(plan, outcome);
    if (next.kind === 'none') throw failure(error, why, next);
    parts.log.warn({ job: job.id, error: error.toWire(), next: next.kind }, 'another way is gone');
    word = TRIED[next.kind];
    outcome =
      next.kind === 'file'
        ? await writeFiles(parts, job, withFiles(plan), why)
        : await makeImages(parts, job, plan, { way: 'copied', whyCopied: why });
  }
  return outcome;
}

async function first(parts: PublishParts, job: Job, plan: PublishPlan): Promise<Outcome> {
  if (plan.to === TO_FILE) return await writeFiles(parts, job, withFiles(plan));
  const elsewhere = await otherCluster(parts, plan);
  if (elsewhere === undefined) return await makeImages(parts, job, plan, { way: 'native' });
  const whyCopied = `it goes to another cluster, ${elsewhere.name}`;
  return await makeImages(parts, job, plan, { way: 'copied', whyCopied, elsewhere });
}

/** Clones are in the cluster of what they are cloned from. @throws OperatingError not-found */
async function otherCluster(
  parts: PublishParts,
  { to, fsid }: PublishPlan,
): Promise<Cluster | undefined> {
  if (to === TO_FILE || to.cluster === undefined) return undefined;
  const found = clusterNamed(parts, to.cluster);
  return (await found.fsid()) === fsid ? undefined : found;
}

/** @throws OperatingError not-found */
export function clusterNamed({ clusters }: Pick<PublishParts, 'clusters'>, name: string): Cluster {
  const all = clusters();
  const found = all.find((each) => each.name === name);
  if (found !== undefined) return found;
  const why = `the config names ${all.map((each) => each.name).join(', ')}`;
  throw new OperatingError({ code: 'not-found', op: 'find cluster', subject: name, why });
}

function withFiles(plan: PublishPlan): PublishPlan & { readonly files: FilePlan } {
  const { files } = plan;
  if (files === undefined) throw new TypeError('a plan without a folder for files');
  return { ...plan, files };
}

function failure(
  error: OperatingError,
  why: string,
  { hint = error.hint }: NextWay & { readonly kind: 'none' },
): OperatingError {
  if (why === error.why && hint === error.hint) return error;
  const { code, op, subject } = error;
  const fields = { code, op, subject, why, cause: error };
  return new OperatingError({ ...fields, ...(hint !== undefined && { hint }) });
}
