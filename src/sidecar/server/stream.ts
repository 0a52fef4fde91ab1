// Answers that go on: NDJSON lines of a job until its end, with a sign of life between them. Whoever listens may leave; the
// job goes on.

import { setTimeout } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import type { JobLine } from '../../wire/api.ts';
import { mustBe, wireErrorOf } from '../journal.ts';
import type { LongWork, Services } from './services.ts';

const ALIVE_MS = 2000;
/** A job may tell its progress often; a reader needs it this often. */
const PROGRESS_MS = 100;

/**
 * Answers long work: what fails soon is an error with its status; then lines, up to the job's end, or the job's name alone
 * where nobody waits. The reply is ours from here.
 */
export async function answerLong(
  reply: FastifyReply,
  jobs: Services['jobs'],
  work: Promise<LongWork>,
  isAwaited = true,
): Promise<void> {
  const early = await Promise.race([work, setTimeout(ALIVE_MS)]);
  const lines = openLines(reply);
  try {
    const begun = early ?? (await work);
    if (begun.kind === 'done') lines.tell({ kind: 'done', result: begun.result });
    else if (isAwaited) lines.follow(jobs, begun.id, begun.ended);
    else {
      lines.tell({ kind: 'job', id: begun.id, subject: jobs.get(begun.id)?.subject ?? '' });
      lines.end();
    }
  } catch (error) {
    lines.tell({ kind: 'failed', error: wireErrorOf(error) });
  }
}

/** Streams a job to its end. @throws OperatingError not-found, before anything is sent */
export function streamJob(reply: FastifyReply, jobs: Services['jobs'], id: string): void {
  mustBe(jobs.get(id), id);
  openLines(reply).follow(jobs, id);
}

function openLines(reply: FastifyReply) {
  const { raw } = reply;
  let progressAtMs = 0;
  reply.hijack();
  raw.writeHead(200, { 'content-type': 'application/x-ndjson' });
  raw.flushHeaders();
  // Whoever has left already is told no more.
  const alive = raw.destroyed ? undefined : setInterval(() => tell({ kind: 'alive' }), ALIVE_MS);
  raw.once('close', () => clearInterval(alive));
  // A reader that is slow, or asked less often, misses progress and signs of life, never an end.
  const isLeftOut = (line: JobLine) => {
    if (line.kind !== 'progress' && line.kind !== 'alive') return false;
    if (raw.writableNeedDrain) return true;
    if (line.kind === 'alive') return false;
    const isTooSoon = Date.now() - progressAtMs < PROGRESS_MS;
    if (!isTooSoon) progressAtMs = Date.now();
    return isTooSoon;
  };
  const tell = (line: JobLine) => {
    if (raw.destroyed || raw.writableEnded || isLeftOut(line)) return;
    raw.write(`${JSON.stringify(line)}\n`);
    if (line.kind === 'done' || line.kind === 'failed') raw.end();
  };
  // Where the request is more than the job, its end is the request's; of a cancelled job the journal knows better why.
  const follow = (jobs: Services['jobs'], id: string, ended?: Promise<unknown>) => {
    let jobEnd: JobLine | undefined;
    const watching = jobs.watch(id, (line) => {
      if (line.kind === 'done' || line.kind === 'failed') jobEnd = line;
      if (ended === undefined || line !== jobEnd) tell(line);
    });
    if (raw.destroyed) watching[Symbol.dispose]();
    else raw.once('close', () => watching[Symbol.dispose]());
    ended?.then(
      (result) => tell({ kind: 'done', result }),
      (cause: unknown) => {
        const error = wireErrorOf(cause);
        tell(
          jobEnd?.kind === 'failed' && error.code === 'cancelled'
            ? jobEnd
            : { kind: 'failed', error },
        );
      },
    );
  };
  return { tell, follow, end: () => raw.end() };
}
