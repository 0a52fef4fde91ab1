// Where a disk's bytes are, as `<disk>`, `<backingStore>` and `<mirror>` say it alike: a type and a `<source>`.

import { attribute, child, childrenOf, type XmlElement } from './xml.ts';

export type DiskSource =
  | RbdSource
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'block'; readonly path: string }
  /** A volume of a libvirt storage pool: its path is libvirt's to tell. */
  | { readonly kind: 'volume'; readonly pool: string; readonly volume: string }
  /** Something that siphon has no use for: nbd, iscsi, nvme, vhostuser, … */
  | { readonly kind: 'other'; readonly type: string; readonly protocol?: string }
  /** An empty drive. */
  | { readonly kind: 'none' };

export interface RbdSource extends RbdName {
  readonly kind: 'rbd';
  /** QEMU opens the image at it, read-only. */
  readonly snapshot?: string;
  readonly hosts: readonly { readonly name: string; readonly port?: number }[];
  readonly configFile?: string;
  /** cephx user without `client.`. */
  readonly user?: string;
  /** librbd or QEMU decrypts it: the image's bytes are not the disk's. */
  readonly isEncrypted: boolean;
}

export interface RbdName {
  readonly pool: string;
  /** '' is the default one. */
  readonly namespace: string;
  readonly image: string;
}

/** Reads the source of a `<disk>`, `<backingStore>` or `<mirror>`. */
export function parseSource(holder: XmlElement): DiskSource {
  const source = child(holder, 'source');
  const type = attribute(holder, 'type') ?? 'file';
  if (source === undefined) return { kind: 'none' };
  switch (type) {
    case 'file':
      return pathSource('file', attribute(source, 'file'));
    case 'block':
      return pathSource('block', attribute(source, 'dev'));
    case 'volume':
      return volumeSource(source);
    case 'network':
      return networkSource(holder, source);
    default:
      return { kind: 'other', type };
  }
}

/**
 * Splits the `name` of an rbd source: POOL/IMAGE, or since libvirt 11.6 POOL/NAMESPACE/IMAGE. Older ones refuse the latter
 * when the domain starts. null: neither.
 */
export function splitRbdName(name: string): RbdName | null {
  const parts = name.split('/');
  if (parts.includes('')) return null;
  const [pool = '', second = '', third] = parts;
  if (parts.length === 2) return { pool, namespace: '', image: second };
  return parts.length === 3 ? { pool, namespace: second, image: third ?? '' } : null;
}

function pathSource(kind: 'file' | 'block', path: string | undefined): DiskSource {
  return path === undefined || path === '' ? { kind: 'none' } : { kind, path };
}

function volumeSource(source: XmlElement): DiskSource {
  const pool = attribute(source, 'pool');
  const volume = attribute(source, 'volume');
  return pool === undefined || volume === undefined
    ? { kind: 'none' }
    : { kind: 'volume', pool, volume };
}

function networkSource(holder: XmlElement, source: XmlElement): DiskSource {
  const protocol = attribute(source, 'protocol') ?? '';
  const name = protocol === 'rbd' ? splitRbdName(attribute(source, 'name') ?? '') : null;
  if (name === null) return { kind: 'other', type: 'network', protocol };
  const snapshot = attribute(child(source, 'snapshot'), 'name');
  const configFile = attribute(child(source, 'config'), 'file');
  // libvirt keeps <auth> and <encryption> where the operator wrote them: under <disk>, or inside <source>.
  const user = attribute(child(source, 'auth') ?? child(holder, 'auth'), 'username');
  const isEncrypted = (child(source, 'encryption') ?? child(holder, 'encryption')) !== undefined;
  return {
    kind: 'rbd',
    ...name,
    ...(snapshot === undefined ? {} : { snapshot }),
    hosts: childrenOf(source, 'host').map(hostOf),
    ...(configFile === undefined ? {} : { configFile }),
    ...(user === undefined ? {} : { user }),
    isEncrypted,
  };
}

function hostOf(host: XmlElement): RbdSource['hosts'][number] {
  const port = Number(attribute(host, 'port') ?? Number.NaN);
  const name = attribute(host, 'name') ?? '';
  return Number.isInteger(port) ? { name, port } : { name };
}
