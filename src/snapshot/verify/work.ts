// The effects of a proof, in their order: clones, the domain, what is seen of it, and all of it removed again. The journal knows each step
// before its effect. Nothing is gone on with after a crash but the removal: a proof is tried again.

import { OperatingError, type WireError } from '../../wire/errors.ts';
import type { Job } from '../../wire/journal.ts';
import type { Cluster } from '../../wire/ports.ts';
import type { RestoreDisk } from '../../wire/restore-protocol.ts';
import type { Proof } from '../../wire/verify-api.ts';
import type { SnapshotSet } from '../../wire/vocabulary.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import { StaysOpen } from '../jobs.ts';
import { clientOf, cloneAll, dropOldLocks, nvramOf } from '../restore/work.ts';
import type { ProofData, ProofPlan } from './data.ts';
import { judge } from './judge.ts';
import { endGuest, lookAtGuest } from './look.ts';
import type { ProofParts } from './ports.ts';

/** @throws OperatingError: it could not be tried, and nothing of it is left; StaysOpen: something is, and is removed later */
export async function prove(
  parts: ProofParts,
  cluster: Cluster,
  job: Job,
  plan: ProofPlan,
  set: SnapshotSet,
): Promise<Proof> {
  const begun = { setId: plan.setId, plan, client: await clientOf(cluster) };
  job.step('cloning', begun);
  const outcome = await tried(parts, cluster, job, plan, set);
  job.step('removing', { ...begun, ...outcome });
  try {
    await settle(parts, cluster, plan, 'proof' in outcome ? outcome.proof : undefined);
  } catch (left) {
    if (!(left instanceof OperatingError)) throw left;
    const why = `not all of it is removed yet, and that is tried again: ${left.why}`;
    throw new StaysOpen(new OperatingError({ ...left.toWire(), why, cause: left }));
  }
  if ('error' in outcome) throw new OperatingError(outcome.error);
  return outcome.proof;
}

export type Outcome = { readonly proof: Proof } | { readonly error: WireError };

async function tried(
  parts: ProofParts,
  cluster: Cluster,
  job: Job,
  plan: ProofPlan,
  { leftOut }: SnapshotSet,
): Promise<Outcome> {
  try {
    const { id, disks, checks } = plan;
    // One after the other: an image in the trash is out of it for one clone at a time.
    await cloneAll(cluster, { id, disks });
    await cloneAll(cluster, { id, disks: checks });
    await keepNvram(parts, cluster, plan);
    if (job.signal.aborted) throw job.signal.reason;
    const seen = await lookAtGuest(parts, job, plan);
    return { proof: judge(seen, plan.wanted, leftOut, parts.now()) };
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { error: error.toWire() };
  }
}

async function keepNvram(
  { nvram }: ProofParts,
  { ceph }: Cluster,
  { domain }: ProofPlan,
): Promise<void> {
  if (!domain.hasNvram) return;
  await nvram.keep(domain.uuid, domain.nvram && (await nvramOf(ceph, domain.nvram)));
}

/** May be done again, after whoever did it before is gone. @throws OperatingError: something is left */
async function settle(
  parts: ProofParts,
  cluster: Cluster,
  plan: ProofPlan,
  proof: Proof | undefined,
): Promise<void> {
  await removeAll(parts, cluster, plan);
  if (proof !== undefined) await parts.record(plan.setId, proof);
}

/** Of an earlier life, or of what could not be removed then. @throws OperatingError: something is left */
export async function takeUp(parts: ProofParts, data: ProofData): Promise<Outcome> {
  const { plan, client, proof, error = interrupted(data.setId) } = data;
  if (plan === undefined) return { error };
  const cluster = await parts.byFsid(plan.fsid);
  const disks = [...plan.disks, ...plan.checks];
  await dropOldLocks(cluster, { id: plan.id, disks }, client);
  await settle(parts, cluster, plan, proof);
  return proof === undefined ? { error } : { proof };
}

async function removeAll(parts: ProofParts, { ceph }: Cluster, plan: ProofPlan): Promise<void> {
  await endGuest(parts, plan);
  const { id, disks, checks, domain } = plan;
  for (const each of [...checks, ...disks]) {
    const { target, from, wasProtected, to, name } = each;
    const disk: RestoreDisk = { target, from, wasProtected, to, name };
    await ceph.call('unplaceDisk', { id, disk }, DEADLINE_MS.drop);
  }
  if (domain.hasNvram) await parts.nvram.drop(domain.uuid);
}

function interrupted(subject: string): WireError {
  const why = 'siphond ended before it was told, and what was made is removed';
  const hint = 'Ask for it again.';
  return { code: 'cancelled', op: 'verify restore', subject, why, hint };
}
