// A source in RBD -> a verified file: or an error that says why, and no file. Runs in the process of a fill worker.

import { INSPECT_HEAD_BYTES, inspectHead } from '../trust/inspect.ts';
import { chunkBytesFor } from '../trust/manifest/chunk-table.ts';
import type { Verdict } from '../trust/verify.ts';
import { checksWhole, hashJobs, judge } from '../trust/verify.ts';
import { OperatingError } from '../wire/errors.ts';
import { formatSource } from '../wire/source.ts';
import type { ChunkTableBytes } from '../wire/verification-plan.ts';
import type { FillProgress, FillResult, FillSpec } from '../wire/worker-protocol.ts';
import { ChunkHashing } from './chunk-hashing.ts';
import { cancelled } from './errors.ts';
import { PartialFile } from './partial-file.ts';
import type { Sink } from './sink.ts';
import { qcow2Sink, verbatimSink } from './sink.ts';
import { SlotMemory } from './slots.ts';
import { Source } from './source.ts';
import type { Hashing } from './stream.ts';
import { startHashing, stream } from './stream.ts';

export interface ExportOptions {
  readonly signal?: AbortSignal;
  /** Told a few times a second while bytes pass, and when all are through. */
  readonly onProgress?: (progress: FillProgress) => void;
}

type DigestSpec = Pick<FillSpec, 'ceph' | 'ids' | 'name' | 'plan'>;
type Accepted = { readonly kind: 'raw' | 'qcow2'; readonly virtualSizeBytes: number };

/**
 * Writes the source to `spec.partialPath`, checked, complete and fsynced; the folder's entry is the caller's to fsync. Nothing
 * is left there when it rejects, unless by `corrupt`: then what was read.
 * @throws OperatingError `refused` (format), `corrupt` (digest, signature), `not-found` (removed, also meanwhile), `exhausted` (disk full),
 *   `cancelled`, `unavailable`, `denied`, `mismatch`.
 */
export async function exportImage(
  spec: FillSpec,
  options: ExportOptions = {},
): Promise<FillResult> {
  return await run(spec, options, async (opened) => {
    const { source, head } = opened;
    await using file = await PartialFile.create(spec.partialPath);
    const sink = sinkFor(spec, file, head, source.sizeBytes);
    const done = await transfer(spec, options, opened, sink).catch((error: unknown) => {
      if (error instanceof OperatingError && error.code === 'corrupt') file.keep();
      throw error;
    });
    file.keep();
    return {
      sourceFormat: head.kind,
      format: sink.format,
      virtualSizeBytes: head.virtualSizeBytes,
      sourceSizeBytes: source.sizeBytes,
      allocatedBytes: done.allocatedBytes,
      ...(sink.head && { head: sink.head }),
      ...done.found,
    };
  });
}

/** Reads the source for its digests alone, and judges them. @throws OperatingError as {@link exportImage} */
export async function digestImage(spec: DigestSpec, options: ExportOptions = {}): Promise<Found> {
  return await run(spec, options, async (opened) => (await transfer(spec, options, opened)).found);
}

interface Opened {
  readonly source: Source;
  readonly hashing: Hashing;
  readonly chunks: ChunkHashing | undefined;
  readonly head: Accepted;
}

/** Opens and inspects, while the hash threads start; ends with what `work` gives, or what really happened. */
async function run<T>(
  spec: DigestSpec,
  options: ExportOptions,
  work: (opened: Opened) => Promise<T>,
): Promise<T> {
  const { signal } = options;
  const subject = formatSource(spec.name);
  try {
    signal?.throwIfAborted();
    await using source = await Source.open(spec);
    const chunkBytes = chunkBytesOf(spec, source);
    const jobs = hashJobs(spec.plan, chunkBytes !== undefined);
    await using hashing = startHashing(jobs, new SlotMemory());
    const threads = { chunkBytes, memory: hashing.memory, isPaced: jobs.length > 0 };
    await using chunks = startChunks(spec, source, threads);
    return await work({ source, hashing, chunks, head: await inspect(spec, source) });
  } catch (error) {
    throw signal?.aborted ? cancelled(subject) : error;
  }
}

/** As the manifest has them, or as siphon's own tables; none of an image that is empty, or too large for one. */
function chunkBytesOf({ plan }: DigestSpec, { sizeBytes }: Source): number | undefined {
  if (sizeBytes === 0) return undefined;
  return plan.manifest?.table.chunkBytes ?? chunkBytesFor(sizeBytes);
}

interface ChunkThreads {
  readonly chunkBytes: number | undefined;
  readonly memory: SlotMemory;
  readonly isPaced: boolean;
}

function startChunks(
  { plan }: DigestSpec,
  { subject, sizeBytes }: Source,
  { chunkBytes, ...threads }: ChunkThreads,
): ChunkHashing | undefined {
  if (chunkBytes === undefined) return undefined;
  const { manifest: expected } = plan;
  const more = expected === undefined ? {} : { expected };
  return new ChunkHashing({ subject, sizeBytes, chunkBytes, ...threads, ...more });
}

async function inspect(spec: DigestSpec, source: Source): Promise<Accepted> {
  const head = Buffer.from(new ArrayBuffer(Math.min(INSPECT_HEAD_BYTES, source.sizeBytes)));
  if (head.length > 0) await source.read(head, 0);
  const { declaredFormat, accepts } = spec.plan;
  const found = inspectHead(head, source.sizeBytes, declaredFormat, accepts);
  if (found.kind !== 'refused') return found;
  throw new OperatingError({
    code: 'refused',
    op: 'inspect',
    subject: source.subject,
    why: found.reason,
  });
}

function sinkFor(spec: FillSpec, file: PartialFile, head: Accepted, sizeBytes: number): Sink {
  const isRewritten = head.kind === 'raw' && spec.rawBecomes === 'qcow2';
  return isRewritten ? qcow2Sink(file, sizeBytes) : verbatimSink(file, head.kind, sizeBytes);
}

type Found = Verdict & { readonly table?: ChunkTableBytes };

/** All bytes through; then the look that decides whether they count, and the verdict. */
async function transfer(
  spec: DigestSpec,
  options: ExportOptions,
  { source, hashing, chunks }: Opened,
  sink?: Sink,
): Promise<{ readonly found: Found; readonly allocatedBytes: number }> {
  const { timeoutMs } = spec.ceph;
  const request = {
    source,
    hashing,
    chunks,
    isChecked: checksWhole(spec.plan),
    sink,
    timeoutMs,
    ...options,
  };
  const { outcomes, table, allocatedBytes } = await stream(request);
  await source.lookAgain();
  options.signal?.throwIfAborted();
  const verdict = judge(spec.plan, outcomes, source.subject, table);
  return { found: { ...verdict, ...(table && { table }) }, allocatedBytes };
}
