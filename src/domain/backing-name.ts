// How the backing name in a qcow2 header reads, by QEMU's rules (block.c: path_has_protocol, bdrv_get_full_backing_filename;
// block/rbd.c: qemu_rbd_parse_filename). Paths stay as QEMU would open them: `..` and links are the file system's to resolve.

import { posix } from 'node:path';
import { type Monitor, monitorsIn } from './disk-cluster.ts';
import type { RbdName } from './disk-source.ts';

export type BackingName =
  | { readonly kind: 'file'; readonly path: string; readonly format?: string }
  | BackingRbd
  | { readonly kind: 'unsupported'; readonly text: string };

export interface BackingRbd extends RbdName {
  readonly kind: 'rbd';
  readonly snapshot?: string;
  readonly configFile?: string;
  readonly hosts?: readonly Monitor[];
  readonly user?: string;
  /** Of the image's bytes, where a json: name says it. */
  readonly format?: string;
}

/** Options that change which bytes are meant: a name with one of them is beyond siphon. */
const BLOCK_OPTIONS_THAT_MOVE_BYTES = [
  'offset',
  'size',
  'encrypt',
  'key-secret',
  'backing',
  'data-file',
];
const JSON_DEPTH_MAX = 8;

/**
 * Resolves `name` as found in the header of `overlay`: the overlay's absolute path, or null where it is not a file (a relative
 * name has then no folder to stand in).
 */
export function resolveBackingName(name: string, overlay: string | null): BackingName {
  const unsupported: BackingName = { kind: 'unsupported', text: name };
  if (name === '' || name.includes('\0')) return unsupported;
  if (name.startsWith('json:'))
    return parseJson(name.slice('json:'.length), overlay) ?? unsupported;
  if (name.startsWith('rbd:')) return parseRbd(name.slice('rbd:'.length)) ?? unsupported;
  if (name.startsWith('file:')) return fileOf(name.slice('file:'.length), null) ?? unsupported;
  // A colon before any slash makes it a protocol that siphon does not read: nbd://, fat:, host_device:, …
  if (/^[^/:]*:/.test(name)) return unsupported;
  return fileOf(name, overlay) ?? unsupported;
}

function fileOf(path: string, overlay: string | null): BackingName | null {
  if (path.startsWith('/')) return { kind: 'file', path: withoutEmptyParts(path) };
  return overlay === null
    ? null
    : { kind: 'file', path: withoutEmptyParts(`${posix.dirname(overlay)}/${path}`) };
}

/** `//` and `/./` mean nothing to any file system; `..` does (after a link), so it stays. */
function withoutEmptyParts(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  return `/${parts.join('/')}`;
}

/** `POOL/[NAMESPACE/]IMAGE[@SNAP][:KEY=VALUE…]`, a backslash taking the next character as it is. */
function parseRbd(text: string): BackingRbd | null {
  const [spec = '', ...options] = splitUnescaped(text, ':');
  const [path = '', snapshot, ...moreAts] = splitUnescaped(spec, '@');
  const [pool = '', second = '', third, ...moreParts] = splitUnescaped(path, '/').map(
    unescapeBackslash,
  );
  if (moreAts.length > 0 || moreParts.length > 0) return null;
  const values = new Map(options.map(optionOf));
  return rbdOf({
    pool,
    namespace: third === undefined ? '' : second,
    image: third ?? second,
    snapshot: snapshot === undefined ? undefined : unescapeBackslash(snapshot),
    configFile: values.get('conf'),
    hosts: monitorsIn(values.get('mon_host') ?? ''),
    user: values.get('id'),
  });
}

function optionOf(option: string): [string, string] {
  const [key = '', ...rest] = splitUnescaped(option, '=');
  return [unescapeBackslash(key), unescapeBackslash(rest.join('='))];
}

function splitUnescaped(text: string, separator: string): string[] {
  const parts = [''];
  for (let i = 0; i < text.length; i++) {
    const taken = text[i] === '\\' ? text.slice(i, ++i + 1) : (text[i] ?? '');
    if (taken === separator) parts.push('');
    else parts.push(`${parts.pop()}${taken}`);
  }
  return parts;
}

function unescapeBackslash(text: string): string {
  return text.replace(/\\(.?)/gs, '$1');
}

type Fields = Record<string, unknown>;
type RbdFields = {
  [Key in 'pool' | 'namespace' | 'image' | 'snapshot' | 'configFile' | 'user' | 'format']: unknown;
} & { hosts: readonly Monitor[] };

/** null where a name is missing or no string. */
function rbdOf(fields: Partial<RbdFields>): BackingRbd | null {
  const { pool, namespace = '', image, snapshot, configFile, hosts = [], user, format } = fields;
  if (typeof pool !== 'string' || typeof image !== 'string' || typeof namespace !== 'string')
    return null;
  if (pool === '' || image === '') return null;
  return {
    kind: 'rbd',
    pool,
    namespace,
    image,
    ...(isName(snapshot) ? { snapshot } : {}),
    ...(isName(configFile) ? { configFile } : {}),
    ...(hosts.length > 0 ? { hosts } : {}),
    ...(isName(user) ? { user } : {}),
    ...(isName(format) ? { format } : {}),
  };
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

/** `json:{…}`: block options, nested or with dotted keys. A format layer (raw, qcow2) holds its file under `file`. */
function parseJson(text: string, overlay: string | null): BackingName | null {
  let options: unknown;
  try {
    options = JSON.parse(text);
  } catch {
    return null;
  }
  return isFields(options) ? fromOptions(nested(options), overlay, undefined, 0) : null;
}

function fromOptions(
  options: Fields,
  overlay: string | null,
  format: string | undefined,
  depth: number,
): BackingName | null {
  if (depth > JSON_DEPTH_MAX || BLOCK_OPTIONS_THAT_MOVE_BYTES.some((key) => key in options))
    return null;
  const { driver, file, filename } = options;
  if (isFields(file)) {
    // Two format layers, one in the other, are beyond what siphon reads.
    if (format !== undefined && driver !== undefined) return null;
    return fromOptions(file, overlay, typeof driver === 'string' ? driver : format, depth + 1);
  }
  const withFormat = format === undefined ? {} : { format };
  if (driver === 'rbd') {
    const { pool, namespace, image, snapshot, conf, user, server } = options;
    const hosts = isFields(server) || Array.isArray(server) ? serversOf(server) : [];
    return rbdOf({ pool, namespace, image, snapshot, configFile: conf, hosts, user, format });
  }
  if (
    typeof filename !== 'string' ||
    ![undefined, 'file', 'host_device'].includes(driver as string)
  )
    return null;
  const named =
    driver === undefined ? resolveBackingName(filename, overlay) : fileOf(filename, overlay);
  return named === null || named.kind === 'unsupported' ? null : { ...named, ...withFormat };
}

function serversOf(server: object): Monitor[] {
  return Object.values(server).flatMap((each: unknown) => {
    if (!isFields(each) || typeof each['host'] !== 'string') return [];
    return [{ name: each['host'], port: Number(each['port'] ?? 0) }];
  });
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `{"file.driver": "rbd"}` -> `{"file": {"driver": "rbd"}}`, one level of dots a turn, as qdict does for all. */
function nested(options: Fields, depth = 0): Fields {
  const result: Fields = Object.create(null) as Fields;
  for (const [key, value] of Object.entries(options)) {
    const dot = key.indexOf('.');
    const [head, inner] =
      dot === -1 ? [key, value] : [key.slice(0, dot), { [key.slice(dot + 1)]: value }];
    const before = result[head];
    result[head] = isFields(before) && isFields(inner) ? { ...before, ...inner } : inner;
  }
  if (depth > JSON_DEPTH_MAX) return result;
  for (const [key, value] of Object.entries(result)) {
    if (isFields(value)) result[key] = nested(value, depth + 1);
  }
  return result;
}
