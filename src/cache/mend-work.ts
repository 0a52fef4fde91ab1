// The mend of a base whose file is damaged, as a fill: a new file of what is good of the old one and the rest from the source takes its
// place. Where that is not possible all of it is read anew.

import assert from 'node:assert/strict';
import { basePath } from '../domain/base-path.ts';
import type { BaseFileSpec, MendResult } from '../wire/scrub-protocol.ts';
import { formatSource } from '../wire/source.ts';
import type { Base } from '../wire/vocabulary.ts';
import type { BaseRow } from './catalogue/bases.ts';
import { partialPath } from './files.ts';
import {
  aboutSource,
  type FillData,
  fillBase,
  fillDataOf,
  lookAgain,
  publishPartial,
  type Work,
} from './fill-work.ts';
import type { CacheParts } from './parts.ts';

/** What a worker needs to know of a base's file; or why there is nothing to compare it with. */
export function fileSpecOf(
  { catalogue, settings }: Pick<CacheParts, 'catalogue' | 'settings'>,
  row: BaseRow,
): BaseFileSpec | { readonly why: string } {
  const { chunkTable, file, format, sourceFormat, sourceSizeBytes } = row;
  const bytes = chunkTable && catalogue.tables.get(chunkTable.sha256);
  if (chunkTable === undefined || bytes === undefined || file === undefined)
    return { why: 'it has no table of its chunks: it was adopted, or is too large for one' };
  return {
    subject: formatSource(row.name),
    path: basePath(settings.path, row.ids, format),
    format,
    sourceFormat,
    sourceSizeBytes,
    table: { ...chunkTable, base64: bytes.toString('base64') },
    ...(file.head && { head: file.head }),
    ...(file.fsVerity !== undefined && { isSealed: true }),
  };
}

/** Gives the whole base its name; `onMended` is told how. */
export async function mendFile(parts: CacheParts, work: Work): Promise<Base> {
  const { job, want, onMended } = work;
  const row = parts.catalogue.bases.get(want.id);
  assert(row !== undefined, 'a lead has its row');
  job.step('mend');
  const result = await mendInWorker(parts, work, row);
  if (result.kind === 'refill') {
    onMended?.({ way: 'refill', whyRefill: result.why, chunks: 0, readBytes: 0 });
    return await fillBase(parts, work);
  }
  await lookAgain(parts, work);
  const { chunks, readBytes, isReflinked } = result;
  onMended?.({ way: 'mend', chunks, readBytes, isReflinked });
  return await publishPartial(parts, work, (file) => dataOf(work, row, result, file));
}

async function mendInWorker(parts: CacheParts, work: Work, row: BaseRow): Promise<MendResult> {
  const { job, want, priority, onProgress } = work;
  const { settings } = parts;
  const file = fileSpecOf(parts, row);
  if ('why' in file) return { kind: 'refill', why: file.why };
  await using worker = await parts.startFillWorker(priority, job.id);
  const { ids, name } = want.facts;
  const spec = {
    ...file,
    ceph: want.cluster.settings,
    ids,
    name,
    partialPath: partialPath(settings.path, job.id),
  };
  const options = { deadlineMs: settings.fillDeadlineMs, signal: job.signal, onProgress };
  return await aboutSource('mend', want.facts, worker.call('mend', spec, options));
}

type Mended = MendResult & { readonly kind: 'mended' };

/** What the base is has not changed: what was checked of it holds for the same bytes. */
function dataOf(
  { want }: Work,
  row: BaseRow,
  { head, fsVerity }: Mended,
  file: NonNullable<FillData['outcome']>['file'],
): FillData {
  const { sourceFormat, format, virtualSizeBytes, sourceSizeBytes, digests, verification } = row;
  const data = fillDataOf(want);
  const result = {
    sourceFormat,
    format,
    virtualSizeBytes,
    sourceSizeBytes,
    allocatedBytes: file.allocatedBytes,
    digests,
    verification,
    ...(row.chunkTable && { chunkTable: row.chunkTable }),
    ...(head && { head }),
    ...(fsVerity !== undefined && { fsVerity }),
  };
  return {
    ...data,
    plan: { ...data.plan, signatures: row.signatures },
    outcome: { result, file },
  };
}
