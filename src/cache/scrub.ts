// Scrubs: the files of bases read from the disk, one at a time, and compared with what was read of their sources. A damaged base is suspect,
// and mended at once; one that is good after all is served again.

import PQueue from 'p-queue';
import { basePath } from '../domain/base-path.ts';
import { ERROR_TABLE, OperatingError } from '../wire/errors.ts';
import type { Job, JobProgress } from '../wire/journal.ts';
import { decideWork } from '../wire/pause.ts';
import type { ScrubAnswer, ScrubbedBase } from '../wire/scrub-api.ts';
import type { BaseFileSpec, FileDamage, ScrubResult } from '../wire/scrub-protocol.ts';
import { formatSource } from '../wire/source.ts';
import type { BaseRow, FileFacts } from './catalogue/bases.ts';
import { type DiskFile, isSameFile, statFile } from './files.ts';
import type { Filler } from './fill.ts';
import { fileSpecOf } from './mend-work.ts';
import type { CacheParts } from './parts.ts';
import { planScrub } from './scrub-plan.ts';
import { boundedDamage, damageText } from './scrub-words.ts';
import { doubtsOf, fileDoubt, suspicionOf } from './suspicion.ts';

export interface ScrubWork {
  /** undefined: there was nothing to do. */
  readonly jobId: string | undefined;
  /** Rejects with an OperatingError: it was cancelled. */
  readonly done: Promise<ScrubAnswer>;
}

/** What the journal keeps of a scrub. Nothing of it is to be undone. */
export interface ScrubData {
  readonly bases: number;
  readonly isMended: boolean;
  /** The one that is being read. */
  readonly baseId?: string;
}

interface Ask {
  readonly isMended: boolean;
  /** Nobody is served by these bases now. */
  readonly isUrgent?: boolean;
}

/** What is not answered by then is wrong with the worker, and not slow: so many times what the rate asks for. */
const PATIENCE = 4;

export class Scrubber {
  readonly #parts: CacheParts;
  readonly #filler: Filler;
  readonly #queue = new PQueue({ concurrency: 1 });
  readonly #running = new Set<Promise<unknown>>();
  /** By base: damage that this life has seen, and of which file. It need not be read again to be mended. */
  readonly #seen = new Map<string, { readonly file: DiskFile; readonly damage: FileDamage }>();

  constructor(parts: CacheParts, filler: Filler) {
    this.#parts = parts;
    this.#filler = filler;
  }

  /** Scrubs these bases, one after the other. */
  begin(ids: readonly string[], ask: Ask): ScrubWork {
    if (ids.length === 0) return { jobId: undefined, done: Promise.resolve({ bases: [] }) };
    const only = ids.length === 1 ? this.#parts.catalogue.bases.get(ids[0] ?? '') : undefined;
    const subject = only === undefined ? `${ids.length} bases` : formatSource(only.name);
    const data: ScrubData = { bases: ids.length, isMended: ask.isMended };
    const job = this.#parts.journal.begin('scrub', subject, data);
    const done = this.#run(job, ids, ask);
    const ended = done.catch(rethrowDefect).finally(() => this.#running.delete(ended));
    this.#running.add(ended);
    return { jobId: job.id, done };
  }

  /**
   * Looks at each base whose file is in doubt: it is served again, or mended where fills are not paused.
   * @throws OperatingError: one could not be, and may be later
   */
  async heal(): Promise<void> {
    const isMended = decideWork(this.#parts.pauses(), 'fills').kind === 'go';
    const doubted = this.#parts.catalogue.bases
      .all()
      .filter(({ isFileInDoubt: is }) => is === true);
    // What is known to be damaged waits for the end of the pause.
    const left = doubted.filter(({ id }) => isMended || !this.#seen.has(id));
    const ids = planScrub(left, {}, this.#parts.now());
    const { bases } = await this.begin(ids, { isMended, isUrgent: true }).done;
    const errors = bases.map(({ error }) => error).filter((error) => error !== undefined);
    const later = errors.find(({ code }) => ERROR_TABLE[code].retry === 'later');
    if (later !== undefined) throw new OperatingError(later);
  }

  /** Returns once no scrub waits or runs. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  async #run(job: Job, ids: readonly string[], ask: Ask): Promise<ScrubAnswer> {
    const meter = new ScrubMeter(
      job,
      ids.map((id) => this.#sizeOf(id)),
    );
    const bases: ScrubbedBase[] = [];
    try {
      for (const id of ids) {
        const data: ScrubData = { bases: ids.length, isMended: ask.isMended, baseId: id };
        const work = async () => {
          job.step('read', data);
          return await this.#scrubOne(job, id, ask, meter);
        };
        const options = { priority: ask.isUrgent ? 1 : 0, signal: job.signal };
        bases.push(await this.#queue.add(work, options));
        meter.next();
      }
      job.done({ bases });
      return { bases };
    } catch (error) {
      if (error instanceof OperatingError) job.failed(error.toWire());
      throw error;
    }
  }

  #sizeOf(id: string): number {
    return this.#parts.catalogue.bases.get(id)?.sourceSizeBytes ?? 0;
  }

  /** @throws OperatingError cancelled */
  async #scrubOne(job: Job, id: string, ask: Ask, meter: ScrubMeter): Promise<ScrubbedBase> {
    const row = this.#parts.catalogue.bases.get(id);
    const told = { base: id, name: row === undefined ? id : formatSource(row.name), readBytes: 0 };
    if (row === undefined || !isAtRest(row)) return { ...told, outcome: 'gone', why: BUSY };
    if (ask.isUrgent && row.isFileInDoubt !== true) return { ...told, outcome: 'good', why: SOON };
    try {
      return { ...told, ...(await this.#look(job, row, ask, meter)) };
    } catch (error) {
      if (!(error instanceof OperatingError) || job.signal.aborted) throw error;
      return { ...told, outcome: 'failed', why: error.message, error: error.toWire() };
    }
  }

  async #look(job: Job, row: BaseRow, ask: Ask, meter: ScrubMeter): Promise<Found> {
    const { catalogue, settings } = this.#parts;
    const path = basePath(settings.path, row.ids, row.format);
    const spec = fileSpecOf(this.#parts, row);
    const before = await statFile(path);
    if (before === undefined) {
      if (isUnchanged(catalogue.bases.get(row.id), row)) catalogue.bases.move(row.id, 'lost');
      return { outcome: 'gone', why: 'its file is gone' };
    }
    if ('why' in spec) return await this.#unchecked(job, row, spec.why, ask);
    const { damage, readBytes } = await this.#read(job, spec, { row, before, ask, meter });
    const after = await statFile(path);
    const now = catalogue.bases.get(row.id);
    if (!isUnchanged(now, row)) return { outcome: 'gone', why: BUSY, readBytes };
    if (after === undefined || !isSameFile(before, after)) throw restlessFile(spec.subject);
    if (damage === undefined) return { ...this.#good(now, after), readBytes };
    this.#seen.set(row.id, { file: after, damage });
    return { ...(await this.#damaged(job, now, damage, ask)), readBytes };
  }

  async #read(job: Job, spec: BaseFileSpec, of: Reading): Promise<ScrubResult> {
    const { row, before, ask, meter } = of;
    const seen = this.#seen.get(row.id);
    const isKnown = ask.isUrgent && seen !== undefined && isSameFile(seen.file, before);
    if (isKnown) return { damage: seen.damage, readBytes: 0 };
    const { settings } = this.#parts;
    const { scrubRateBytes: rateBytes, fillDeadlineMs } = settings;
    const leastMs = rateBytes === 0 ? 0 : (before.sizeBytes / rateBytes) * 1000;
    const deadlineMs = Math.max(fillDeadlineMs, PATIENCE * leastMs);
    await using worker = await this.#parts.startFillWorker('idle', job.id);
    const onProgress = (progress: JobProgress) => meter.tell(progress);
    const options = { deadlineMs, signal: job.signal, onProgress };
    return await worker.call('scrub', { ...spec, rateBytes }, options);
  }

  /** Its file is what it must be, whoever touched it. */
  #good(row: BaseRow, { sizeBytes, mtimeMs, inode, allocatedBytes }: DiskFile): Found {
    const { bases } = this.#parts.catalogue;
    this.#seen.delete(row.id);
    const { fsVerity, ...rest } = row.file ?? {};
    // Another file is not sealed because the old one was.
    const seal = row.file?.inode === inode && fsVerity !== undefined ? { fsVerity } : {};
    const file: FileFacts = { ...rest, sizeBytes, mtimeMs, inode, ...seal };
    const facts = { file, allocatedBytes, scrubbedAtMs: this.#parts.now() };
    this.#settle(row, facts);
    const now = bases.get(row.id);
    const isSuspect = now?.state === 'suspect';
    const why = isSuspect && `but it is suspect: ${suspicionOf(now.problem).why}`;
    return { outcome: 'good', ...(why && { why }) };
  }

  /** What else speaks against it goes on speaking. */
  #settle(row: BaseRow, facts: Partial<BaseRow>): void {
    const { bases } = this.#parts.catalogue;
    const settled = { ...facts, isFileInDoubt: undefined };
    const isForFileAlone =
      row.state === 'suspect' && row.isFileInDoubt && doubtsOf(row.problem) === undefined;
    if (isForFileAlone) bases.move(row.id, 'sound', { ...settled, problem: undefined });
    else bases.amend(row.id, settled);
  }

  async #damaged(job: Job, row: BaseRow, damage: FileDamage, ask: Ask): Promise<Found> {
    const { sourceSizeBytes, chunkTable } = row;
    const why = damageText(damage, { chunkBytes: chunkTable?.chunkBytes ?? 0, sourceSizeBytes });
    this.#doubt(row.id, why);
    this.#parts.log.error({ job: job.id, base: row.id, why }, 'a base is damaged');
    const found = { outcome: 'damaged', why, damage: boundedDamage(damage) } as const;
    return ask.isMended ? { ...found, ...(await this.#mend(job, row, why)) } : found;
  }

  /** A file that was changed, and that nothing speaks for, is filled anew. */
  async #unchecked(job: Job, row: BaseRow, why: string, ask: Ask): Promise<Found> {
    if (row.isFileInDoubt !== true || !ask.isMended) return { outcome: 'unchecked', why };
    const problem = row.problem ?? why;
    return { outcome: 'damaged', why: problem, ...(await this.#mend(job, row, problem)) };
  }

  async #mend(job: Job, row: BaseRow, problem: string): Promise<Partial<Found>> {
    const { catalogue, now } = this.#parts;
    const { id } = row;
    job.step('mend');
    try {
      const mending = await this.#filler.mend(row);
      await untilAborted(mending.done, job.signal);
      this.#seen.delete(id);
      const mend = mending.mended?.() ?? { way: 'refill', chunks: 0, readBytes: 0 };
      if (mend.way === 'mend' && catalogue.bases.get(id)?.state === 'ready')
        catalogue.bases.amend(id, { scrubbedAtMs: now() });
      return { outcome: 'mended', mend };
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      if (job.signal.aborted) throw error;
      const gone = error.code === 'not-found' ? ', since its source is gone' : '';
      this.#doubt(id, `${problem}; it could not be mended${gone}: ${error.why}`);
      return { error: error.toWire() };
    }
  }

  /** Unless it is suspect for something that its file does not settle. */
  #doubt(id: string, problem: string): void {
    const { bases } = this.#parts.catalogue;
    const row = bases.get(id);
    const doubt = row && fileDoubt(row, problem);
    if (doubt !== undefined) bases.move(id, 'damaged', doubt);
  }
}

type Found = Omit<ScrubbedBase, 'base' | 'name' | 'readBytes'> & { readonly readBytes?: number };

interface Reading {
  readonly row: BaseRow;
  readonly before: DiskFile;
  readonly ask: Ask;
  readonly meter: ScrubMeter;
}

const SOON = 'another scrub or a fill came first';
const BUSY = 'it was evicted or filled anew meanwhile';

function isAtRest({ state }: BaseRow): boolean {
  return state === 'ready' || state === 'suspect';
}

function isUnchanged(now: BaseRow | undefined, row: BaseRow): now is BaseRow {
  return now !== undefined && isAtRest(now) && now.createdAtMs === row.createdAtMs;
}

function restlessFile(subject: string): OperatingError {
  const why = 'its file was changed while it was read';
  return new OperatingError({ code: 'busy', op: 'scrub', subject, why });
}

/** Progress over several bases. */
class ScrubMeter {
  readonly #job: Job;
  readonly #sizes: readonly number[];
  readonly #totalBytes: number;
  #at = 0;
  #doneBytes = 0;

  constructor(job: Job, sizes: readonly number[]) {
    this.#job = job;
    this.#sizes = sizes;
    this.#totalBytes = sizes.reduce((sum, each) => sum + each, 0);
  }

  tell({ doneBytes, totalBytes, remainingMs }: JobProgress): void {
    const size = this.#sizes[this.#at] ?? 0;
    const share = totalBytes === 0 ? size : Math.floor((size * doneBytes) / totalBytes);
    const isLast = this.#at === this.#sizes.length - 1;
    const left = isLast && remainingMs !== undefined ? { remainingMs } : {};
    const told = { doneBytes: this.#doneBytes + share, totalBytes: this.#totalBytes };
    this.#job.progress({ ...told, ...left });
  }

  next(): void {
    this.#doneBytes += this.#sizes[this.#at] ?? 0;
    this.#at += 1;
    this.#job.progress({ doneBytes: this.#doneBytes, totalBytes: this.#totalBytes });
  }
}

/** The mend is a job of its own, which goes on. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const leave = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}

function rethrowDefect(error: unknown): void {
  if (!(error instanceof OperatingError)) throw error;
}
