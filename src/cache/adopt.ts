// Taking in a complete file under a base's name that the catalogue does not know of: it was published by an earlier siphon.

import { stat } from 'node:fs/promises';
import { type BaseIdentity, baseId } from '../domain/base-path.ts';
import { leansOnOthers } from '../domain/qcow2-header.ts';
import { OperatingError } from '../wire/errors.ts';
import type { BaseRow } from './catalogue/bases.ts';
import { onDisk, statFile } from './files.ts';
import { createHeaderReader } from './headers.ts';

export type Adoption =
  | { readonly kind: 'row'; readonly row: Omit<BaseRow, 'state'> }
  | { readonly kind: 'strange'; readonly why: string };

const WRITABLE_BY_OTHERS = 0o022;

/** The row of such a file: unverified, without digests; its names and the source's format are not known until it is filled anew. */
export async function adoptFile(
  path: string,
  { ids, format }: BaseIdentity,
  nowMs: number,
): Promise<Adoption> {
  const { uid, mode, nlink } = await onDisk('stat', path, () => stat(path));
  const file = await statFile(path);
  if (file === undefined || file.sizeBytes === 0) return strange('it is empty');
  if (uid !== process.geteuid?.()) return strange(`it belongs to user ${uid}`);
  if ((mode & WRITABLE_BY_OTHERS) !== 0) return strange('others may write to it');
  if (nlink !== 1) return strange('it has another name too');
  const virtualSizeBytes = format === 'raw' ? file.sizeBytes : await qcow2Size(path);
  if (virtualSizeBytes === null) return strange('it is no qcow2 file that stands alone');
  const row = {
    id: baseId(ids),
    ids,
    name: {
      fsid: ids.fsid,
      pool: String(ids.poolId),
      namespace: ids.namespace,
      image: ids.imageId,
      snap: String(ids.snapId),
    },
    format,
    sourceFormat: format,
    virtualSizeBytes,
    sourceSizeBytes: file.sizeBytes,
    allocatedBytes: file.allocatedBytes,
    digests: {},
    verification: { kind: 'unverified' as const },
    signatures: [],
    file: { sizeBytes: file.sizeBytes, mtimeMs: file.mtimeMs, inode: file.inode },
    createdAtMs: nowMs,
    lastUsedAtMs: nowMs,
  };
  return { kind: 'row', row };
}

async function qcow2Size(path: string): Promise<number | null> {
  try {
    const header = await createHeaderReader().read(path);
    return header.kind === 'qcow2' && !leansOnOthers(header) ? header.virtualSizeBytes : null;
  } catch (error) {
    if (error instanceof OperatingError) return null; // unreadable: no base to serve
    throw error;
  }
}

function strange(why: string): Adoption {
  return { kind: 'strange', why };
}
