// What a siphond that has just begun does about the last one's work: finish or undo, then make the catalogue match the disk.
// Needs neither Ceph nor libvirt. Nobody else works on the cache meanwhile.

import { baseId, basePath, parseBasePath } from '../domain/base-path.ts';
import { OperatingError } from '../wire/errors.ts';
import type { JobRecord } from '../wire/journal.ts';
import { adoptFile } from './adopt.ts';
import { checkFile } from './file-check.ts';
import {
  isSameFile,
  listBaseFiles,
  partialPath,
  prepareFolders,
  publishFile,
  removePartials,
  statFile,
} from './files.ts';
import {
  type CheckData,
  type FillData,
  recordPublished,
  undoFill,
  type WarmAsk,
} from './fill-work.ts';
import type { CacheParts } from './parts.ts';
import { Quarantine } from './quarantine.ts';
import { viewOf } from './view.ts';

export interface Recovery {
  /** Fills that were cut off: ask for them again. */
  readonly askAgain: WarmAsk[];
  /** Base ids: fills that were finished; fills and evictions that were undone. */
  readonly finished: string[];
  readonly undone: string[];
  /** Base ids: the file is gone; the file is not what it was; a file that no row told of. */
  readonly lost: string[];
  readonly damaged: string[];
  readonly adopted: string[];
  /** Files under the bases' folder that are no bases. Left alone. */
  readonly strange: { readonly path: string; readonly why: string }[];
}

export type RecoverParts = Pick<CacheParts, 'settings' | 'catalogue' | 'journal' | 'now'>;

/** @throws OperatingError where the disk or the catalogue does not let it. */
export async function recover(parts: RecoverParts): Promise<Recovery> {
  const recovery: Recovery = {
    askAgain: [],
    finished: [],
    undone: [],
    lost: [],
    damaged: [],
    adopted: [],
    strange: [],
  };
  await prepareFolders(parts.settings.path);
  for (const record of parts.journal.open()) {
    if (record.kind === 'fill') await endFill(parts, record, recovery);
    else if (record.kind === 'evict' || record.kind === 'scrub') endCutOff(parts, record);
  }
  await settleRows(parts, recovery);
  await removePartials(parts.settings.path);
  await new Quarantine(parts).settle();
  await adoptFiles(parts, recovery);
  forgetTables(parts);
  return recovery;
}

async function endFill(parts: RecoverParts, record: JobRecord, recovery: Recovery): Promise<void> {
  const job = parts.journal.resume(record.id);
  const data = record.data as FillData | CheckData;
  if (data.what === 'fill' && (await finishFill(parts, record.id, data))) {
    const row = parts.catalogue.bases.get(data.baseId);
    job.done(row && viewOf(parts.catalogue, row));
    recovery.finished.push(data.baseId);
    return;
  }
  if (data.what === 'fill') {
    await undoFill(parts, data.baseId, record.id);
    recovery.undone.push(data.baseId);
    recovery.askAgain.push(data.ask);
  }
  job.failed(cutOff(record, data.what === 'fill').toWire());
}

/** Rolls forward a fill whose file was complete; false: it was not, or it is gone. */
async function finishFill(parts: RecoverParts, jobId: string, data: FillData): Promise<boolean> {
  const { outcome, baseId: id, ask } = data;
  if (outcome === undefined) return false;
  // Recorded already: only the job's end was not.
  if (parts.catalogue.bases.get(id)?.state === 'ready') return true;
  if (parts.catalogue.bases.get(id)?.state !== 'filling') return false;
  const { path: root } = parts.settings;
  const path = basePath(root, ask.source, outcome.result.format);
  const partial = partialPath(root, jobId);
  const atPartial = await statFile(partial);
  if (atPartial !== undefined && isSameFile(atPartial, outcome.file)) {
    await publishFile(root, partial, path);
  } else {
    const atPath = await statFile(path);
    if (atPath === undefined || !isSameFile(atPath, outcome.file)) return false;
  }
  recordPublished(parts, data);
  return true;
}

/** Of an eviction the bases are settled by their rows: what is gone is evicted, what is there stays. A scrub leaves nothing. */
function endCutOff({ journal }: RecoverParts, record: JobRecord): void {
  journal.resume(record.id).failed(cutOff(record, false).toWire());
}

async function settleRows(parts: RecoverParts, recovery: Recovery): Promise<void> {
  const { bases } = parts.catalogue;
  for (const row of bases.all()) {
    if (row.state === 'filling') {
      bases.move(row.id, row.file === undefined ? 'failed' : 'refill-failed');
      recovery.undone.push(row.id);
    }
    if (row.state === 'evicting') {
      const isThere = await statFile(basePath(parts.settings.path, row.ids, row.format));
      if (isThere === undefined) bases.move(row.id, 'evicted');
      else bases.move(row.id, row.problem === undefined ? 'kept' : 'kept-suspect');
      recovery.undone.push(row.id);
    }
  }
  for (const row of bases.all()) {
    const { kind } = await checkFile(parts, row);
    if (kind !== 'same') recovery[kind].push(row.id);
  }
}

/** Only siphon names files as bases, and only complete ones: a lost catalogue is rebuilt from them. */
async function adoptFiles(parts: RecoverParts, recovery: Recovery): Promise<void> {
  const { bases } = parts.catalogue;
  const { path: root } = parts.settings;
  for (const path of await listBaseFiles(root)) {
    const identity = parseBasePath(root, path);
    if (identity === null) {
      recovery.strange.push({ path, why: 'its name is not that of a base' });
      continue;
    }
    const id = baseId(identity.ids);
    const known = bases.get(id);
    if (known?.format === identity.format) continue;
    const found =
      known === undefined
        ? await adoptFile(path, identity, parts.now())
        : { kind: 'strange' as const, why: `the base is there as ${known.format} already` };
    if (found.kind === 'strange') recovery.strange.push({ path, why: found.why });
    else {
      bases.enter('adopted', found.row);
      recovery.adopted.push(id);
    }
  }
}

/** Those of fills that did not end. */
function forgetTables({ catalogue }: RecoverParts): void {
  const used = new Set(catalogue.bases.all().map(({ chunkTable }) => chunkTable?.sha256));
  catalogue.tables.prune((sha256) => used.has(sha256));
}

function cutOff({ kind, subject }: JobRecord, isAskedAgain: boolean): OperatingError {
  const why = 'siphond ended in the middle of it';
  const hint = isAskedAgain ? 'It is asked for again.' : 'Ask for it again.';
  return new OperatingError({ code: 'cancelled', op: kind, subject, why, hint });
}
