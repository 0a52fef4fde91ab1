// siphon evict: makes room down to the size limit, or removes the bases that are named.

import type { Command } from 'commander';
import type { EvictAnswer, EvictRequest } from '../../wire/api.ts';
import { OperatingError } from '../../wire/errors.ts';
import { formatSize } from '../../wire/size.ts';
import { createClient } from '../client.ts';
import { baseColumn, print, printJson, table } from '../output.ts';

interface EvictOptions {
  readonly dryRun?: true;
  readonly quarantined?: true;
  readonly json?: true;
}

export function addEvict(program: Command): void {
  program
    .command('evict')
    .description('remove the least recently used bases down to the size limit, or the named ones')
    .argument('[BASE...]')
    .option('--quarantined', 'also all that failed its check, and not only what is there for long')
    .option('--dry-run', 'say what would go and what would stay, and why')
    .option('--json', 'print JSON')
    .action(evict);
}

async function evict(bases: readonly string[], options: EvictOptions): Promise<void> {
  if (bases.length > 0 && options.quarantined) throw notBoth();
  const request: EvictRequest = {
    dryRun: options.dryRun === true,
    ...(options.quarantined && { isQuarantine: true }),
    ...(bases.length > 0 && { bases }),
  };
  const answer = await createClient().post<EvictAnswer>('/v1/evict', request);
  if (options.json) printJson(answer);
  else print(told(answer));
  if (bases.length > 0 && !answer.dryRun) mustAllBeGone(answer);
}

function told({ decisions, quarantine, dryRun, freedBytes }: EvictAnswer): string {
  const columns = [
    { head: 'DECISION', drop: 1 },
    { head: 'SOURCE' },
    { head: 'ON DISK', drop: 3 },
    { head: 'WHY', drop: 2, isCut: true },
    baseColumn(
      decisions.map(({ name }) => name),
      4,
    ),
  ];
  const bases = decisions.map((one) => [
    one.decision,
    one.name,
    formatSize(one.allocatedBytes),
    one.reason,
    one.base,
  ]);
  const failed = quarantine.map((one) => [
    'remove',
    one.source,
    formatSize(one.allocatedBytes),
    `it failed its check, and ${one.reason}`,
    one.path,
  ]);
  const rows = [...bases, ...failed];
  const freed = `${dryRun ? 'Would free' : 'Freed'} ${formatSize(freedBytes)}.`;
  return rows.length === 0 ? freed : `${table(columns, rows)}\n${freed}`;
}

function notBoth(): OperatingError {
  const why = 'what failed its check has no base to be named by';
  const hint = 'siphon evict --quarantined removes all of it.';
  return new OperatingError({ code: 'usage', op: 'evict', subject: '--quarantined', why, hint });
}

/** What was named and is still there was refused. */
function mustAllBeGone({ decisions }: EvictAnswer): void {
  const kept = decisions.filter(({ decision }) => decision === 'keep');
  const [first] = kept;
  if (first === undefined) return;
  const isOne = kept.length === 1;
  throw new OperatingError({
    code: 'refused',
    op: 'evict',
    subject: isOne ? first.name : `${kept.length} bases`,
    why: isOne ? first.reason : kept.map(({ name, reason }) => `${name}: ${reason}`).join('; '),
    hint: 'A pin ends with `siphon unpin`, a need with the domain or the overlay that has it.',
  });
}
