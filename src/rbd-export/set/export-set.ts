// A snapshot set, or what changed since another, to a stream of bytes in the format of export files.

import { isDeepStrictEqual } from 'node:util';
import { type Cluster, listSnapshots, parentOf } from 'ceph-napi';
import {
  decodeHeader,
  ExportChain,
  encodeHeader,
  firstMark,
  type Header,
  Mark,
  SetRecord,
  type SetState,
  type Shape,
} from '../../export-file/index.ts';
import { OperatingError } from '../../wire/errors.ts';
import type { ExportResult, ExportSpec, TransferProgress } from '../../wire/transfer-protocol.ts';
import { VERSION } from '../../wire/version.ts';
import type { SetDisk, SnapshotSet } from '../../wire/vocabulary.ts';
import { cancelled, withCeph } from '../errors.ts';
import { connectTo, Source } from '../source.ts';
import { isMapped, missesCuts } from './diff-traits.ts';
import { changedPieces, type Since, wholePieces } from './pieces.ts';
import { transferDisk, type WriteOut } from './transfer-disk.ts';

export interface SetExportOptions {
  /** What of the file is there already: its header, and the place behind its last frame. */
  readonly begun?: { readonly header: Buffer; readonly mark: unknown };
  readonly write: WriteOut;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: TransferProgress) => void;
}

/**
 * Writes what is not there yet, up to the file's end.
 * @throws OperatingError mismatch: what is there is of another set, or a disk is another than in `since`; not-found: a snapshot is
 *   gone, also meanwhile; unavailable, denied, cancelled
 */
export async function exportSet(
  spec: ExportSpec,
  options: SetExportOptions,
): Promise<ExportResult> {
  const { signal } = options;
  try {
    signal?.throwIfAborted();
    await using stack = new AsyncDisposableStack();
    // One connection for all: each costs as much as many reads.
    const cluster = stack.use(await connectTo(spec.ceph, 'snapshot', spec.set.fsid));
    const disks: OpenDisk[] = [];
    for (const disk of spec.set.disks) disks.push(stack.use(await openDisk(cluster, spec, disk)));
    return await run(spec, disks, options);
  } catch (error) {
    throw signal?.aborted ? cancelled(`set ${spec.set.id}`) : error;
  }
}

interface OpenDisk extends AsyncDisposable {
  readonly source: Source;
  readonly shape: Shape;
  /** What it is compared with. */
  readonly since: Since | undefined;
}

async function run(
  spec: ExportSpec,
  disks: readonly OpenDisk[],
  { begun, write, signal, onProgress = () => {} }: SetExportOptions,
): Promise<ExportResult> {
  const made = headerOf(spec, disks);
  const { header, mark, isResumed } = begun ? goOn(made, begun) : await begin(made, write);
  const chain = new ExportChain(mark);
  const totalBytes = sumOf(disks.map(({ source }) => source.sizeBytes));
  let passedBytes = 0;
  const tell = () => onProgress({ doneBytes: passedBytes, totalBytes });
  for (const [at, disk] of disks.entries()) {
    const { source } = disk;
    tell();
    if (at >= mark.disk) {
      const from = at === mark.disk ? mark.offset : 0;
      await sendDisk(
        spec,
        disk,
        { at, from, chain, write, ...(signal && { signal }) },
        (offset) => {
          onProgress({ doneBytes: passedBytes + offset, totalBytes });
        },
      );
      await source.lookAgain();
    }
    passedBytes += source.sizeBytes;
  }
  signal?.throwIfAborted();
  const end = chain.end();
  const dataBytes = sumOf(chain.mark.disks.map((counts) => counts.dataBytes));
  const fileBytes = chain.mark.position + end.length;
  await write([end]);
  tell();
  return { id: header.id, fileBytes, dataBytes, isResumed };
}

const sumOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);

interface Sending {
  readonly at: number;
  /** Where in the disk to begin. */
  readonly from: number;
  readonly chain: ExportChain;
  readonly write: WriteOut;
  readonly signal?: AbortSignal;
}

async function sendDisk(
  { ceph }: ExportSpec,
  { source, since }: OpenDisk,
  { at, from, chain, write, signal }: Sending,
  tell: (offset: number) => void,
): Promise<void> {
  const { image, sizeBytes } = source;
  const pieces =
    since === undefined
      ? wholePieces(source, from, signal)
      : changedPieces(image, sizeBytes, since, from, signal);
  await transferDisk({
    disk: at,
    source,
    pieces: told(pieces, tell),
    tellsZeros: since !== undefined,
    chain,
    write,
    timeoutMs: ceph.timeoutMs,
    ...(signal && { signal }),
  });
}

const TELL_EVERY_MS = 200;

async function* told<T extends { readonly offset: number }>(
  pieces: AsyncIterable<T>,
  tell: (offset: number) => void,
): AsyncGenerator<T> {
  let toldAtMs = performance.now();
  for await (const piece of pieces) {
    if (performance.now() - toldAtMs >= TELL_EVERY_MS) {
      tell(piece.offset);
      toldAtMs = performance.now();
    }
    yield piece;
  }
}

interface Begun {
  readonly header: Header;
  readonly mark: Mark;
  readonly isResumed: boolean;
}

async function begin(header: Header, write: WriteOut): Promise<Begun> {
  const bytes = encodeHeader(header);
  await write([bytes]);
  const { chain } = decodeHeader(bytes);
  const mark = firstMark(header.state.disks.length, bytes.length, chain);
  return { header, mark, isResumed: false };
}

/** Snapshots never change: the same ids, the same bytes. @throws OperatingError mismatch */
function goOn(made: Header, begun: NonNullable<SetExportOptions['begun']>): Begun {
  const { header } = decodeHeader(begun.header);
  const mark = Mark.safeParse(begun.mark);
  const of = ({ state, since, shapes }: Header) => ({ state, since, shapes });
  if (mark.success && isDeepStrictEqual(of(header), of(made))) {
    return { header, mark: mark.data, isResumed: true };
  }
  throw new OperatingError({
    code: 'mismatch',
    op: 'go on with export',
    subject: `set ${made.state.setId}`,
    why: 'what is there was begun for another set, other disks, or another --since',
    hint: 'Name another file, or remove the part that is there.',
  });
}

function headerOf(
  { set, since, manifests = [], id, nowMs }: ExportSpec,
  disks: readonly OpenDisk[],
): Header {
  return {
    format: 1,
    id,
    writtenBy: VERSION,
    createdAtMs: nowMs,
    state: stateOf(set),
    shapes: disks.map(({ shape }) => shape),
    ...(since && { since: stateOf(since) }),
    ...(manifests.length > 0 && { manifests: [...manifests] }),
    // What a set keeps beside its disks stays where it is: its objects are the source's, and a TPM's state is secret.
    set: SetRecord.parse(set),
  };
}

function stateOf({ fsid, id, disks }: SnapshotSet): SetState {
  return {
    fsid,
    setId: id,
    disks: disks.map(({ target, poolId, namespace, imageId, snapId, sizeBytes }) => {
      return { target, poolId, namespace, imageId, snapId, sizeBytes };
    }),
  };
}

async function openDisk(cluster: Cluster, spec: ExportSpec, disk: SetDisk): Promise<OpenDisk> {
  await using stack = new AsyncDisposableStack();
  const source = stack.use(await openSource(cluster, spec.set, disk));
  const { image, subject } = source;
  const shape = await withCeph('look at disk', subject, async () => ({
    order: (await image.stat()).order,
    features: await image.features(),
  }));
  const before = spec.since && disksBefore(spec.since, disk);
  const was = spec.since && before && stack.use(await openSource(cluster, spec.since, before));
  const since = spec.since && before && was && (await look(source, was, spec.since, before));
  const ended = stack.move();
  return { source, shape, since, [Symbol.asyncDispose]: () => ended.disposeAsync() };
}

function openSource(cluster: Cluster, set: SnapshotSet, disk: SetDisk): Promise<Source> {
  const { poolId, namespace, imageId, snapId, pool, image } = disk;
  const ids = { fsid: set.fsid, poolId, namespace, imageId, snapId };
  return Source.openIn(cluster, {
    ids,
    name: { pool, namespace, image, snap: `siphon.${set.id}` },
  });
}

/** @throws OperatingError not-found */
async function look(
  { image, subject }: Source,
  { image: was, sizeBytes }: Source,
  set: SnapshotSet,
  { snapId }: SetDisk,
): Promise<Since> {
  return await withCeph('look at disk', subject, async () => {
    const snapshots = await listSnapshots(image);
    const found = snapshots.find(({ id, type }) => id === snapId && type === 'user');
    if (found === undefined) throw noSnapshot(subject, set);
    return {
      snap: found.name,
      image: was,
      sizeBytes,
      hasParent: (await parentOf(image)) !== null || (await parentOf(was)) !== null,
      hasMaps: (await isMapped(image)) && (await isMapped(was)),
      missesCuts: missesCuts(),
    };
  });
}

/** @throws OperatingError mismatch */
function disksBefore(since: SnapshotSet, { target, imageId }: SetDisk): SetDisk {
  const found = since.disks.find((each) => each.target === target);
  if (found?.imageId === imageId) return found;
  const isAbsent = found === undefined;
  const why = isAbsent ? 'it has no such disk' : 'that disk was another image then';
  const hint = 'Export the set in full: leave --since out.';
  const subject = `set ${since.id}, disk ${target}`;
  throw new OperatingError({ code: 'mismatch', op: 'export since', subject, why, hint });
}

function noSnapshot(subject: string, { id }: SnapshotSet): OperatingError {
  const why = `its snapshot of set ${id} is gone`;
  const hint = 'Export the set in full: leave --since out.';
  return new OperatingError({ code: 'not-found', op: 'export since', subject, why, hint });
}
