// siphon describe SOURCE: what is beside an image in Ceph for every host's fills: what OpenStack says of it, and a signed manifest of its chunks.

import type { Command } from 'commander';
import type { DescribeRequest, PropertyChanges } from '../../wire/api.ts';
import { OperatingError } from '../../wire/errors.ts';
import type {
  ManifestAnswer,
  ManifestFacts,
  ManifestRequest,
  SourceAnswer,
} from '../../wire/manifest-api.ts';
import { formatSize } from '../../wire/size.ts';
import { createClient } from '../client.ts';
import { readManifestFile, writeManifestFile } from '../manifest-file.ts';
import { print, printJson, sheet } from '../output.ts';
import { PROPERTIES, readPropertiesFile } from '../properties-file.ts';

interface DescribeOptions {
  readonly properties?: string;
  readonly property?: readonly string[];
  readonly remove?: true;
  readonly manifest?: string;
  readonly removeManifest?: true;
  readonly saveManifest?: string;
  readonly json?: true;
}

export function addDescribe(program: Command): void {
  program
    .command('describe')
    .description("show or record what a source's bytes must be, beside it in Ceph")
    .argument('<SOURCE>')
    .option('--properties <FILE>', "record what 'openstack image show -f json' printed of it")
    .option(
      '--property <KEY=VALUE>',
      'record this one, and leave the others; KEY= removes it',
      also,
    )
    .option('--remove', 'remove that record')
    .option(
      '--manifest <FILE>',
      'attach a signed manifest of its chunks, in place of what is there',
    )
    .option('--remove-manifest', 'remove its manifest')
    .option('--save-manifest <FILE>', 'write its manifest there, for a copy of it')
    .option('--json', 'print JSON')
    .action(describe);
}

async function describe(source: string, options: DescribeOptions): Promise<void> {
  const { properties, property, remove, manifest, removeManifest, saveManifest } = options;
  const wishes = [properties, property, remove, manifest, removeManifest, saveManifest];
  const asked = wishes.filter((each) => each !== undefined);
  if (asked.length > 1) throw tooMuch(source);
  if (asked.length === 0) return show(source, options);
  if (saveManifest !== undefined) return save(source, saveManifest);
  if (manifest !== undefined || removeManifest) return setManifest(source, options);
  const request: DescribeRequest =
    property !== undefined
      ? { source, change: changesOf(property) }
      : { source, properties: properties ? await readPropertiesFile(properties) : null };
  await createClient().post('/v1/describe', request);
  if (options.json) printJson(request);
}

async function save(source: string, file: string): Promise<void> {
  const { envelope } = await createClient().getByCeph<ManifestAnswer>('/v1/manifest', { source });
  await writeManifestFile(file, envelope);
}

async function setManifest(source: string, { manifest, json }: DescribeOptions): Promise<void> {
  const envelope = manifest === undefined ? null : await readManifestFile(manifest);
  const request: ManifestRequest = { source, envelope };
  const facts = await createClient().post<Partial<ManifestFacts>>('/v1/manifest', request);
  if (json) printJson(facts);
}

async function show(source: string, { json }: DescribeOptions): Promise<void> {
  const answer = await createClient().getByCeph<SourceAnswer>('/v1/source', { source });
  if (json) return printJson(answer);
  const { ids, sizeBytes, properties = {}, manifest } = answer;
  print(
    sheet([
      ['source', source],
      [
        'image id',
        `${ids.imageId}, snapshot ${ids.snapId}, pool ${ids.poolId}, cluster ${ids.fsid}`,
      ],
      ['size', `${formatSize(sizeBytes)} (${sizeBytes} bytes)`],
      ...Object.entries(properties).map(([name, value]) => [name, value] as const),
      ...(manifest === undefined ? [['manifest', 'none'] as const] : manifestLines(manifest)),
    ]),
  );
}

function manifestLines({
  facts,
  keyId,
  problem,
}: NonNullable<SourceAnswer['manifest']>): (readonly [string, string])[] {
  const state =
    keyId === undefined ? `refused here: ${problem ?? ''}` : `signed by key ${keyId}, trusted here`;
  if (facts === undefined) return [['manifest', state]];
  const { name, version, chunkBytes, dataChunks, sha256, keyIds } = facts;
  const called = [name, version].filter((each) => each !== undefined).join(' ');
  return [
    ['manifest', state],
    ...(called === '' ? [] : [['manifest of', called] as const]),
    ['chunks', `${dataChunks} of ${formatSize(chunkBytes)} with data`],
    ['chunk table', sha256],
    ['keys', keyIds.join(', ')],
  ];
}

/** The option may be given several times. */
const also = (value: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  value,
];

/** @throws OperatingError usage: not KEY=VALUE, or an unknown key */
function changesOf(pairs: readonly string[]): PropertyChanges {
  const changes = pairs.map((pair) => {
    const at = pair.indexOf('=');
    const key = pair.slice(0, Math.max(0, at));
    if (!PROPERTIES.some((each) => each === key)) throw noProperty(pair);
    return [key, pair.slice(at + 1) || null] as const;
  });
  return Object.fromEntries(changes);
}

function noProperty(subject: string): OperatingError {
  const why = `it is not KEY=VALUE with one of the keys ${PROPERTIES.join(', ')}`;
  return new OperatingError({ code: 'usage', op: 'describe', subject, why });
}

function tooMuch(source: string): OperatingError {
  return new OperatingError({
    code: 'usage',
    op: 'describe',
    subject: source,
    why: 'more than one of --properties FILE, --property KEY=VALUE, --remove, --manifest FILE, --remove-manifest, --save-manifest FILE is given',
    hint: 'Give one of them; or none, to see what is recorded.',
  });
}
