// Brings open jobs to their end: a set whose snapshots all exist is recorded, any other is removed, and the event is tried
// again as an old one: once where siphond ended, and where Ceph could not be asked until it can. May be run again at any time.

import { type Domain, parseDomain } from '../domain/domain.ts';
import { OperatingError, type WireError } from '../wire/errors.ts';
import type { Job, JobRecord } from '../wire/journal.ts';
import type { SnapshotSet } from '../wire/vocabulary.ts';
import { discardPlan, discardSet, isWhole } from './discard.ts';
import { type Draft, isWaiting, readDeleteData, readTakeData, type TakeData } from './job-data.ts';
import type { Jobs } from './jobs.ts';
import type { SnapshotParts } from './ports.ts';
import type { Removal } from './remove.ts';
import { recordSet } from './take.ts';

/** Numbers of jobs. Those that are left wait for their cluster: try again later. */
export interface Recovered {
  readonly ended: number;
  readonly left: number;
}

export interface Retry {
  /** As a job of its own. */
  begin(domain: Domain, draft: Draft): void;
  /** As the same job. @throws OperatingError; StaysOpen: it waits on */
  again(job: Job, domain: Domain, draft: Draft): Promise<SnapshotSet>;
}

const ATTEMPTS_MAX = 2;

/** From the job's beginning. */
const WAIT_MS_MAX = 24 * 3_600_000;

export async function recoverJobs(
  parts: SnapshotParts,
  jobs: Jobs,
  removal: Removal,
  retry: Retry,
): Promise<Recovered> {
  const outcomes = await Promise.all(
    jobs.left().map((record) => {
      const job = jobs.resume(record);
      return jobs.runUntilDone(job, () => {
        return record.kind === 'snapshot'
          ? recoverTake(parts, record, job, retry)
          : recoverRemoval(record, job, removal);
      });
    }),
  );
  goOnRemoving(parts, jobs, removal);
  const left = outcomes.filter((each) => each === 'left').length;
  return { ended: outcomes.length - left, left };
}

async function recoverTake(
  parts: SnapshotParts,
  record: JobRecord,
  job: Job,
  retry: Retry,
): Promise<void> {
  const data = readTakeData(record.data);
  if (data === null) throw unreadable(record);
  const { draft, set, error } = data;
  if (set !== undefined && error === undefined) {
    const cluster = await parts.byFsid(set.fsid);
    if (await isWhole(cluster, set)) {
      await recordSet(parts, cluster, set);
      return job.done(set);
    }
  }
  await removeTaken(parts, data);
  if (error !== undefined) return goOn(parts, { record, job, draft, error }, retry);
  const isRetried = draft.event === 'release' && draft.attempt + 1 < ATTEMPTS_MAX;
  if (isRetried) retry.begin(parseDomain(draft.domainXml), draft);
  job.failed(interrupted(record, isRetried).toWire());
}

interface Failed {
  readonly record: JobRecord;
  readonly job: Job;
  readonly draft: Draft;
  readonly error: WireError;
}

/** After a failure of which nothing is left. */
async function goOn({ now }: SnapshotParts, failed: Failed, retry: Retry): Promise<void> {
  const { record, job, draft, error } = failed;
  if (!isWaiting(draft, error)) return job.failed(error);
  if (job.signal.aborted) return job.failed({ ...error, code: 'cancelled' });
  const why = `${error.why ?? error.op}; given up after ${WAIT_MS_MAX / 3_600_000} h`;
  if (now() - record.createdAtMs > WAIT_MS_MAX) return job.failed({ ...error, why });
  job.done(await retry.again(job, parseDomain(draft.domainXml), draft));
}

async function removeTaken(parts: SnapshotParts, { plan, set }: TakeData): Promise<void> {
  if (plan === undefined) return;
  const cluster = await parts.byFsid(plan.fsid);
  await discardPlan(cluster, plan);
  if (set !== undefined) await discardSet(cluster, set);
}

async function recoverRemoval(record: JobRecord, job: Job, removal: Removal): Promise<void> {
  const data = readDeleteData(record.data);
  if (data === null) throw unreadable(record);
  await removal.discard(job, data);
  job.done();
}

/** Removals that failed: the set is no longer whole, so it has to go. */
function goOnRemoving({ catalogue }: SnapshotParts, jobs: Jobs, removal: Removal): void {
  const waiting = new Set(jobs.left().flatMap(({ data }) => setIdOf(data)));
  for (const { id, state } of catalogue.list()) {
    if (state !== 'deleting' || waiting.has(id) || removal.isRemoving(id)) continue;
    removal.begin(id);
  }
}

function setIdOf(data: unknown): string[] {
  const read = readDeleteData(data);
  return read !== null && 'set' in read ? [read.set.id] : [];
}

function interrupted({ subject }: JobRecord, isRetried: boolean): OperatingError {
  const then = isRetried ? '; the event is tried again' : '';
  const why = `siphond ended while it was taken, and what was taken is removed${then}`;
  return new OperatingError({ code: 'cancelled', op: 'take snapshot set', subject, why });
}

function unreadable({ id, subject }: JobRecord): OperatingError {
  const why = 'what the journal holds of it is not readable by this version';
  const hint =
    'Look for snapshots with the mark siphon. on the disks, and remove those that are in no set.';
  return new OperatingError({ code: 'corrupt', op: `recover job ${id}`, subject, why, hint });
}
