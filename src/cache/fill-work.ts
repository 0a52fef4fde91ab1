// One fill's work, each step known to the journal before it is done: read into a partial file, look again, publish, or undo.

import assert from 'node:assert/strict';
import { basePath } from '../domain/base-path.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Job } from '../wire/journal.ts';
import type { Cluster } from '../wire/ports.ts';
import type { MendTold } from '../wire/scrub-api.ts';
import { formatSource } from '../wire/source.ts';
import {
  type ChunkTableBytes,
  signatureId,
  type VerificationPlan,
} from '../wire/verification-plan.ts';
import {
  type Base,
  type ChunkTableRef,
  DIGEST_ALGORITHMS,
  type Digests,
  type DiskFormat,
  type SourceFacts,
  type SourceIds,
  type SourceName,
  type SourceProperties,
} from '../wire/vocabulary.ts';
import type { FillMethods, FillProgress, FillResult } from '../wire/worker-protocol.ts';
import type { BaseRow, FileFacts } from './catalogue/bases.ts';
import {
  type DiskFile,
  partialPath,
  publishFile,
  removeFile,
  statFile,
  syncPartialFolder,
} from './files.ts';
import { mergeVerification } from './judge.ts';
import type { CacheParts } from './parts.ts';
import { viewOf } from './view.ts';

export interface WarmAsk {
  readonly source: SourceName | SourceIds;
  readonly operatorDigests?: Digests;
  /** Else the source's own record beside the image. */
  readonly properties?: SourceProperties;
  /** Though it is here: its bytes are in doubt. */
  readonly again?: true;
  /** The suffix by which an overlay names the base; else the settings say what a raw source becomes. */
  readonly format?: DiskFormat;
  readonly priority: 'hook' | 'operator';
}

/** An ask with all that was to be learnt before a byte moves. */
export interface Want {
  readonly ask: WarmAsk;
  readonly id: string;
  readonly cluster: Cluster;
  readonly facts: SourceFacts;
  readonly plan: VerificationPlan;
}

type CheckResult = FillMethods['digest']['result'];

/** What the journal keeps of a fill: enough to finish it, or to undo it and ask again. */
export interface FillData {
  readonly what: 'fill';
  readonly baseId: string;
  readonly ask: WarmAsk & { readonly source: SourceIds };
  readonly name: SourceName;
  readonly plan: {
    readonly digests: VerificationPlan['digests'];
    readonly signatures: readonly string[];
  };
  /** With the step `publish`: the partial file is complete and on disk. */
  readonly outcome?: { readonly result: Filled; readonly file: DiskFile };
}
/** Its table is in the catalogue, and only named here. */
export type Filled = Omit<FillResult, 'table'> & { readonly chunkTable?: ChunkTableRef };

/** Of a check of a base that is here: nothing is to be undone. */
export interface CheckData {
  readonly what: 'check';
  readonly baseId: string;
}

export interface Work {
  readonly job: Job;
  readonly want: Want;
  readonly priority: 'hook' | 'operator';
  readonly onProgress: (progress: FillProgress) => void;
  /** Of a mend. */
  readonly onMended?: (told: MendTold) => void;
}

export function fillDataOf({ ask, id, facts, plan }: Want): FillData {
  return {
    what: 'fill',
    baseId: id,
    ask: { ...ask, source: facts.ids },
    name: facts.name,
    plan: {
      digests: plan.digests,
      signatures: plan.signature === undefined ? [] : [signatureId(plan.signature)],
    },
  };
}

/** The row of a base that is about to be filled; what an old file of it was stays until a new one is there. */
export function fillingRow(
  { ask, id, facts, plan }: Want,
  old: BaseRow | undefined,
  settings: CacheParts['settings'],
  nowMs: number,
): Omit<BaseRow, 'state'> {
  if (old?.file !== undefined) return { ...old, name: facts.name, lastUsedAtMs: nowMs };
  const format = ask.format ?? settings.rawBecomes;
  return {
    id,
    ids: facts.ids,
    name: facts.name,
    format,
    sourceFormat: plan.declaredFormat ?? format,
    virtualSizeBytes: facts.sizeBytes,
    sourceSizeBytes: facts.sizeBytes,
    allocatedBytes: 0,
    digests: {},
    verification: { kind: 'unverified' },
    signatures: [],
    createdAtMs: nowMs,
    lastUsedAtMs: nowMs,
  };
}

/** Reads the source into the partial file, and gives it the base's name. */
export async function fillBase(parts: CacheParts, work: Work): Promise<Base> {
  const { job, want } = work;
  job.step('fill');
  const partial = partialPath(parts.settings.path, job.id);
  const { table, ...read } = await readSource(parts, work, partial);
  await lookAgain(parts, work);
  return await publishPartial(parts, work, (file) => {
    const result: Filled = { ...read, ...keepTable(parts, table) };
    return { ...fillDataOf(want), outcome: { result, file } };
  });
}

/** Gives the complete partial file of a job its base's name. */
export async function publishPartial(
  parts: CacheParts,
  { job, want }: Pick<Work, 'job' | 'want'>,
  dataOf: (file: DiskFile) => FillData,
): Promise<Base> {
  const { path: root } = parts.settings;
  const partial = partialPath(root, job.id);
  const file = await statFile(partial);
  assert(file !== undefined, 'the fill worker leaves a partial file, or rejects');
  await syncPartialFolder(root);
  job.signal.throwIfAborted();
  const data = dataOf(file);
  assert(data.outcome !== undefined);
  await assertStanding(parts, data, data.outcome);
  job.step('publish', data);
  const path = basePath(root, want.facts.ids, data.outcome.result.format);
  try {
    await publishFile(root, partial, path);
    return recordPublished(parts, data);
  } catch (error) {
    // Renamed, but not durably or not recorded: no guest was told of it yet. Over an old file nothing is better left than it.
    if (parts.catalogue.bases.get(want.id)?.file === undefined) await removeFile(path);
    throw error;
  }
}

/** On disk before anything says that it is there. */
function keepTable(
  { catalogue }: CacheParts,
  table: ChunkTableBytes | undefined,
): { readonly chunkTable?: ChunkTableRef } {
  if (table === undefined) return {};
  const { sha256, chunkBytes, base64 } = table;
  catalogue.tables.put(sha256, Buffer.from(base64, 'base64'));
  return { chunkTable: { sha256, chunkBytes } };
}

async function readSource(parts: CacheParts, work: Work, partial: string): Promise<FillResult> {
  const { job, want, priority, onProgress } = work;
  const { settings } = parts;
  await using worker = await parts.startFillWorker(priority, job.id);
  const spec = {
    ceph: want.cluster.settings,
    ids: want.facts.ids,
    name: want.facts.name,
    plan: want.plan,
    partialPath: partial,
    rawBecomes: want.ask.format ?? settings.rawBecomes,
  };
  const options = { deadlineMs: settings.fillDeadlineMs, signal: job.signal, onProgress };
  return await aboutSource('fill', want.facts, worker.call('fill', spec, options));
}

/** Whoever asked named the source: an error of a file, a connection, its properties or the worker says so too. */
export async function aboutSource<T>(
  op: string,
  { name }: Pick<SourceFacts, 'name'>,
  work: Promise<T>,
): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const subject = formatSource(name);
    if (!(cause instanceof OperatingError) || cause.subject === subject) throw cause;
    const { code, message: why, hint } = cause;
    const advice = hint === undefined ? {} : { hint };
    throw new OperatingError({ code, op, subject, why, cause, ...advice });
  }
}

/** A read-only reader of a deleted image gets zeros and no error, so bytes count only if the source is still there after. */
export async function lookAgain(parts: CacheParts, { job, want }: Work): Promise<void> {
  const { ids, name } = want.facts;
  const options = { deadlineMs: parts.settings.cephDeadlineMs, signal: job.signal };
  const presence = await want.cluster.ceph.call('checkSource', ids, options);
  if (presence.kind === 'present') return;
  const why = `its ${presence.what} was removed while it was read`;
  throw new OperatingError({ code: 'not-found', op: 'fill', subject: formatSource(name), why });
}

/** What was trusted when the fill began may have been revoked since: a domain may wait for this base. */
async function assertStanding(
  { whyFallen }: CacheParts,
  { name, plan: { signatures } }: FillData,
  { result: { verification, sourceFormat } }: NonNullable<FillData['outcome']>,
): Promise<void> {
  const why = await whyFallen({ name, verification, sourceFormat, signatures });
  if (why === undefined) return;
  const hint = 'It was revoked while the source was read: siphon trust list tells.';
  throw new OperatingError({ code: 'refused', op: 'fill', subject: formatSource(name), why, hint });
}

/** The row of a base whose file stands under its name. Also for recovery. */
export function recordPublished(
  parts: Pick<CacheParts, 'catalogue' | 'now'>,
  data: FillData,
): Base {
  const { baseId: id, outcome, plan } = data;
  assert(outcome !== undefined);
  const { result, file } = outcome;
  const nowMs = parts.now();
  const row = parts.catalogue.bases.move(id, 'published', {
    format: result.format,
    sourceFormat: result.sourceFormat,
    virtualSizeBytes: result.virtualSizeBytes,
    sourceSizeBytes: result.sourceSizeBytes,
    allocatedBytes: file.allocatedBytes,
    digests: result.digests,
    chunkTable: result.chunkTable,
    verification: result.verification,
    signatures: plan.signatures,
    file: factsOf(file, result),
    problem: undefined,
    isFileInDoubt: undefined,
    scrubbedAtMs: undefined,
    createdAtMs: nowMs,
    lastUsedAtMs: nowMs,
  });
  assert(row !== undefined);
  return viewOf(parts.catalogue, row);
}

function factsOf(
  { sizeBytes, mtimeMs, inode }: DiskFile,
  { head, fsVerity }: Pick<FillResult, 'head' | 'fsVerity'>,
): FileFacts {
  return { sizeBytes, mtimeMs, inode, ...(head && { head }), ...(fsVerity && { fsVerity }) };
}

/** Leaves nothing of a fill but the file that was there before it, if any. Idempotent. Also for recovery. */
export async function undoFill(
  { catalogue, settings }: Pick<CacheParts, 'catalogue' | 'settings'>,
  id: string,
  jobId: string,
): Promise<void> {
  await removeFile(partialPath(settings.path, jobId));
  const row = catalogue.bases.get(id);
  if (row?.state !== 'filling') return;
  catalogue.bases.move(id, row.file === undefined ? 'failed' : 'refill-failed');
}

/** Reads the source for what the record of its base cannot tell, and adds that to the record. */
export async function checkBase(parts: CacheParts, work: Work): Promise<Base> {
  const { bases } = parts.catalogue;
  const { id } = work.want;
  const before = bases.get(id);
  work.job.step('check');
  const found = await digestSource(parts, work);
  await lookAgain(parts, work);
  const row = bases.get(id);
  if (row?.state !== 'ready' || row.createdAtMs !== before?.createdAtMs) {
    const why = 'the base was evicted or replaced meanwhile';
    throw new OperatingError({ code: 'busy', op: 'check', subject: id, why });
  }
  assertSame(parts, row, found);
  const by = found.verification.kind === 'verified' ? found.verification.by : [];
  const amended = bases.amend(id, {
    digests: { ...row.digests, ...found.digests },
    ...keepTable(parts, found.table),
    verification: mergeVerification(row.verification, by),
    signatures: [...new Set([...row.signatures, ...fillDataOf(work.want).plan.signatures])],
  });
  return viewOf(parts.catalogue, amended);
}

async function digestSource(parts: CacheParts, work: Work): Promise<CheckResult> {
  const { job, want, priority, onProgress } = work;
  await using worker = await parts.startFillWorker(priority, job.id);
  const { ids, name } = want.facts;
  const spec = { ceph: want.cluster.settings, ids, name, plan: want.plan };
  const options = { deadlineMs: parts.settings.fillDeadlineMs, signal: job.signal, onProgress };
  return await aboutSource('fill', want.facts, worker.call('digest', spec, options));
}

/** What is read now must be what was read then: a snapshot does not change. */
function assertSame({ catalogue }: CacheParts, row: BaseRow, found: CheckResult): void {
  const digests = DIGEST_ALGORITHMS.map(
    (each) => [each, row.digests[each], found.digests[each]] as const,
  );
  const areAlike = row.chunkTable?.chunkBytes === found.table?.chunkBytes;
  const tables = ['chunk table', row.chunkTable?.sha256, found.table?.sha256] as const;
  for (const [what, then, now] of areAlike ? [...digests, tables] : digests) {
    if (then === undefined || now === undefined || then === now) continue;
    const why = `its source reads as ${what} ${now} now, and was ${then} when it was filled`;
    catalogue.bases.move(row.id, 'damaged', { problem: why });
    throw new OperatingError({ code: 'corrupt', op: 'check', subject: row.id, why });
  }
}
