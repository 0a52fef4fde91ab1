// Sets that wait for an answer of Ceph, and whose domain was used meanwhile: they would not hold what the stop left.

import { parseDomain } from '../domain/domain.ts';
import { isWaiting, readTakeData } from './job-data.ts';
import type { Jobs } from './jobs.ts';
import type { SnapshotParts } from './ports.ts';
import { overtaken } from './take.ts';

/** The domain started, or stopped again, at `before`, in ms: ends what waits since earlier. Gives how many. */
export function endWaiting(
  { log }: Pick<SnapshotParts, 'log'>,
  jobs: Jobs,
  used: { readonly domainUuid: string; readonly before: number },
): number {
  let ended = 0;
  for (const record of jobs.left()) {
    const data = record.kind === 'snapshot' ? readTakeData(record.data) : null;
    if (data?.error === undefined || !isWaiting(data.draft, data.error)) continue;
    const { draft, plan, error } = data;
    if (draft.atMs > used.before || parseDomain(draft.domainXml).uuid !== used.domainUuid) continue;
    const why = `the domain started before it could be taken; ${error.why ?? error.op}`;
    const said = overtaken(draft, why).toWire();
    // What was taken of it goes first, which recovery sees to.
    if (plan === undefined) jobs.end(record, said);
    else jobs.resume(record).step('discarding', { ...data, error: said });
    log.warn({ job: record.id, error: said }, 'a set is discarded');
    ended += 1;
  }
  return ended;
}
