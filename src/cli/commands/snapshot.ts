// siphon snapshot create|list|delete: snapshot sets of domains.

import type { Command } from 'commander';
import type { SnapshotsAnswer } from '../../wire/api.ts';
import type { SnapshotSet } from '../../wire/vocabulary.ts';
import { createClient } from '../client.ts';
import { print, printJson, table, time } from '../output.ts';
import { createScreen, follow } from '../watch.ts';

interface JsonOption {
  readonly json?: true;
}

export function addSnapshot(program: Command): void {
  const snapshot = program
    .command('snapshot')
    .description('snapshot sets of domains')
    .helpCommand(false);
  snapshot
    .command('create')
    .description(
      "snapshot a domain's RBD disks now; a running guest is not quiesced, and the set says so",
    )
    .argument('<DOMAIN>', 'name or UUID')
    .option('--json', 'print JSON')
    .action(create);
  snapshot
    .command('list')
    .description('the sets, of one domain or of all')
    .argument('[DOMAIN]', 'name or UUID')
    .option('--json', 'print JSON')
    .action(list);
  snapshot
    .command('delete')
    .description('delete sets: their snapshots in Ceph, then their records')
    .argument('<SET...>')
    .option('--json', 'print JSON')
    .action(remove);
}

async function create(domain: string, options: JsonOption): Promise<void> {
  using screen = createScreen(options.json === true);
  const result = await follow(createClient().watch('/v1/snapshots', { domain }), domain, screen);
  screen[Symbol.dispose]();
  if (options.json) printJson(result);
  else print(row(result as SnapshotSet).join('  '));
}

async function list(domain: string | undefined, options: JsonOption): Promise<void> {
  const { sets } = await createClient().get<SnapshotsAnswer>('/v1/snapshots', { domain });
  if (options.json) return printJson(sets);
  if (sets.length === 0)
    return print(domain === undefined ? 'No snapshot sets.' : `No snapshot sets of ${domain}.`);
  print(table(COLUMNS, sets.map(row)));
}

const COLUMNS = [
  { head: 'SET' },
  { head: 'DOMAIN' },
  { head: 'MADE', drop: 1 },
  { head: 'BY', drop: 3 },
  { head: 'QUIESCED', drop: 2 },
  { head: 'INSTANT', drop: 4 },
  { head: 'SNAPSHOTS', drop: 5 },
];

function row(set: SnapshotSet): string[] {
  const names = set.disks.map((disk) => {
    const at = [disk.pool, disk.namespace, disk.image].filter((part) => part !== '').join('/');
    return `${disk.target}=${at}@siphon.${set.id}`;
  });
  const by = set.reason === undefined ? set.event : `${set.event} ${set.reason}`;
  return [
    set.id,
    set.domainName,
    time(set.createdAtMs),
    by,
    set.quiesced,
    set.instant,
    names.join(' '),
  ];
}

async function remove(ids: readonly string[], options: JsonOption): Promise<void> {
  const client = createClient();
  for (const id of ids) await client.remove(`/v1/snapshots/${encodeURIComponent(id)}`);
  if (options.json) printJson(ids);
}
