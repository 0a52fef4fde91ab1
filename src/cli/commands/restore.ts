// siphon restore SET: a domain's disks put back, a new domain, or one disk to attach; and its undoing.

import { type Command, Option } from 'commander';
import { OperatingError } from '../../wire/errors.ts';
import type {
  RestoreAnswer,
  RestoreRequest,
  RestoresAnswer,
  UndoAnswer,
} from '../../wire/restore-api.ts';
import { createClient } from '../client.ts';
import { print, printJson, table, time } from '../output.ts';
import { createScreen, follow } from '../watch.ts';
import { devicesOf } from './snapshot.ts';

interface Options {
  readonly devices?: string;
  readonly rollback?: true;
  readonly as?: string;
  readonly clone?: string;
  readonly to?: string;
  readonly flatten?: true;
  readonly undo?: string;
  readonly list?: true;
  readonly json?: true;
}

const ALONE = ['rollback', 'as', 'clone', 'undo', 'list'];
const others =
  (...more: string[]) =>
  (own: string) =>
    [...ALONE, ...more].filter((each) => each !== own);
const option = (flags: string, description: string, conflicts: readonly string[]) =>
  new Option(flags, description).conflicts([...conflicts]);

export function addRestore(program: Command): void {
  const alone = others();
  const noDisks = others('devices', 'flatten');
  program
    .command('restore')
    .description(
      "put a stopped domain's disks back as they are in a snapshot set: clones take their names, the old ones go to RBD's trash",
    )
    .argument('[SET]')
    .option('--devices <LIST>', 'all, root, or targets: vda,vdb (default: all)')
    .addOption(
      option(
        '--rollback',
        'roll the images themselves back: this cannot be undone',
        alone('rollback'),
      ),
    )
    .addOption(option('--as <NAME>', 'define a new domain from the set instead', alone('as')))
    .addOption(
      option('--clone <TARGET>', 'clone one disk instead, to attach it', [
        ...alone('clone'),
        'devices',
      ]),
    )
    .option('--to <IMAGE>', 'where: POOL/[NAMESPACE/]IMAGE')
    .option('--flatten', 'make the clones independent of the set, in the background')
    .addOption(
      option(
        '--undo <ID>',
        'take a restore back, by its id or its set: the old disks come out of the trash, the clones go',
        noDisks('undo'),
      ),
    )
    .addOption(option('--list', 'the restores that can be undone', noDisks('list')))
    .option('--json', 'print JSON')
    .action(restore);
}

async function restore(set: string | undefined, options: Options): Promise<void> {
  const { undo, list, json, ...rest } = options;
  const isOfSet = undo === undefined && list !== true;
  if (isOfSet === (set === undefined)) throw wrongCall(isOfSet);
  if (list === true) return await listAll(json === true);
  if (undo !== undefined) return await takeBack(undo, json === true);
  const { devices, ...wanted } = rest;
  const request: RestoreRequest = {
    set: set ?? '',
    ...wanted,
    ...(devices !== undefined && { devices: devicesOf(devices) }),
  };
  const answer = await watched<RestoreAnswer>('/v1/restores', request, request.set, json === true);
  if (json) printJson(answer);
  else print(told(answer));
}

function wrongCall(isOfSet: boolean): OperatingError {
  const why = isOfSet ? 'SET is missing' : '--undo and --list take no SET beside them';
  const hint = 'siphon restore --help tells how.';
  const fields = { code: 'usage', op: 'read arguments', subject: 'siphon restore' } as const;
  return new OperatingError({ ...fields, why, hint });
}

async function watched<T>(
  path: string,
  request: object,
  subject: string,
  isJson: boolean,
): Promise<T> {
  using screen = createScreen(isJson);
  return (await follow(createClient().watch(path, request), subject, screen)) as T;
}

const HEADS: Readonly<Record<RestoreAnswer['way'], (answer: RestoreAnswer) => string>> = {
  'in-place': ({ id, domain }) => `${domain.name} is put back. Undo: siphon restore --undo ${id}`,
  rollback: ({ domain }) => `${domain.name} is rolled back.`,
  'new-domain': ({ domain }) => `${domain.name} (${domain.uuid}) is defined, and not started.`,
  clone: ({ disks: [disk] }) => `${disk?.image ?? ''} is made.`,
};

function told(answer: RestoreAnswer): string {
  const { way, disks, notes, xml, flattening } = answer;
  return [
    HEADS[way](answer),
    ...disks.map(({ target, image, oldId }) => {
      const old = oldId === undefined ? '' : `, before: ${oldId}, in the trash`;
      return `  ${target} ${image}${way === 'in-place' ? old : ''}`;
    }),
    ...notes.map((note) => `  ${note}`),
    ...(flattening === undefined ? [] : [`  being flattened: siphon jobs (${flattening})`]),
    ...(xml === undefined ? [] : [xml.trimEnd()]),
  ].join('\n');
}

async function takeBack(id: string, isJson: boolean): Promise<void> {
  const path = '/v1/restores/undo';
  const answer = await watched<UndoAnswer>(path, { restore: id }, id, isJson);
  if (isJson) return printJson(answer);
  const lines = answer.disks.map(({ target, image, clone }) => {
    const left = clone === 'in-trash' ? ', its clone is in the trash: it has snapshots' : '';
    return `  ${target} ${image} is as it was before${left}`;
  });
  print([`${answer.id} is undone.`, ...lines].join('\n'));
}

const COLUMNS = [
  { head: 'RESTORE' },
  { head: 'SET', drop: 2 },
  { head: 'DOMAIN' },
  { head: 'MADE', drop: 1 },
  { head: 'DISKS', drop: 3 },
];

async function listAll(isJson: boolean): Promise<void> {
  const { restores } = await createClient().getByCeph<RestoresAnswer>('/v1/restores', {});
  if (isJson) return printJson(restores);
  if (restores.length === 0) return print('No restores that can be undone.');
  const rows = restores.map(({ id, setId, domainName, createdAtMs, disks }) => {
    const images = disks.map(({ target, name }) => `${target}=${name}`).join(' ');
    return [id, setId, domainName, time(createdAtMs), images];
  });
  print(table(COLUMNS, rows));
}
