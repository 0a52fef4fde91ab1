// siphon check: one line and an exit code for a monitoring system, by Nagios' plugin conventions.

import type { Command } from 'commander';
import type { JobsAnswer, SnapshotsAnswer, StatusAnswer } from '../../wire/api.ts';
import { OperatingError } from '../../wire/errors.ts';
import { DURATION_ALLOWED, parseDuration } from '../../wire/units.ts';
import { createClient } from '../client.ts';
import { decideHealth, type Health, type HealthBounds, unansweredHealth } from '../health.ts';
import { print, printJson } from '../output.ts';

interface Options {
  readonly failed: string;
  readonly open: string;
  readonly setAge?: string;
  readonly json?: true;
}

export function addCheck(program: Command): void {
  program
    .command('check')
    .description(
      'is all well? one line for Nagios; exit code 0 OK, 1 warning, 2 critical, 3 unknown',
    )
    .option('--failed <duration>', 'how long a failed job is told', '24h')
    .option('--open <duration>', 'how long a job may be open', '1h')
    .option('--set-age <duration>', "how old a domain's newest snapshot set may be; else any age")
    .option('--json', 'print JSON')
    .action(check);
}

async function check(options: Options): Promise<void> {
  const health = await healthOf(options);
  if (options.json) printJson(health);
  else print(health.line);
  process.exitCode = health.exit;
}

/** Whatever goes wrong is a line, too: who asks knows nothing of siphon's own codes. */
async function healthOf(options: Options): Promise<Health> {
  try {
    const bounds = boundsOf(options);
    const client = createClient();
    const [status, { jobs }, { sets }] = await Promise.all([
      client.get<StatusAnswer>('/v1/status'),
      client.get<JobsAnswer>('/v1/jobs', { limit: '1000' }),
      client.get<SnapshotsAnswer>('/v1/snapshots'),
    ]);
    return decideHealth({ status, jobs, sets, nowMs: Date.now() }, bounds);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return unansweredHealth(error);
  }
}

function boundsOf({ failed, open, setAge }: Options): HealthBounds {
  return {
    failedMs: durationOf(failed),
    openMs: durationOf(open),
    ...(setAge !== undefined && { setAgeMs: durationOf(setAge) }),
  };
}

function durationOf(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined) return ms;
  const fields = { code: 'usage', op: 'read duration', subject: text } as const;
  throw new OperatingError({ ...fields, why: `must be ${DURATION_ALLOWED}` });
}
