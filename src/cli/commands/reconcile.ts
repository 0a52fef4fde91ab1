// siphon reconcile --host NAME: what a host that is gone has left in Ceph is removed.

import type { Command } from 'commander';
import { ERROR_TABLE } from '../../wire/errors.ts';
import type { Leftover, LeftoversAnswer, LeftoversRequest } from '../../wire/leftovers-api.ts';
import { createClient } from '../client.ts';
import { print, printJson } from '../output.ts';
import { createScreen, follow } from '../watch.ts';

interface Options {
  readonly host: string;
  readonly dryRun?: true;
  readonly json?: true;
}

export function addReconcile(program: Command): void {
  program
    .command('reconcile')
    .description(
      'remove from Ceph what another host left half done and will not go on with: images in the making, imports',
    )
    .requiredOption('--host <NAME>', 'that is gone for good, as it called itself (hostname)')
    .option('--dry-run', 'only say what would be done')
    .option('--json', 'print JSON')
    .action(reconcile);
}

async function reconcile({ host, dryRun, json }: Options): Promise<void> {
  const request: LeftoversRequest = { host, ...(dryRun && { dryRun }) };
  using screen = createScreen(json === true);
  const answer = await follow(createClient().watch('/v1/leftovers', request), host, screen);
  screen[Symbol.dispose]();
  const { leftovers } = answer as LeftoversAnswer;
  if (json) printJson(answer);
  else if (leftovers.length === 0) print(`${host} has left nothing`);
  else for (const each of leftovers) print(told(each));
  const failed = leftovers.find(({ error }) => error !== undefined)?.error;
  if (failed !== undefined) process.exitCode = ERROR_TABLE[failed.code].exit;
}

const WORDS = {
  removed: 'removed',
  'would-remove': 'would be removed',
  stays: 'stays',
  failed: 'could not be removed',
} as const;

function told({ kind, cluster, subject, set, decision, why }: Leftover): string {
  return [kind, `${cluster}:${subject}`, set, `${WORDS[decision]}: ${why}`].join('  ');
}
