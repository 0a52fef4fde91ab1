// siphon snapshot create|list|get|protect|unprotect|delete|prune: snapshot sets of domains.

import { type Command, Option } from 'commander';
import type {
  PruneAnswer,
  PruneRequest,
  SnapshotCreateAnswer,
  SnapshotCreateRequest,
  SnapshotsAnswer,
} from '../../wire/api.ts';
import { fromWire } from '../../wire/errors.ts';
import { formatSize } from '../../wire/size.ts';
import type { Devices, KeptFile, SetDisk, SnapshotSet, Wanted } from '../../wire/vocabulary.ts';
import { createClient } from '../client.ts';
import { print, printJson, reportError, sheet, table, time } from '../output.ts';
import { createScreen, follow } from '../watch.ts';
import { proofText, proofWord, seenOf } from './verify.ts';

interface JsonOption {
  readonly json?: true;
}

type KeptSet = SnapshotsAnswer['sets'][number];

export function addSnapshot(program: Command): void {
  const snapshot = program
    .command('snapshot')
    .description('snapshot sets of domains')
    .helpCommand(false);
  snapshot
    .command('create')
    .description(
      "snapshot domains' RBD disks now: all disks at one instant, quiesced where the guest can; several domains are held together",
    )
    .argument('<DOMAIN...>', 'names or UUIDs')
    .option('--devices <LIST>', 'all, root, or targets: vda,vdb (default: all)')
    .addOption(
      new Option(
        '--quiesce <HOW>',
        'freeze the filesystems by the guest agent (default: try)',
      ).choices(['none', 'try', 'require']),
    )
    .addOption(
      new Option(
        '--instant <HOW>',
        'suspend the vCPUs: auto, where there are several disks; suspend; none (default: auto)',
      ).choices(['auto', 'suspend', 'none']),
    )
    .option('--json', 'print JSON')
    .action(create);
  snapshot
    .command('list')
    .description('the sets, of one domain or of all')
    .argument('[DOMAIN]', 'name or UUID')
    .option('--all-hosts', 'as Ceph has them recorded, those of other hosts too')
    .option('--json', 'print JSON')
    .action(list);
  snapshot
    .command('get')
    .description('all about one set: what was asked for, what was got, and of which disks')
    .argument('<SET>')
    .option('--json', 'print JSON')
    .action(get);
  for (const [name, what] of PROTECTIONS) {
    snapshot
      .command(name)
      .description(what)
      .argument('<SET...>')
      .option('--json', 'print JSON')
      .action((ids: readonly string[], options: JsonOption) => protect(name, ids, options));
  }
  snapshot
    .command('delete')
    .description('delete sets: their snapshots in Ceph, then their records')
    .argument('<SET...>')
    .option('--json', 'print JSON')
    .action(remove);
  snapshot
    .command('prune')
    .description('remove the sets that their policies no longer keep, of one domain or of all')
    .argument('[DOMAIN]', 'name or UUID')
    .option('--dry-run', 'say what would go and what would stay, and why')
    .option('--json', 'print JSON')
    .action(prune);
}

const PROTECTIONS = [
  ['protect', 'keep sets until they are unprotected: nothing prunes or deletes them'],
  ['unprotect', 'let sets be pruned and deleted again'],
] as const;

interface CreateOptions extends JsonOption, Partial<Omit<Wanted, 'devices'>> {
  readonly devices?: string;
}

async function create(domains: readonly string[], options: CreateOptions): Promise<void> {
  const { json, devices, ...wanted } = options;
  const request: SnapshotCreateRequest = {
    domains,
    ...wanted,
    ...(devices !== undefined && { devices: devicesOf(devices) }),
  };
  using screen = createScreen(json === true);
  const answer = await follow(
    createClient().watch('/v1/snapshots', request),
    domains.join(' '),
    screen,
  );
  screen[Symbol.dispose]();
  const { sets, failed } = answer as SnapshotCreateAnswer;
  if (json) printJson(sets);
  else for (const set of sets) print(told(set));
  for (const { error } of failed) process.exitCode = reportError(fromWire(error), json === true);
}

/** `all`, `root`, or targets with commas between. */
export function devicesOf(text: string): Devices {
  return text === 'all' || text === 'root' ? text : text.split(',').filter((each) => each !== '');
}

/** What was got, in one line; and what was not, though it was tried. */
function told(set: SnapshotSet): string {
  const held = set.holdMs === undefined ? '' : `  held ${Math.round(set.holdMs)} ms`;
  const why = set.whyNotQuiesced === undefined ? '' : `\nnot quiesced: ${set.whyNotQuiesced}`;
  return `${row(set).join('  ')}${held}${why}`;
}

interface ListOptions extends JsonOption {
  readonly allHosts?: true;
}

async function list(domain: string | undefined, options: ListOptions): Promise<void> {
  const client = createClient();
  const { sets, closed = [] } =
    options.allHosts === true
      ? await client.getByCeph<SnapshotsAnswer>('/v1/snapshots', { domain, allHosts: 'true' })
      : await client.get<SnapshotsAnswer>('/v1/snapshots', { domain });
  if (options.json) return printJson(sets);
  const none = domain === undefined ? 'No snapshot sets.' : `No snapshot sets of ${domain}.`;
  if (sets.length === 0) print(none);
  else if (options.allHosts === true) print(table([HOST, ...COLUMNS], sets.map(rowOfHost)));
  else print(table(COLUMNS, sets.map(row)));
  if (closed.length > 0) print(`Not looked into, for want of caps: ${closed.join(', ')}`);
}

const HOST = { head: 'HOST' };

function rowOfHost(set: SnapshotSet): string[] {
  return [set.host, ...row(set)];
}

const COLUMNS = [
  { head: 'SET' },
  { head: 'DOMAIN' },
  { head: 'MADE', drop: 1 },
  { head: 'BY', drop: 3 },
  { head: 'QUIESCED', drop: 2 },
  { head: 'INSTANT', drop: 4 },
  { head: 'KEPT', drop: 5 },
  { head: 'RESTORABLE', drop: 7 },
  { head: 'SNAPSHOTS', drop: 6 },
];

function row(set: SnapshotSet): string[] {
  return [
    set.id,
    set.domainName,
    time(set.createdAtMs),
    eventOf(set),
    set.quiesced,
    set.instant,
    set.isProtected === true ? 'protected' : (set.policy ?? '-'),
    proofWord(set.proof),
    set.disks.map((disk) => `${disk.target}=${snapshotOf(set, disk)}`).join(' '),
  ];
}

function eventOf({ event, reason, lifecycle }: SnapshotSet): string {
  return [event, reason ?? lifecycle].filter((each) => each !== undefined).join(' ');
}

function snapshotOf({ id }: SnapshotSet, { pool, namespace, image }: SetDisk): string {
  return `${[pool, namespace, image].filter((part) => part !== '').join('/')}@siphon.${id}`;
}

const pathOf = (id: string) => `/v1/snapshots/${encodeURIComponent(id)}`;

async function get(id: string, options: JsonOption): Promise<void> {
  const set = await createClient().get<KeptSet>(pathOf(id));
  if (options.json) printJson(set);
  else print(sheet(pairsOf(set)));
}

function pairsOf(set: KeptSet): (readonly [string, string])[] {
  const { wanted, holdMs } = set;
  const devices = typeof wanted.devices === 'string' ? wanted.devices : wanted.devices.join(' ');
  const asked = `${devices}, quiesce ${wanted.quiesce}, instant ${wanted.instant}`;
  return [
    ['set', `${set.id}, ${set.state}`],
    ['domain', `${set.domainName} (${set.domainUuid}) on ${set.host}`],
    ['made', `${time(set.createdAtMs)}, ${eventOf(set)}`],
    ['kept', set.isProtected === true ? 'protected' : `by policy ${set.policy ?? '-'}`],
    ['restorable', set.proof === undefined ? 'not tried' : proofText(set.proof)],
    ...(set.proof === undefined ? [] : seenOf(set.proof).map((line) => ['', line] as const)),
    ['asked for', asked],
    ['quiesced', [set.quiesced, set.whyNotQuiesced].filter(Boolean).join(': ')],
    ['instant', set.instant],
    ['held', holdMs === undefined ? 'not' : `${holdMs} ms`],
    ...set.disks.map((disk) => [`disk ${disk.target}`, diskText(set, disk)] as const),
    ...set.leftOut.map(({ target, why }) => [`left out ${target}`, why] as const),
    ...(set.keptFiles ?? []).map((file) => [file.what, keptText(file)] as const),
  ];
}

function keptText({ path, copy, why }: KeptFile): string {
  if (copy === undefined) return `${path}, not kept: ${why ?? 'it is named only'}`;
  return `${path}, ${formatSize(copy.sizeBytes)} kept in ${copy.object}`;
}

function diskText(set: SnapshotSet, disk: SetDisk): string {
  const stall = disk.stallMs === undefined ? undefined : `writes stalled ${disk.stallMs} ms`;
  const owner = disk.owner === undefined ? undefined : `${disk.owner}'s`;
  return [snapshotOf(set, disk), bytesText(disk), owner, stall]
    .filter((each) => each !== undefined)
    .join(', ');
}

function bytesText({ sizeBytes, allocatedBytes, whyNotMeasured }: SetDisk): string {
  const size = formatSize(sizeBytes);
  if (allocatedBytes !== undefined) return `${formatSize(allocatedBytes)} of ${size} allocated`;
  return `${size}, of which is not known what is allocated: ${whyNotMeasured ?? 'siphond ended before'}`;
}

async function protect(
  what: (typeof PROTECTIONS)[number][0],
  ids: readonly string[],
  options: JsonOption,
): Promise<void> {
  const client = createClient();
  for (const id of ids) await client.post(`${pathOf(id)}/${what}`, {});
  if (options.json) printJson(ids);
}

async function remove(ids: readonly string[], options: JsonOption): Promise<void> {
  const client = createClient();
  for (const id of ids) await client.remove(pathOf(id));
  if (options.json) printJson(ids);
}

interface PruneOptions extends JsonOption {
  readonly dryRun?: true;
}

async function prune(domain: string | undefined, options: PruneOptions): Promise<void> {
  const request: PruneRequest = {
    dryRun: options.dryRun === true,
    ...(domain !== undefined && { domain }),
  };
  const answer = await createClient().post<PruneAnswer>('/v1/prune', request);
  if (options.json) printJson(answer);
  else print(prunedText(answer));
}

function prunedText({ decisions, dryRun }: PruneAnswer): string {
  const columns = [
    { head: 'DECISION' },
    { head: 'SET' },
    { head: 'DOMAIN', drop: 1 },
    { head: 'MADE', drop: 3 },
    { head: 'WHY', drop: 2, isCut: true },
  ];
  const rows = decisions.map(({ decision, set, domain, createdAtMs, reason }) => {
    return [decision, set, domain, time(createdAtMs), reason];
  });
  const count = decisions.filter(({ decision }) => decision === 'prune').length;
  const told = dryRun
    ? `Would remove ${count}.`
    : `Removing ${count}, one a second: see siphon jobs.`;
  return rows.length === 0 ? 'No snapshot sets.' : `${table(columns, rows)}\n${told}`;
}
