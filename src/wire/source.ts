// The two spellings of a source: `rbd:POOL/[NAMESPACE/]IMAGE@SNAP` and OpenStack's `rbd://FSID/POOL/IMAGE/SNAP`.

import { OperatingError } from './errors.ts';
import type { SourceName } from './vocabulary.ts';

const FSID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const HINT =
  'Write rbd:POOL/[NAMESPACE/]IMAGE@SNAP, or rbd://FSID/POOL/IMAGE/SNAP with each part URL-escaped.';

/**
 * Parses a source's name. The URL form is split first and unescaped then, so that `%2F` may stand in a part.
 * @throws OperatingError `usage`, naming what is wrong.
 */
export function parseSource(text: string): SourceName {
  if (text.startsWith('rbd://')) return parseUrl(text);
  if (text.startsWith('rbd:')) return parseShort(text);
  throw malformed(text, 'it does not begin with rbd: or rbd://');
}

function parseUrl(text: string): SourceName {
  const parts = text
    .slice('rbd://'.length)
    .split('/')
    .map((part) => unescapePart(text, part));
  if (parts.some((part) => part === '')) throw malformed(text, 'a part of it is empty');
  const [fsid, pool, image, snap] = parts;
  if (parts.length !== 4 || !fsid || !pool || !image || !snap) {
    throw malformed(text, `it has ${parts.length} parts, not 4`);
  }
  if (!FSID.test(fsid)) throw malformed(text, `'${fsid}' is not an fsid`);
  return checked(text, { fsid, pool, namespace: '', image, snap });
}

function parseShort(text: string): SourceName {
  const [path = '', snap, ...more] = text.slice('rbd:'.length).split('@');
  if (snap === undefined) throw malformed(text, 'it names no snapshot (@SNAP)');
  if (more.length > 0) throw malformed(text, 'it has more than one @');
  const parts = path.split('/');
  if (parts.length < 2 || parts.length > 3) {
    throw malformed(text, 'before the @ stand POOL/IMAGE or POOL/NAMESPACE/IMAGE');
  }
  const [pool = '', namespace = '', image = ''] =
    parts.length === 3 ? parts : [parts[0], '', parts[1]];
  if (parts.includes('') || snap === '') throw malformed(text, 'a part of it is empty');
  return checked(text, { pool, namespace, image, snap });
}

function checked(text: string, name: SourceName): SourceName {
  for (const part of [name.pool, name.namespace, name.image, name.snap]) {
    if (/\p{Cc}/u.test(part)) throw malformed(text, 'it holds a control character');
    if (Buffer.byteLength(part) > 1024)
      throw malformed(text, 'a part of it is longer than 1024 bytes');
  }
  return name;
}

function unescapePart(text: string, part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (cause) {
    throw malformed(text, `'${part}' is not URL-escaped UTF-8`, cause);
  }
}

function malformed(text: string, why: string, cause?: unknown): OperatingError {
  const subject = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  return new OperatingError({
    code: 'usage',
    op: 'read source',
    subject: JSON.stringify(subject),
    why,
    hint: HINT,
    cause,
  });
}

/** The short spelling, for messages; names that it cannot spell are shown as the URL form would. */
export function formatSource(name: SourceName): string {
  const namespace = name.namespace === '' ? '' : `${name.namespace}/`;
  return `rbd:${name.pool}/${namespace}${name.image}@${name.snap}`;
}

/** `pool[/namespace]/image`, as `rbd` takes it. */
export function formatImage(at: {
  readonly pool: string;
  readonly namespace: string;
  readonly image: string;
}): string {
  return [at.pool, at.namespace, at.image].filter((part) => part !== '').join('/');
}

/** `POOL/[NAMESPACE/]IMAGE`. @throws OperatingError usage */
export function parseImage(text: string): Omit<SourceName, 'fsid' | 'snap'> {
  const parts = text.split('/');
  const isWhole = (parts.length === 2 || parts.length === 3) && parts.every((part) => part !== '');
  const [pool = '', ...rest] = parts;
  const [namespace = '', image = ''] = rest.length === 2 ? rest : ['', rest[0]];
  if (isWhole && !text.includes('@')) return { pool, namespace, image };
  const fields = { code: 'usage', op: 'read image', subject: JSON.stringify(text) } as const;
  throw new OperatingError({ ...fields, why: 'it is not POOL/IMAGE or POOL/NAMESPACE/IMAGE' });
}
