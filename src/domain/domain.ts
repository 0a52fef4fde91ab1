// Domain XML to what siphon needs of it: identity, siphon's metadata, disks with their sources and stated backing chains.
// Only what the XML says: a file's own header may name a backing file that no XML shows.

import { OperatingError } from '../wire/errors.ts';
import type { StateKind } from '../wire/vocabulary.ts';
import { type DiskSource, parseSource } from './disk-source.ts';
import { type DomainWish, readWish } from './wish.ts';
import { attribute, child, childrenOf, parseXml, type XmlElement } from './xml.ts';

/** The namespace of siphon's own element under `<metadata>`; its prefix is the operator's choice. */
export const METADATA_NAMESPACE = 'urn:siphon:domain:1';

export interface Domain {
  /** Lower case. */
  readonly uuid: string;
  readonly name: string;
  /** Of a running domain; libvirt numbers from 1. */
  readonly id?: number;
  /** What its own metadata says of its sets. */
  readonly wish: DomainWish;
  readonly disks: readonly Disk[];
  /** State that is in no disk: where libvirt has it. */
  readonly stateFiles: readonly StateFile[];
}

export interface StateFile {
  readonly what: StateKind;
  readonly path: string;
}

export interface Disk {
  /** `vda`; unique within a domain. */
  readonly target: string;
  /** `disk`, `cdrom`, `floppy` or `lun`. */
  readonly device: string;
  readonly isReadOnly: boolean;
  readonly isTransient: boolean;
  /** `<driver type>`: `raw`, `qcow2`, …; undefined where the XML states none (libvirt then takes raw). */
  readonly format?: string;
  readonly source: DiskSource;
  readonly backing: Backing;
  /** Where a running copy or active commit also writes. */
  readonly mirror?: Layer;
}

/** One image of a chain. */
export interface Layer {
  readonly format?: string;
  readonly source: DiskSource;
}

/**
 * What the XML says is under a disk's source. `unstated`: nothing, so the image's own header decides. `stated`: it overrides
 * the header; not terminated means that the last layer's own header goes on from there.
 */
export type Backing =
  | { readonly kind: 'unstated' }
  | { readonly kind: 'stated'; readonly layers: readonly Layer[]; readonly isTerminated: boolean };

/**
 * Parses the XML of a domain, as libvirt prints it or gives it to a hook.
 * @throws OperatingError `usage`: malformed, or not a domain with a name and a UUID.
 */
export function parseDomain(xml: string): Domain {
  const root = parseXml(xml);
  if (root.name !== 'domain') throw unusable(`its root is <${root.name}>`);
  const name = child(root, 'name')?.text ?? '';
  const uuid = (child(root, 'uuid')?.text ?? '').trim().toLowerCase();
  if (name === '') throw unusable('it has no name');
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid)) throw unusable('it has no UUID');
  const id = domainId(root);
  return {
    uuid,
    name,
    ...(id === undefined ? {} : { id }),
    wish: readWish(siphonMetadata(root)),
    disks: childrenOf(child(root, 'devices'), 'disk').map(diskOf),
    stateFiles: [...nvramOf(root), ...tpmOf(root, uuid)],
  };
}

/** libvirt prints `id='-1'`, or nothing, for a domain that does not run. */
function domainId(root: XmlElement): number | undefined {
  const text = attribute(root, 'id') ?? '';
  return /^[0-9]{1,9}$/.test(text) ? Number(text) : undefined;
}

/** `<nvram>PATH</nvram>`, or a `<source file>` in it. */
function nvramOf(root: XmlElement): StateFile[] {
  const nvram = child(child(root, 'os'), 'nvram');
  const path = attribute(child(nvram, 'source'), 'file') ?? nvram?.text.trim() ?? '';
  return path === '' ? [] : [{ what: 'nvram', path }];
}

/** Of the emulated one (libvirt allows one), where libvirt has it unless the XML says another place (qemu_tpm.c). */
function tpmOf(root: XmlElement, uuid: string): StateFile[] {
  const backend = childrenOf(child(root, 'devices'), 'tpm')
    .map((tpm) => child(tpm, 'backend'))
    .find((each) => attribute(each, 'type') === 'emulator');
  if (backend === undefined) return [];
  const path = attribute(child(backend, 'source'), 'path') ?? `/var/lib/libvirt/swtpm/${uuid}`;
  return [{ what: 'tpm', path }];
}

function diskOf(disk: XmlElement): Disk {
  const format = attribute(child(disk, 'driver'), 'type');
  const mirror = child(disk, 'mirror');
  return {
    target: attribute(child(disk, 'target'), 'dev') ?? '',
    device: attribute(disk, 'device') ?? 'disk',
    isReadOnly: child(disk, 'readonly') !== undefined,
    isTransient: child(disk, 'transient') !== undefined,
    ...(format === undefined ? {} : { format }),
    source: parseSource(disk),
    backing: backingOf(disk),
    ...(mirror === undefined ? {} : { mirror: layerOf(mirror) }),
  };
}

function backingOf(disk: XmlElement): Backing {
  let store = child(disk, 'backingStore');
  if (store === undefined) return { kind: 'unstated' };
  const layers: Layer[] = [];
  for (; store !== undefined; store = child(store, 'backingStore')) {
    if (isTerminator(store)) return { kind: 'stated', layers, isTerminated: true };
    layers.push(layerOf(store));
  }
  return { kind: 'stated', layers, isTerminated: false };
}

/** `<backingStore/>`: nothing is below (libvirt formatdomain, backingStore). */
function isTerminator(store: XmlElement): boolean {
  return store.children.length === 0 && !store.attributes.has('type');
}

function layerOf(element: XmlElement): Layer {
  const format = attribute(child(element, 'format'), 'type');
  return { ...(format === undefined ? {} : { format }), source: parseSource(element) };
}

/** siphon's element is found by its namespace, wherever that was declared. */
function siphonMetadata(root: XmlElement): XmlElement | undefined {
  const metadata = child(root, 'metadata');
  return metadata?.children.find(
    (each) => namespaceOf([root, metadata, each]) === METADATA_NAMESPACE,
  );
}

function namespaceOf(path: readonly XmlElement[]): string | undefined {
  const [prefix, local] = path.at(-1)?.name.split(':') ?? [];
  const declaration = local === undefined ? 'xmlns' : `xmlns:${prefix}`;
  return path.map((each) => each.attributes.get(declaration)).findLast((uri) => uri !== undefined);
}

function unusable(why: string): OperatingError {
  return new OperatingError({ code: 'usage', op: 'read domain XML', subject: 'document', why });
}
