// siphon list, get, path, pin, unpin: the bases as the catalogue has them.

import type { Command } from 'commander';
import type { BasesAnswer, PathAnswer } from '../../wire/api.ts';
import type { QuarantineAnswer } from '../../wire/quarantine-api.ts';
import { formatSize } from '../../wire/size.ts';
import { formatSource } from '../../wire/source.ts';
import type { Base, Verification, VerifiedBy } from '../../wire/vocabulary.ts';
import { createClient } from '../client.ts';
import { baseColumn, print, printJson, sheet, table, time } from '../output.ts';

interface JsonOption {
  readonly json?: true;
}
type Listed = BasesAnswer['bases'][number];

export function addBaseCommands(program: Command): void {
  program
    .command('list')
    .description('the bases of this host')
    .option('--quarantined', 'what failed its check and was moved aside, instead')
    .option('--json', 'print JSON')
    .action((options: JsonOption & { quarantined?: true }) =>
      options.quarantined ? listQuarantined(options) : list(options),
    );
  program
    .command('get')
    .description('all about one base')
    .argument('<BASE>')
    .option('--json', 'print JSON')
    .action(get);
  program
    .command('path')
    .description("where a source's base is or will be: for qemu-img create -u -b")
    .argument('<SOURCE>')
    .option('--json', 'print JSON')
    .action(path);
  for (const verb of ['pin', 'unpin'] as const) {
    program
      .command(verb)
      .description(verb === 'pin' ? 'keep bases, whatever the size limit says' : 'undo pin')
      .argument('<BASE...>')
      .option('--json', 'print JSON')
      .action((bases: readonly string[], options: JsonOption) => setPins(verb, bases, options));
  }
}

async function list(options: JsonOption): Promise<void> {
  const { bases } = await createClient().get<BasesAnswer>('/v1/bases');
  if (options.json) return printJson(bases);
  if (bases.length === 0) return print('No bases. siphon warm SOURCE makes one.');
  const names = bases.map((base) => formatSource(base.name));
  print(
    table(
      [
        { head: 'SOURCE' },
        { head: 'STATE', drop: 1 },
        { head: 'FORMAT', drop: 5 },
        { head: 'ON DISK', drop: 3 },
        { head: 'CHECKED', drop: 4 },
        { head: 'KEPT BY', drop: 2 },
        { head: 'LAST USED', drop: 6 },
        baseColumn(names, 7),
      ],
      bases.map((base) => [
        formatSource(base.name),
        base.state,
        base.format,
        formatSize(base.allocatedBytes),
        base.state === 'filling' ? '-' : base.verification.kind,
        keptBy(base),
        time(base.lastUsedAtMs),
        base.id,
      ]),
    ),
  );
}

async function listQuarantined(options: JsonOption): Promise<void> {
  const { files } = await createClient().get<QuarantineAnswer>('/v1/quarantine');
  if (options.json) return printJson(files);
  if (files.length === 0) return print('Nothing failed its check, or it is gone since.');
  const columns = [
    { head: 'SOURCE' },
    { head: 'FAILED', drop: 2 },
    { head: 'ON DISK', drop: 3 },
    { head: 'WHY', isCut: true },
    { head: 'FILE', drop: 1 },
  ];
  const rows = files.map(({ source, atMs, allocatedBytes, why, path }) => [
    source,
    time(atMs),
    formatSize(allocatedBytes),
    why,
    path,
  ]);
  print(table(columns, rows));
}

function keptBy(base: Base): string {
  const by = [
    ...(base.isPinned ? ['pin'] : []),
    ...new Set(base.leases.map((lease) => lease.domainName)),
  ];
  return by.length === 0
    ? '-'
    : by.slice(0, 3).join(',') + (by.length > 3 ? ` +${by.length - 3}` : '');
}

async function get(selector: string, options: JsonOption): Promise<void> {
  const base = await createClient().getByCeph<Listed>('/v1/base', { base: selector });
  if (options.json) return printJson(base);
  print(
    sheet([
      ['base', base.id],
      ['path', base.path],
      ['source', formatSource(base.name)],
      ['state', stateOf(base)],
      [
        'format',
        base.format === base.sourceFormat
          ? base.format
          : `${base.format} (source: ${base.sourceFormat})`,
      ],
      ['guest size', formatSize(base.virtualSizeBytes)],
      ['source size', formatSize(base.sourceSizeBytes)],
      ['on disk', formatSize(base.allocatedBytes)],
      ['checked', checked(base.verification)],
      ...Object.entries(base.digests).map(([name, hex]) => [name, hex] as const),
      ...(base.chunkTable === undefined ? [] : [['chunk table', base.chunkTable.sha256] as const]),
      ...(base.fsVerity === undefined ? [] : [['fs-verity', base.fsVerity] as const]),
      ['made', time(base.createdAtMs)],
      ['scrubbed', base.scrubbedAtMs === undefined ? 'never' : time(base.scrubbedAtMs)],
      ['last used', time(base.lastUsedAtMs)],
      ['pinned', base.isPinned ? 'yes' : 'no'],
      ...base.leases.map(
        (lease) => ['lease', `${lease.domainName} (${lease.kind}, ${lease.domainUuid})`] as const,
      ),
    ]),
  );
}

function stateOf({ state, suspicion }: Base): string {
  return suspicion === undefined ? state : `${state}: ${suspicion.why}`;
}

function checked(verification: Verification): string {
  if (verification.kind === 'unverified') return 'unverified: nothing said what its bytes must be';
  return verification.by.map(checkedBy).join(', ');
}

function checkedBy(by: VerifiedBy): string {
  if (by.what === 'manifest') return `manifest signed by key ${by.keyId}`;
  if (by.what === 'signature') return `signature ${by.keyType} of certificate ${by.certificate}`;
  return `${by.algorithm} given by ${by.from === 'operator' ? 'the operator' : 'the properties'}`;
}

async function path(source: string, options: JsonOption): Promise<void> {
  const answer = await createClient().getByCeph<PathAnswer>('/v1/path', { source });
  if (options.json) printJson(answer);
  else print(answer.path);
}

async function setPins(
  verb: 'pin' | 'unpin',
  bases: readonly string[],
  options: JsonOption,
): Promise<void> {
  const client = createClient();
  const done: Base[] = [];
  for (const base of bases) done.push(await client.post<Base>(`/v1/${verb}`, { base }));
  if (options.json) printJson(done);
}
