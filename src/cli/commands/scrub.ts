// siphon scrub [BASE...]: are the files of bases still what was read of their sources? What is damaged is mended.

import type { Command } from 'commander';
import { ERROR_TABLE, fromWire } from '../../wire/errors.ts';
import type { MendTold, ScrubAnswer, ScrubbedBase, ScrubRequest } from '../../wire/scrub-api.ts';
import { formatSize } from '../../wire/size.ts';
import { createClient } from '../client.ts';
import { baseColumn, print, printJson, reportError, table } from '../output.ts';
import { createScreen, follow } from '../watch.ts';

interface Options {
  readonly due?: true;
  readonly mend: boolean;
  readonly json?: true;
}

export function addScrub(program: Command): void {
  program
    .command('scrub')
    .description(
      'read bases from the disk, all or the named ones, compare them with what was read of their sources, and mend what is damaged',
    )
    .argument('[BASE...]')
    .option('--due', 'only those whose last scrub is too long ago (cache.scrub_every)')
    .option('--no-mend', 'only say what is damaged')
    .option('--json', 'print JSON')
    .action(scrub);
}

async function scrub(bases: readonly string[], options: Options): Promise<void> {
  const isJson = options.json === true;
  const request: ScrubRequest = {
    ...(bases.length > 0 && { bases }),
    ...(options.due && { isDue: true }),
    ...(!options.mend && { isReportOnly: true }),
  };
  using screen = createScreen(isJson);
  const lines = createClient().watch('/v1/scrub', request);
  const answer = (await follow(lines, bases.join(' ') || 'bases', screen)) as ScrubAnswer;
  screen[Symbol.dispose]();
  if (isJson) printJson(answer);
  else print(told(answer));
  for (const { outcome, error } of answer.bases) {
    if (error !== undefined) reportError(fromWire(error), isJson);
    if (outcome === 'failed' && error !== undefined)
      process.exitCode ||= ERROR_TABLE[error.code].exit;
  }
  const isDamageLeft = answer.bases.some(({ outcome }) => outcome === 'damaged');
  if (isDamageLeft) process.exitCode = ERROR_TABLE.corrupt.exit;
}

function told({ bases }: ScrubAnswer): string {
  if (bases.length === 0) return 'Nothing to scrub.';
  const columns = [
    { head: 'OUTCOME' },
    { head: 'SOURCE' },
    { head: 'READ', drop: 2 },
    { head: 'WHY', drop: 1, isCut: true },
    baseColumn(
      bases.map(({ name }) => name),
      3,
    ),
  ];
  const rows = bases.map((one) => [
    one.outcome,
    one.name,
    formatSize(one.readBytes),
    whyText(one),
    one.base,
  ]);
  return table(columns, rows);
}

function whyText({ why, mend }: ScrubbedBase): string {
  return [why, mend && mendText(mend)].filter(Boolean).join('; ') || '-';
}

function mendText({ way, whyRefill, chunks, readBytes }: MendTold): string {
  const read = `${formatSize(readBytes)} read of Ceph`;
  if (way === 'mend') return `${chunks} chunks mended, ${read}`;
  return `filled anew${whyRefill === undefined ? '' : `, since ${whyRefill}`}`;
}
