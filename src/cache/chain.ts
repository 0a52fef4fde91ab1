// Which bases a domain's disks lean on: each disk's backing chain, from the XML where it states one, else from the headers of the
// images. A format is never guessed: what a guest can write must not choose what is read.

import type { BackingName } from '../domain/backing-name.ts';
import { resolveBackingName } from '../domain/backing-name.ts';
import { type BaseIdentity, parseBasePath } from '../domain/base-path.ts';
import type { DiskSource } from '../domain/disk-source.ts';
import type { Disk, Domain, Layer } from '../domain/domain.ts';
import type { Qcow2Result } from '../domain/qcow2-header.ts';
import { OperatingError } from '../wire/errors.ts';
import type { ImagePlace } from '../wire/ports.ts';

/** `bases` of an unknown chain: those that were found all the same. */
export type DiskChain =
  | { readonly kind: 'known'; readonly target: string; readonly bases: readonly BaseIdentity[] }
  | {
      readonly kind: 'unknown';
      readonly target: string;
      readonly bases: readonly BaseIdentity[];
      readonly reason: string;
    };

export interface RbdHead extends ImagePlace {
  readonly snapshot?: string;
}

export interface ChainReaders {
  /** The folders under which bases stand: as guests see them, and as they are written. */
  readonly roots: readonly string[];
  /** @throws OperatingError */
  readHeader(path: string): Promise<Qcow2Result>;
  /** Of a qcow2 inside an RBD image. @throws OperatingError */
  readRbdHeader(image: RbdHead): Promise<Qcow2Result>;
  /** Links resolved; undefined where the file is not there. */
  realPath(path: string): Promise<string | undefined>;
}

export const CHAIN_DEPTH_MAX = 16;

/** The chain of each disk of a domain, in the order of the disks. Never rejects for what a file or a cluster does not tell. */
export async function basesOf(domain: Domain, readers: ChainReaders): Promise<DiskChain[]> {
  return Promise.all(domain.disks.map((disk) => chainOfDisk(disk, readers)));
}

/** Where the backing chain of a qcow2 file ends. */
export function chainEndOf(path: string, readers: ChainReaders): Promise<ChainEnd> {
  const overlay: Layer = { source: { kind: 'file', path }, format: 'qcow2' };
  return walk({ layers: [overlay], isTerminated: false }, readers);
}

async function chainOfDisk(disk: Disk, readers: ChainReaders): Promise<DiskChain> {
  const { target, backing, mirror } = disk;
  const stated = backing.kind === 'stated' ? backing : undefined;
  const ends = [
    await walk(
      {
        layers: [layerOf(disk), ...(stated?.layers ?? [])],
        isTerminated: stated?.isTerminated ?? false,
      },
      readers,
    ),
    ...(mirror === undefined
      ? []
      : [await walk({ layers: [mirror], isTerminated: false }, readers)]),
  ];
  const bases = ends.flatMap((end) => (end.kind === 'base' ? [end.base] : []));
  const unknown = ends.find((end) => end.kind === 'unknown');
  if (unknown === undefined) return { kind: 'known', target, bases };
  return { kind: 'unknown', target, bases, reason: unknown.reason };
}

export type ChainEnd =
  | { readonly kind: 'base'; readonly base: BaseIdentity }
  /** It leans on nothing of ours. */
  | { readonly kind: 'end' }
  | { readonly kind: 'unknown'; readonly reason: string };

interface Start {
  readonly layers: readonly Layer[];
  readonly isTerminated: boolean;
}

async function walk({ layers, isTerminated }: Start, readers: ChainReaders): Promise<ChainEnd> {
  const [first, ...stated] = layers;
  const seen = new Set<string>();
  let layer = first;
  for (let depth = 0; layer !== undefined; depth++) {
    const key = JSON.stringify(layer.source);
    if (seen.has(key)) return unknown('its backing chain goes in a circle');
    if (depth > CHAIN_DEPTH_MAX)
      return unknown(`its backing chain is over ${CHAIN_DEPTH_MAX} deep`);
    seen.add(key);
    const base = await baseAt(layer.source, readers);
    if (base !== null) return base;
    if (stated.length > 0) layer = stated.shift();
    else if (isTerminated) return { kind: 'end' };
    else {
      const below = await belowOf(layer, readers);
      if ('kind' in below) return below;
      layer = below;
    }
  }
  return { kind: 'end' };
}

/** A path under the bases' folders names a base, or nothing that siphon knows. null: it is elsewhere. */
async function baseAt(source: DiskSource, readers: ChainReaders): Promise<ChainEnd | null> {
  if (source.kind !== 'file') return null;
  const real = baseByName(source.path, readers.roots);
  if (real !== null) return real;
  const resolved = await readers.realPath(source.path);
  return resolved === undefined ? null : baseByName(resolved, readers.roots);
}

function baseByName(path: string, roots: readonly string[]): ChainEnd | null {
  for (const root of roots) {
    const base = parseBasePath(root, path);
    if (base !== null) return { kind: 'base', base };
  }
  if (!roots.some((root) => path.startsWith(`${root}/`))) return null;
  return unknown(`${path} is under the bases' folder, and not the path of a base`);
}

/** The next layer by the image's own header. */
async function belowOf(
  { source, format }: Layer,
  readers: ChainReaders,
): Promise<Layer | ChainEnd> {
  // libvirt takes a disk without a stated format for raw, and refuses a backing file without one unless it is raw.
  if (source.kind === 'none' || format === undefined || format === 'raw') return { kind: 'end' };
  if (format !== 'qcow2') return unknown(`siphon does not read ${format} images`);
  try {
    return await belowQcow2(source, readers);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return unknown(error.message);
  }
}

async function belowQcow2(source: DiskSource, readers: ChainReaders): Promise<Layer | ChainEnd> {
  let header: Qcow2Result;
  if (source.kind === 'file' || source.kind === 'block') {
    header = await readers.readHeader(source.path);
  } else if (source.kind === 'rbd') {
    if (source.isEncrypted) return unknown('its RBD image is encrypted');
    header = await readers.readRbdHeader(source);
  } else {
    return unknown(`siphon cannot read a qcow2 image in a ${source.kind} source`);
  }
  if (header.kind === 'malformed')
    return unknown(`its qcow2 header is malformed: ${header.reason}`);
  if (header.kind !== 'qcow2') return unknown('it is stated to be qcow2, and is not');
  if (header.backing === undefined) return { kind: 'end' };
  const overlay = source.kind === 'file' || source.kind === 'block' ? source.path : null;
  return layerOfBacking(resolveBackingName(header.backing.name, overlay), header.backing.format);
}

function layerOfBacking(name: BackingName, stated: string | undefined): Layer | ChainEnd {
  if (name.kind === 'unsupported')
    return unknown(`siphon cannot follow the backing name ${JSON.stringify(name.text)}`);
  const format = name.format ?? stated;
  const source: DiskSource =
    name.kind === 'file' ? name : { hosts: [], ...name, kind: 'rbd', isEncrypted: false };
  return { source, ...(format === undefined ? {} : { format }) };
}

function layerOf({ source, format }: Disk): Layer {
  return format === undefined ? { source } : { source, format };
}

function unknown(reason: string): ChainEnd {
  return { kind: 'unknown', reason };
}
