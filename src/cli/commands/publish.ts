// siphon publish SET, siphon flatten IMAGE: a set made into images of a pool, inside Ceph.

import type { Command } from 'commander';
import type {
  FlattenRequest,
  PublishedImage,
  PublishRequest,
  PublishResult,
} from '../../wire/publish-api.ts';
import { formatImage } from '../../wire/source.ts';
import { createClient } from '../client.ts';
import { print, printJson } from '../output.ts';
import { createScreen, follow } from '../watch.ts';
import { devicesOf } from './snapshot.ts';

interface PublishOptions {
  readonly to: string;
  readonly devices?: string;
  readonly name?: string;
  readonly flatten: boolean;
  readonly fallback: boolean;
  readonly encrypted?: true;
  readonly wait?: true;
  readonly json?: true;
}

export function addPublish(program: Command): void {
  program
    .command('publish')
    .description(
      'make images of a set in a pool, by clones inside Ceph: IMAGE@snap is usable at once',
    )
    .argument('<SET>')
    .requiredOption('--to <POOL>', 'POOL or POOL/NAMESPACE')
    .option('--devices <LIST>', 'all, root, or targets: vda,vdb (default: all)')
    .option('--name <NAME>', 'of the image; of several each is NAME-TARGET (default: DOMAIN-SET)')
    .option('--no-flatten', 'leave them clones of the set, until `siphon flatten`')
    .option('--no-fallback', 'fail where no clone can be made, rather than copy')
    .option('--encrypted', 'encrypted disks, too, as they are')
    .option('--wait', 'until they are flattened, and need the set no longer')
    .option('--json', 'print JSON')
    .action(publish);
}

export function addFlatten(program: Command): void {
  program
    .command('flatten')
    .description('part a published image from the set that it is a clone of')
    .argument('<IMAGE>', 'POOL/[NAMESPACE/]IMAGE')
    .option('--json', 'print JSON')
    .action(flatten);
}

async function publish(set: string, options: PublishOptions): Promise<void> {
  const { to, devices, name, flatten, fallback, encrypted, wait, json } = options;
  const request: PublishRequest = {
    set,
    to,
    ...(devices !== undefined && { devices: devicesOf(devices) }),
    ...(name !== undefined && { name }),
    ...(!flatten && { flatten: 'never' }),
    ...(!fallback && { fallback: 'none' }),
    ...(encrypted && { encrypted }),
    ...(wait && { wait }),
  };
  using screen = createScreen(json === true);
  const lines = createClient().watch('/v1/publish', request);
  const result = (await follow(lines, set, screen)) as PublishResult;
  screen[Symbol.dispose]();
  if (json) return printJson(result);
  for (const image of result.images) print(told(image, flatten));
}

/** As a SOURCE, and what becomes of it. */
function told(image: PublishedImage, isFlattened: boolean): string {
  const state = image.isIndependent
    ? 'independent'
    : isFlattened
      ? 'usable; it is being flattened: siphon jobs'
      : `usable; clone ${image.depth} in a row, until siphon flatten`;
  const why = image.whyCopied === undefined ? '' : `, copied: ${image.whyCopied}`;
  return `rbd:${formatImage(image)}@${image.snap}  ${image.target}  ${state}${why}`;
}

async function flatten(image: string, { json }: { readonly json?: true }): Promise<void> {
  const request: FlattenRequest = { image };
  using screen = createScreen(json === true);
  const result = await follow(createClient().watch('/v1/flatten', request), image, screen);
  screen[Symbol.dispose]();
  if (json) printJson(result);
}
