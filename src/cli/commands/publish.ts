// siphon publish SET, siphon flatten IMAGE: a set made into images of a pool, inside Ceph; or into files.

import type { KeyObject } from 'node:crypto';
import { type Command, Option } from 'commander';
import { OperatingError } from '../../wire/errors.ts';
import type { ManifestFacts } from '../../wire/manifest-api.ts';
import {
  FALLBACKS,
  type Fallback,
  FILE_FORMATS,
  FLATTENS,
  type Flatten,
  type FlattenRequest,
  type PublishedFile,
  type PublishedImage,
  type PublishRequest,
  type PublishResult,
  TO_FILE,
} from '../../wire/publish-api.ts';
import { formatSize } from '../../wire/size.ts';
import { formatImage, formatSource } from '../../wire/source.ts';
import type { DiskFormat } from '../../wire/vocabulary.ts';
import { createClient } from '../client.ts';
import { print, printJson } from '../output.ts';
import { readKey, signSource } from '../sign-source.ts';
import { createScreen, follow } from '../watch.ts';
import { devicesOf } from './snapshot.ts';

interface PublishOptions {
  readonly to: string;
  readonly cluster?: string;
  readonly devices?: string;
  readonly name?: string;
  readonly flatten?: Flatten | false;
  readonly fallback?: Fallback | false;
  readonly format?: DiskFormat;
  readonly encrypted?: true;
  readonly wait?: true;
  readonly sign?: string;
  readonly json?: true;
}

export function addPublish(program: Command): void {
  program
    .command('publish')
    .description(
      'make images of a set in a pool, by clones inside Ceph: IMAGE@snap is usable at once',
    )
    .argument('<SET>')
    .requiredOption(
      '--to <POOL>',
      'POOL or POOL/NAMESPACE; or file: into publish.snapshots_directory',
    )
    .option('--cluster <NAME>', "as the config names it: full copies there (default: the set's)")
    .option('--devices <LIST>', 'all, root, or targets: vda,vdb (default: all)')
    .option('--name <NAME>', 'of the image; of several each is NAME-TARGET (default: DOMAIN-SET)')
    .addOption(
      new Option(
        '--flatten <BY>',
        'by this host (default), by the queue of the cluster, or never',
      ).choices(FLATTENS),
    )
    .option('--no-flatten', 'leave them clones of the set, until `siphon flatten`')
    .addOption(
      new Option(
        '--fallback <HOW>',
        'where no clone can be made: full copies, else files; or files',
      ).choices(FALLBACKS),
    )
    .option('--no-fallback', 'fail where no clone can be made')
    .addOption(new Option('--format <FORMAT>', 'of files').choices(FILE_FORMATS))
    .option('--encrypted', 'encrypted disks, too, as they are')
    .option('--wait', 'until they are flattened, and need the set no longer')
    .option('--sign <KEY>', 'sign each image, as `siphon sign` does')
    .option('--json', 'print JSON')
    .action(publish);
}

export function addFlatten(program: Command): void {
  program
    .command('flatten')
    .description('part a published image from the set that it is a clone of')
    .argument('<IMAGE>', 'POOL/[NAMESPACE/]IMAGE')
    .option('--cluster', "by the cluster's own queue, rather than by this host")
    .option('--json', 'print JSON')
    .action(flatten);
}

async function publish(set: string, options: PublishOptions): Promise<void> {
  const { sign, json } = options;
  const key = sign === undefined ? undefined : await keyFor(options, sign);
  const request = requestOf(set, options);
  using screen = createScreen(json === true);
  const lines = createClient().watch('/v1/publish', request);
  const result = (await follow(lines, set, screen)) as PublishResult;
  screen[Symbol.dispose]();
  const { images, files = [] } = result;
  const manifests = key && (await signAll(result, key, json === true));
  if (json) return printJson({ ...result, ...(manifests && { manifests }) });
  const { flatten } = request;
  for (const image of images) print(told(image, flatten !== 'never', key !== undefined));
  for (const file of files) print(toldFile(file));
}

/** Before anything is made. @throws OperatingError usage */
async function keyFor({ to }: PublishOptions, file: string): Promise<KeyObject> {
  if (to === TO_FILE) throw noImages(file, 'files carry no manifest');
  return await readKey(file);
}

/** @throws OperatingError: the images are there, and usable */
async function signAll(
  { fsid, images, set }: PublishResult,
  key: KeyObject,
  isQuiet: boolean,
): Promise<ManifestFacts[]> {
  if (images.length === 0) throw noImages(set, 'its disks became files, which carry no manifest');
  const facts: ManifestFacts[] = [];
  for (const image of images) {
    const { pool, namespace, image: name, snap, imageId, snapId } = image;
    // The short form is of the default cluster.
    const parts = [fsid, pool, name, snap].map((part) => encodeURIComponent(part));
    const source =
      namespace === ''
        ? `rbd://${parts.join('/')}`
        : formatSource({ pool, namespace, image: name, snap });
    const how = { claims: { name }, isQuiet, of: { fsid, imageId, snapId } };
    facts.push(await signSource(source, key, how));
  }
  return facts;
}

function noImages(subject: string, why: string): OperatingError {
  const hint = 'Sign the image that you make of the file: siphon sign SOURCE --key KEY.';
  return new OperatingError({ code: 'usage', op: 'sign', subject, why, hint });
}

function requestOf(set: string, options: PublishOptions): PublishRequest {
  const { to, cluster, devices, name, flatten, fallback, format, encrypted, wait } = options;
  return {
    set,
    to,
    ...(cluster !== undefined && { cluster }),
    ...(devices !== undefined && { devices: devicesOf(devices) }),
    ...(name !== undefined && { name }),
    ...(flatten !== undefined && { flatten: flatten || 'never' }),
    ...(fallback !== undefined && { fallback: fallback || 'none' }),
    ...(format !== undefined && { format }),
    ...(encrypted && { encrypted }),
    ...(wait && { wait }),
  };
}

/** As a SOURCE, and what becomes of it. */
function told(image: PublishedImage, isFlattened: boolean, isSigned: boolean): string {
  const state = image.isIndependent
    ? 'independent'
    : isFlattened
      ? 'usable; it is being flattened: siphon jobs'
      : `usable; clone ${image.depth} in a row, until siphon flatten`;
  const why = image.whyCopied === undefined ? '' : `, copied: ${image.whyCopied}`;
  const signed = isSigned ? ', signed' : image.hasManifest ? ', with the manifest of its disk' : '';
  return `rbd:${formatImage(image)}@${image.snap}  ${image.target}  ${state}${why}${signed}`;
}

function toldFile({ path, target, format, allocatedBytes, whyCopied }: PublishedFile): string {
  const why = whyCopied === undefined ? '' : `, no image: ${whyCopied}`;
  return `${path}  ${target}  ${format}, ${formatSize(allocatedBytes)}${why}`;
}

async function flatten(
  image: string,
  { cluster, json }: { readonly cluster?: true; readonly json?: true },
): Promise<void> {
  const request: FlattenRequest = { image, ...(cluster && { cluster }) };
  using screen = createScreen(json === true);
  const result = await follow(createClient().watch('/v1/flatten', request), image, screen);
  screen[Symbol.dispose]();
  if (json) printJson(result);
}
