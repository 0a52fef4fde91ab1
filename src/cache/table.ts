// The table of a source's chunks for who signs it: read by a fill worker, in the turns of fills, as a job. Nothing of it is kept.

import { OperatingError } from '../wire/errors.ts';
import type { Job } from '../wire/journal.ts';
import type { TableAnswer } from '../wire/manifest-api.ts';
import { formatSource } from '../wire/source.ts';
import type { SourceFacts } from '../wire/vocabulary.ts';
import { aboutSource } from './fill-work.ts';
import type { CacheParts } from './parts.ts';
import type { Turns } from './turns.ts';

export interface TableWork {
  readonly jobId: string;
  /** Rejects with an OperatingError. */
  readonly done: Promise<TableAnswer>;
}

export function beginTable(parts: CacheParts, turns: Turns, facts: SourceFacts): TableWork {
  const job = parts.journal.begin('sign', formatSource(facts.name), { what: 'table' });
  const done = work(parts, turns, facts, job);
  void done.catch((error: unknown) => {
    if (!(error instanceof OperatingError)) throw error; // whoever asked is told
  });
  return { jobId: job.id, done };
}

async function work(
  parts: CacheParts,
  turns: Turns,
  facts: SourceFacts,
  job: Job,
): Promise<TableAnswer> {
  try {
    using _turn = await turns.take(job, 'operator');
    job.step('read');
    const { ids, name } = facts;
    const { settings: ceph } = await parts.clusters.ofSource(ids);
    await using worker = await parts.startFillWorker('operator', job.id);
    const { table } = await aboutSource(
      'sign',
      facts,
      worker.call(
        'table',
        { ceph, ids, name },
        {
          deadlineMs: parts.settings.fillDeadlineMs,
          signal: job.signal,
          onProgress: (progress) => job.progress(progress),
        },
      ),
    );
    const { sha256, chunkBytes } = table;
    job.done({ sha256, chunkBytes });
    return { ids, table };
  } catch (error) {
    if (error instanceof OperatingError) job.failed(error.toWire());
    throw error;
  }
}
