// What a set keeps of its domain beside its disks: NVRAM and, where the operator wants it, the state of an emulated TPM, each in an
// object of its own. Whatever is wrong with them, the set is taken: it says what has no copy, and why.

import { createHash } from 'node:crypto';
import type { StateFile } from '../domain/domain.ts';
import { allOf } from '../wire/all-of.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Cluster } from '../wire/ports.ts';
import type { KeptFile, SnapshotSet } from '../wire/vocabulary.ts';
import { DEADLINE_MS } from './deadlines.ts';
import type { SnapshotParts, StateRead } from './ports.ts';

/** A file with what was read of it. */
export interface Found {
  readonly file: StateFile;
  readonly read: StateRead;
}

/** As they are now: just after the set's instant, when its guest runs again. */
export function readFiles(
  { keeps, readState }: Pick<SnapshotParts, 'keeps' | 'readState'>,
  files: readonly StateFile[],
): Promise<readonly Found[]> {
  const wanted = keeps();
  const unwanted = { kind: 'unread', why: 'snapshot.keep_files does not name it' } as const;
  return allOf(
    files.map(async (file) => {
      return { file, read: wanted.includes(file.what) ? await readState(file) : unwanted };
    }),
  );
}

/** As the set has them until they are kept. */
export function notKept(found: readonly Found[]): KeptFile[] {
  return found.map(({ file: { what, path }, read }) => {
    return { what, path, why: read.kind === 'unread' ? read.why : ENDED };
  });
}

const ENDED = 'siphond ended before it was kept';

/** The set with its copies, once Ceph has them. */
export async function keepFiles(
  { ceph }: Pick<Cluster, 'ceph'>,
  set: SnapshotSet,
  found: readonly Found[],
): Promise<SnapshotSet> {
  if (found.length === 0) return set;
  const keptFiles = await allOf(found.map((each) => keepFile(ceph, set, each)));
  return { ...set, keptFiles };
}

async function keepFile(
  ceph: Cluster['ceph'],
  set: SnapshotSet,
  { file, read }: Found,
): Promise<KeptFile> {
  if (read.kind === 'unread') return { ...file, why: read.why };
  const { path, bytes } = read;
  const { what } = file;
  try {
    const base64 = bytes.toString('base64');
    const { object } = await ceph.call('keepFile', { set, what, base64 }, DEADLINE_MS.record);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    return { what, path, copy: { object, sizeBytes: bytes.length, sha256 } };
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { what, path, why: `Ceph did not take it: ${error.why}` };
  }
}
