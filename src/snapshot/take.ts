// Takes one set: look, decide, snapshots of all disks in parallel, look again, record in Ceph and catalogue. The journal knows
// each step before its effect; on any failure what was taken is removed.

import { type Domain, parseDomain } from '../domain/domain.ts';
import { allOf } from '../wire/all-of.ts';
import { type ErrorCode, OperatingError } from '../wire/errors.ts';
import type { Job } from '../wire/journal.ts';
import type { Cluster } from '../wire/ports.ts';
import type { SetDisk, SnapshotSet, Wanted } from '../wire/vocabulary.ts';
import type { ImageUse } from '../wire/worker-protocol.ts';
import type { Control } from './control.ts';
import { type Creation, createAtOnce, createHeld } from './create.ts';
import { DEADLINE_MS } from './deadlines.ts';
import {
  type DiskUse,
  decideAsked,
  decidePrepare,
  decideRelease,
  decideScheduled,
  decideStill,
  newlyLocked,
  type TakeDecision,
} from './decide.ts';
import { discardPlan, discardSet, ownClient } from './discard.ts';
import { chooseDisks } from './disks.ts';
import type { Member } from './holds.ts';
import type { DeleteData, Draft, Plan } from './job-data.ts';
import { type Found, keepFiles, notKept, readFiles } from './kept-files.ts';
import { decideLimits, type SnapshotCount } from './limits.ts';
import { measureDisks } from './measure.ts';
import { ownerOf } from './neighbours.ts';
import type { SnapshotParts } from './ports.ts';
import { snapshotName } from './set-id.ts';
import type { Seat } from './together.ts';

type Made = Extract<Creation, { kind: 'made' }>;

export interface Taking {
  readonly job: Job;
  readonly draft: Draft;
  readonly control: Control;
  readonly seat: Seat;
}

/** What a failure left for a second look, beside the failure itself. */
export class SetFailure extends OperatingError {
  /** Snapshots may still be there, or appear later: a call that failed can yet be carried out by the lock's owner. */
  readonly leftovers: DeleteData | undefined;

  constructor(error: OperatingError, leftovers: DeleteData | undefined) {
    super({ ...error.toWire(), cause: error });
    this.leftovers = leftovers;
  }
}

/** @throws SetFailure, OperatingError: nothing was taken, or what was taken is removed but for the failure's leftovers */
export async function takeSet(parts: SnapshotParts, taking: Taking): Promise<SnapshotSet> {
  const { job, draft, control } = taking;
  const domain = parseDomain(draft.domainXml);
  const { cluster, chosen, leftOut } = await chooseCluster(parts, domain, draft.wanted);
  const fsid = await cluster.fsid();
  const isActive = await isActiveNow(parts, draft, domain.uuid);
  const named = chosen.map(({ target, source: { pool, namespace, image } }) => {
    return { target, at: { pool, namespace, image } };
  });
  const uses = await usesOf(cluster, named);
  const first = taken(draft, decide(draft, uses, isActive));
  await keepToLimits(parts, taking, cluster, uses);
  const decision =
    first.kind === 'hold' ? await untilHoldable(parts, taking, domain.uuid, first, uses) : first;
  const disks = named.map(({ target, at }, index) => {
    return { target, at: { ...at, imageId: (uses[index] as ImageUse).imageId } };
  });
  const client = await ownClient(cluster);
  const plan: Plan = { setId: draft.setId, fsid, disks, leftOut, client };
  stopIfAsked(taking);
  job.step('taking', { draft, plan });
  const creation =
    decision.kind === 'take'
      ? await createAtOnce(cluster.ceph, plan, decision)
      : await createHeld(cluster.ceph, taking.seat, memberOf(cluster, plan, domain, decision));
  const work: Work = { taking, cluster, plan, creation };
  try {
    if (creation.kind === 'failed') throw creation.error;
    const stood = await stoodStill(parts, domain.uuid, decision, creation);
    const found = await readFiles(parts, domain.stateFiles);
    await lookAgain(taking, cluster, plan, uses);
    stopIfAsked(taking);
    work.set = setOf(parts, draft, plan, domain, stood, found);
    job.step('taken', { draft, plan, set: work.set });
    control.hold();
    work.set = await keepFiles(cluster, await measureDisks(cluster, work.set), found);
    await recordSet(parts, cluster, work.set);
    return work.set;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    throw await cleanUp(work, error);
  }
}

/** Records a set whose snapshots all exist: in Ceph, then in the catalogue. */
export async function recordSet(
  parts: Pick<SnapshotParts, 'catalogue'>,
  cluster: Cluster,
  set: SnapshotSet,
): Promise<void> {
  await cluster.ceph.call('putSet', set, DEADLINE_MS.record);
  parts.catalogue.put(set, 'complete');
}

/** A set is of one cluster: the first disk's. */
async function chooseCluster(
  parts: SnapshotParts,
  domain: ReturnType<typeof parseDomain>,
  { devices }: Wanted,
): Promise<{ cluster: Cluster } & ReturnType<typeof chooseDisks>> {
  const { chosen, leftOut } = chooseDisks(domain, devices);
  const [first] = chosen;
  if (first === undefined) throw nothingChosen(domain.name, leftOut);
  const clusters = await allOf(chosen.map((disk) => parts.clusterOf(disk.source)));
  const cluster = clusters[0] as Cluster;
  const isHere = (_: unknown, index: number) => clusters[index]?.name === cluster.name;
  const elsewhere = chosen.filter((disk, index) => !isHere(disk, index));
  const why = `in another cluster than ${first.target}`;
  return {
    cluster,
    chosen: chosen.filter(isHere),
    leftOut: [...leftOut, ...elsewhere.map(({ target }) => ({ target, why }))],
  };
}

function usesOf({ ceph }: Cluster, disks: Plan['disks']): Promise<(DiskUse & ImageUse)[]> {
  return allOf(
    disks.map(async ({ target, at }) => {
      return { target, ...(await ceph.call('imageUse', at, DEADLINE_MS.look)) };
    }),
  );
}

/** @throws OperatingError refused */
async function keepToLimits(
  { limits, log }: SnapshotParts,
  { job, draft }: Taking,
  { ceph }: Cluster,
  images: readonly SnapshotCount[],
): Promise<void> {
  const health = await ceph.call('clusterHealth', {}, DEADLINE_MS.look);
  const decision = decideLimits({ health, images }, limits());
  if (decision.kind === 'stop') throw failure('refused', draft, `skipped: ${decision.why}`);
  for (const why of decision.warnings) log.warn({ job: job.id, why }, 'snapshots pile up');
}

/** libvirt is asked only where no hook call of this domain can be waiting for us. */
async function isActiveNow(
  parts: SnapshotParts,
  { isLate, event }: Draft,
  uuid: string,
): Promise<boolean | undefined> {
  if ((event === 'release' && !isLate) || event === 'prepare') return undefined;
  try {
    return (await parts.libvirt.call('lookUp', { domain: uuid }, DEADLINE_MS.libvirt)).isActive;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return error.code === 'not-found' ? false : undefined; // it could not be told: its locks decide
  }
}

function decide(
  draft: Draft,
  disks: readonly DiskUse[],
  isActive: boolean | undefined,
): TakeDecision {
  const { event, reason = 'unknown', isLate, wanted } = draft;
  if (event === 'release' || event === 'stopped')
    return decideRelease({ disks, reason, isLate, isActiveNow: isActive });
  if (event === 'prepare') return decidePrepare({ disks });
  const facts = { disks, isActive, ...wanted };
  return event === 'scheduled' ? decideScheduled(facts) : decideAsked(facts);
}

type Taken = Exclude<TakeDecision, { kind: 'skip' }>;

/** @throws OperatingError refused */
function taken(draft: Draft, decision: TakeDecision): Taken {
  if (decision.kind === 'skip') throw failure('refused', draft, `skipped: ${decision.why}`);
  return decision;
}

/** How often somebody else's hold is looked at, one second apart. */
const LOOKS_MAX = 11;
const BUSY_AGAIN_MS = 1000;

/**
 * Who holds or moves the guest now may be done with it soon. Gives the hold that was decided, or what becomes of it where the guest
 * stands still. @throws OperatingError busy, cancelled, refused
 */
async function untilHoldable(
  parts: SnapshotParts,
  taking: Taking,
  uuid: string,
  hold: Taken,
  disks: readonly DiskUse[],
): Promise<Taken> {
  const { draft, job } = taking;
  const { lifecycle, wanted } = draft;
  for (let looks = 1; ; looks += 1) {
    const found = await parts.libvirt.call('holdable', { domain: uuid }, DEADLINE_MS.holdable);
    if (found.kind === 'running') return hold;
    const facts = { found, disks, quiesce: wanted.quiesce, ...(lifecycle && { lifecycle }) };
    const still = decideStill(facts);
    if (still !== undefined) return taken(draft, still);
    if (found.kind === 'off') throw failure('cancelled', draft, 'the domain stopped meanwhile');
    if (looks === LOOKS_MAX) throw failure('busy', draft, found.why);
    await parts.wait(BUSY_AGAIN_MS, job.signal);
    stopIfAsked(taking);
  }
}

/** Of a guest that nobody let go on since it was decided to take it as it stands, all disks are of one instant. */
async function stoodStill(
  { libvirt }: SnapshotParts,
  domain: string,
  decision: Taken,
  creation: Made,
): Promise<Made> {
  if (decision.kind !== 'take' || decision.isStill !== true) return creation;
  const { made, achieved } = creation;
  const found = await libvirt.call('holdable', { domain }, DEADLINE_MS.holdable);
  const isStill = found.kind === 'off' || (found.kind === 'busy' && found.isStill === true);
  if (!isStill || made.length === 1) return creation;
  return { ...creation, achieved: { ...achieved, instant: 'barrier' } };
}

function memberOf(
  cluster: Cluster,
  plan: Plan,
  domain: { readonly uuid: string },
  decision: Extract<TakeDecision, { kind: 'hold' }>,
): Member {
  const snap = snapshotName(plan.setId);
  return {
    domainUuid: domain.uuid,
    disks: plan.disks.map(({ at }) => ({ ...at, snap })),
    plan: decision.plan,
    discard: () => discardPlan(cluster, plan),
  };
}

/** A start that we were not told of shows in the locks. */
async function lookAgain(
  { draft }: Taking,
  cluster: Cluster,
  { disks }: Plan,
  before: readonly DiskUse[],
): Promise<void> {
  if (!['release', 'stopped', 'prepare'].includes(draft.event)) return;
  const locked = newlyLocked(before, await usesOf(cluster, disks));
  if (locked.length > 0) throw overtaken(draft, `disk ${locked.join(', ')} was locked meanwhile`);
}

function stopIfAsked({ job, control, draft }: Taking): void {
  if (control.isOvertaken) throw overtaken(draft, 'the domain started meanwhile');
  if (!job.signal.aborted) return;
  const { reason } = job.signal;
  if (reason instanceof OperatingError) throw reason;
  throw failure('cancelled', draft, 'it was cancelled');
}

function setOf(
  parts: SnapshotParts,
  draft: Draft,
  plan: Plan,
  domain: Pick<Domain, 'uuid' | 'name'>,
  { made, achieved }: Made,
  found: readonly Found[],
): SnapshotSet {
  const disks = plan.disks.map(({ target, at }, index): SetDisk => {
    const { poolId, imageId, snapId, sizeBytes, stallMs } = made[index] as (typeof made)[number];
    const owner = ownerOf(at);
    const more = { ...(owner && { owner }), ...(stallMs !== undefined && { stallMs }) };
    return { target, ...at, poolId, imageId, snapId, sizeBytes, ...more };
  });
  return {
    schema: 1,
    id: draft.setId,
    fsid: plan.fsid,
    domainUuid: domain.uuid,
    domainName: domain.name,
    host: parts.host,
    createdAtMs: parts.now(),
    event: draft.event,
    ...(draft.reason === undefined ? {} : { reason: draft.reason }),
    ...(draft.lifecycle === undefined ? {} : { lifecycle: draft.lifecycle }),
    ...(draft.policy === undefined ? {} : { policy: draft.policy.name }),
    wanted: draft.wanted,
    ...achieved,
    way: 'native',
    disks,
    leftOut: plan.leftOut,
    ...(found.length > 0 && { keptFiles: notKept(found) }),
    domainXml: draft.domainXml,
  };
}

interface Work {
  readonly taking: Taking;
  readonly cluster: Cluster;
  readonly plan: Plan;
  readonly creation: Creation;
  /** From when all its snapshots were held. */
  set?: SnapshotSet;
}

/** Leaves nothing behind, or says what may be left. */
async function cleanUp(work: Work, error: OperatingError): Promise<SetFailure> {
  const { taking, cluster, plan, creation, set } = work;
  const { job, draft } = taking;
  // Asked to end, it may be by siphond's own end: then the next start tries the event again.
  const failed = job.signal.aborted ? {} : { error: error.toWire() };
  job.step('discarding', { draft, plan, ...(set === undefined ? {} : { set }), ...failed });
  const known = creation.kind === 'made' ? creation.made : creation.known;
  const leftovers: DeleteData = set === undefined ? { leftovers: plan } : { set };
  try {
    await (set === undefined ? discardPlan(cluster, plan, known) : discardSet(cluster, set));
  } catch (left) {
    if (!(left instanceof OperatingError)) throw left;
    return new SetFailure(error, leftovers);
  }
  const isUncertain = creation.kind === 'failed' && creation.isUncertain;
  return new SetFailure(error, isUncertain ? leftovers : undefined);
}

function nothingChosen(subject: string, leftOut: SnapshotSet['leftOut']): OperatingError {
  const disks = leftOut.map(({ target, why }) => `${target}: ${why}`).join('; ');
  const why = `no disk of it can be taken${disks === '' ? '' : ` (${disks})`}`;
  const hint = 'siphon snapshots writable disks that are RBD images.';
  return new OperatingError({ code: 'refused', op: 'take snapshot set', subject, why, hint });
}

/** A start came before the set's snapshots were held. */
export function overtaken(draft: Draft, why: string): OperatingError {
  return failure('cancelled', draft, `discarded: ${why}`);
}

function failure(code: ErrorCode, draft: Draft, why: string): OperatingError {
  return new OperatingError({ code, op: 'take snapshot set', subject: draft.setId, why });
}
