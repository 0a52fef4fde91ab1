// siphon evict: makes room down to the size limit, or removes the bases that are named.

import type { Command } from 'commander';
import type { EvictAnswer, EvictRequest } from '../../wire/api.ts';
import { formatSize } from '../../wire/size.ts';
import { createClient } from '../client.ts';
import { print, printJson, table } from '../output.ts';

interface EvictOptions {
  readonly dryRun?: true;
  readonly json?: true;
}

export function addEvict(program: Command): void {
  program
    .command('evict')
    .description('remove the least recently used bases down to the size limit, or the named ones')
    .argument('[BASE...]')
    .option('--dry-run', 'say what would go and what would stay, and why')
    .option('--json', 'print JSON')
    .action(evict);
}

async function evict(bases: readonly string[], options: EvictOptions): Promise<void> {
  const request: EvictRequest = {
    dryRun: options.dryRun === true,
    ...(bases.length > 0 && { bases }),
  };
  const answer = await createClient().post<EvictAnswer>('/v1/evict', request);
  if (options.json) return printJson(answer);
  const rows = answer.decisions.map((one) => [
    one.decision,
    one.name,
    formatSize(one.allocatedBytes),
    one.reason,
    one.base,
  ]);
  if (rows.length > 0) print(table(['DECISION', 'SOURCE', 'ON DISK', 'WHY', 'BASE'], rows));
  print(`${answer.dryRun ? 'Would free' : 'Freed'} ${formatSize(answer.freedBytes)}.`);
}
