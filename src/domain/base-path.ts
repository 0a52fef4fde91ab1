// A base's identity as a path, `ROOT/FSID/POOLID[.NAMESPACE]/IMAGEID@SNAPID.qcow2` or `.raw`, and back. A public contract:
// overlays name a base by it before the base is there. One identity has one path, and one path one identity.
//
// A namespace or image id is written as it is where it holds only A-Z a-z 0-9 . _ -, and each other byte of its UTF-8 as %XX
// (upper case). POOLID is digits, so the first dot ends it: `3` has no namespace, `3..` has the namespace '.'.

import assert from 'node:assert/strict';
import type { DiskFormat, SourceIds } from '../wire/vocabulary.ts';

const FSID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const POOL = /^(0|[1-9][0-9]*)(?:\.(.+))?$/;
const FILE = /^([^@]+)@(0|[1-9][0-9]*)$/;
const FORMATS: readonly DiskFormat[] = ['qcow2', 'raw'];
/** NAME_MAX of Linux filesystems, with room for the name of a partial file beside it. */
const PART_BYTES_MAX = 200;

export interface BaseIdentity {
  readonly ids: SourceIds;
  readonly format: DiskFormat;
}

/** The base's id: its path without root and suffix. Asserts that the ids can be Ceph's ({@link areBaseIds}). */
export function baseId(ids: SourceIds): string {
  const id = idText(ids);
  assert(id !== null, `not the ids of a source image: ${JSON.stringify(ids)}`);
  return id;
}

/** The base's path under `root`, an absolute folder. */
export function basePath(root: string, ids: SourceIds, format: DiskFormat): string {
  return `${folderOf(root)}${baseId(ids)}.${format}`;
}

/** Whether ids that came from outside have a path: an fsid, safe integers, an image id, nothing over-long. */
export function areBaseIds(ids: SourceIds): boolean {
  return idText(ids) !== null;
}

/** The ids in a base's id, or null if it is not exactly what {@link baseId} writes. */
export function parseBaseId(id: string): SourceIds | null {
  const [fsid = '', pool = '', file = '', ...more] = id.split('/');
  const [, poolId, namespace = ''] = POOL.exec(pool) ?? [];
  const [, imageId, snapId] = FILE.exec(file) ?? [];
  if (more.length > 0 || poolId === undefined || imageId === undefined) return null;
  const ids = {
    fsid,
    poolId: Number(poolId),
    namespace: unescapePart(namespace),
    imageId: unescapePart(imageId),
    snapId: Number(snapId),
  };
  return idText(ids) === id ? ids : null;
}

/** The identity in a base's path, or null if the path is not exactly what {@link basePath} writes under `root`. */
export function parseBasePath(root: string, path: string): BaseIdentity | null {
  const folder = folderOf(root);
  const format = FORMATS.find((each) => path.endsWith(`.${each}`));
  if (format === undefined || !path.startsWith(folder)) return null;
  const ids = parseBaseId(path.slice(folder.length, -(format.length + 1)));
  return ids === null ? null : { ids, format };
}

function idText(ids: SourceIds): string | null {
  const pool = `${ids.poolId}${ids.namespace === '' ? '' : `.${escapePart(ids.namespace)}`}`;
  const file = `${escapePart(ids.imageId)}@${ids.snapId}`;
  const isValid =
    FSID.test(ids.fsid) &&
    ids.imageId !== '' &&
    [ids.poolId, ids.snapId].every((each) => Number.isSafeInteger(each) && each >= 0) &&
    [ids.namespace, ids.imageId].every((each) => each.isWellFormed()) &&
    [pool, file].every((each) => each.length <= PART_BYTES_MAX);
  return isValid ? `${ids.fsid}/${pool}/${file}` : null;
}

function folderOf(root: string): string {
  assert(root.startsWith('/'), 'the root of the bases is an absolute path');
  return root.endsWith('/') ? root : `${root}/`;
}

function escapePart(text: string): string {
  return text.replace(/[^A-Za-z0-9._-]+/g, (run) =>
    Array.from(
      Buffer.from(run),
      (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
    ).join(''),
  );
}

/** Lenient: {@link parseBaseId} writes the result again and compares. */
function unescapePart(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return ''; // not UTF-8, so nothing that escapePart wrote: it will not compare equal
  }
}
