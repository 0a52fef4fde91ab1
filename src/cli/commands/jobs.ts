// siphon jobs: siphond's journal, newest first.

import { type Command, InvalidArgumentError } from 'commander';
import type { JobsAnswer } from '../../wire/api.ts';
import { createClient } from '../client.ts';
import { print, printJson, table, time } from '../output.ts';

interface JobsOptions {
  readonly limit: number;
  readonly cancel?: string;
  readonly json?: true;
}

export function addJobs(program: Command): void {
  program
    .command('jobs')
    .description("siphond's journal, newest first")
    .option('--limit <N>', 'at most so many', count, 20)
    .option('--cancel <JOB>', 'cancel an open job')
    .option('--json', 'print JSON')
    .action(jobs);
}

function count(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= 1000) return value;
  throw new InvalidArgumentError('It is a number from 1 to 1000.');
}

async function jobs(options: JobsOptions): Promise<void> {
  const client = createClient();
  if (options.cancel !== undefined) {
    await client.post(`/v1/jobs/${encodeURIComponent(options.cancel)}/cancel`, {});
    if (!options.json) print(`Job ${options.cancel} is being cancelled.`);
    return;
  }
  const answer = await client.get<JobsAnswer>('/v1/jobs', { limit: String(options.limit) });
  if (options.json) return printJson(answer.jobs);
  if (answer.jobs.length === 0) return print('No jobs.');
  print(table(COLUMNS, answer.jobs.map(row)));
}

const COLUMNS = [
  { head: 'JOB' },
  { head: 'KIND', drop: 3 },
  { head: 'STATE', drop: 1 },
  { head: 'STEP', drop: 4 },
  { head: 'SINCE', drop: 5 },
  { head: 'SUBJECT' },
  { head: 'WHY', drop: 2, isCut: true },
];

function row(job: JobsAnswer['jobs'][number]): string[] {
  const { progress } = job;
  const percent =
    progress && progress.totalBytes > 0
      ? Math.floor((100 * progress.doneBytes) / progress.totalBytes)
      : undefined;
  const step = percent === undefined ? job.step : `${job.step} ${percent}%`;
  const why = job.error === undefined ? '' : (job.error.why ?? job.error.code);
  return [job.id, job.kind, job.state, step, time(job.createdAtMs), job.subject, why];
}
