// Filling on demand: one fill per source however many ask, space promised before a byte moves, the hook's fills first.

import { areBaseIds, baseId } from '../domain/base-path.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Job, JobProgress } from '../wire/journal.ts';
import { decideWork } from '../wire/pause.ts';
import type { Cluster } from '../wire/ports.ts';
import type { MendTold } from '../wire/scrub-api.ts';
import { formatSource } from '../wire/source.ts';
import type { VerificationPlan } from '../wire/verification-plan.ts';
import type { Base, SourceFacts, SourceIds, SourceName } from '../wire/vocabulary.ts';
import type { FillProgress } from '../wire/worker-protocol.ts';
import { bytesToFree, type RoomFacts, reservationOf } from './admit.ts';
import type { BaseRow } from './catalogue/bases.ts';
import type { Evictor } from './evict-run.ts';
import { partialPath } from './files.ts';
import {
  aboutSource,
  type CheckData,
  checkBase,
  fillBase,
  fillDataOf,
  fillingRow,
  undoFill,
  type Want,
  type WarmAsk,
} from './fill-work.ts';
import { judgeBase, mergeVerification } from './judge.ts';
import { demandOf, Lead } from './lead.ts';
import { mendFile } from './mend-work.ts';
import type { CacheParts } from './parts.ts';
import { NONE, type Quarantine } from './quarantine.ts';
import { contradicted, pausedFills, restless, unnameable, wrongFormat } from './refusals.ts';
import { roomFacts, withRoom } from './room.ts';
import { beginTable, type TableWork } from './table.ts';
import { Turns } from './turns.ts';
import { viewOf } from './view.ts';

/** What an ask came to. */
export interface Fill {
  readonly baseId: string;
  /** The job that works on it; undefined where nothing was left to do. */
  readonly jobId?: string;
  progress(): JobProgress | undefined;
  /** Rejects with an OperatingError. */
  readonly done: Promise<Base>;
  /** Of a mend, once it is done. */
  mended?(): MendTold | undefined;
}

export interface Filling {
  readonly jobId?: string;
  readonly progress?: JobProgress;
}

/** How often one ask may follow somebody else's fill before it gives up: each time the base was there and went again. */
const ROUNDS_MAX = 8;

const WAYS = { fill: fillBase, check: checkBase, mend: mendFile } as const;
const ASKED_ANEW = 'an operator doubts its bytes, and it is filled anew';

export class Filler {
  readonly #parts: CacheParts;
  readonly #evictor: Evictor;
  readonly #quarantine: Quarantine;
  readonly #turns: Turns;
  readonly #leads = new Map<string, Lead>();

  constructor(parts: CacheParts, evictor: Evictor, quarantine: Quarantine) {
    this.#parts = parts;
    this.#evictor = evictor;
    this.#quarantine = quarantine;
    this.#turns = new Turns(() => parts.settings.fillConcurrency);
  }

  /**
   * Sees to it that a base is there and satisfies what the ask demands of it. `onResolved`: Ceph has told what the source is.
   * @throws OperatingError before a byte moves: the source, its trust material or the space is not there.
   */
  async warm(ask: WarmAsk, onResolved: () => void = () => {}): Promise<Fill> {
    // A domain's start that a pause refuses does not wait for Ceph first.
    if ('imageId' in ask.source && !this.#isAtHand(baseId(ask.source)))
      this.#stopIfPaused(baseId(ask.source));
    const want = await this.#wantOf(ask);
    onResolved();
    return this.#seek(want, ROUNDS_MAX);
  }

  /** The fill of a base that waits or runs. */
  filling(id: string): Filling | undefined {
    const lead = this.#leads.get(id);
    if (lead === undefined || lead.mode === 'check') return undefined;
    const { job, progress } = lead;
    return {
      ...(job === undefined ? {} : { jobId: job.id }),
      ...(progress === undefined ? {} : { progress }),
    };
  }

  /** Makes a base whole whose file is damaged; fills it anew where its record cannot speak for it. @throws OperatingError as {@link warm} */
  async mend(row: BaseRow): Promise<Fill> {
    const { ids: source, format } = row;
    const want = await this.#wantOf({ source, format, priority: 'operator' });
    const isFounded = judgeBase(row, want.plan).kind === 'satisfied';
    return this.#seek(want, ROUNDS_MAX, isFounded ? 'mend' : 'fill');
  }

  /** What Ceph says of a source. @throws OperatingError */
  async resolve(source: SourceName | SourceIds): Promise<SourceFacts> {
    const options = { deadlineMs: this.#parts.settings.cephDeadlineMs };
    const { ceph } = await this.#parts.clusters.ofSource(source);
    const facts =
      'imageId' in source
        ? await ceph.call('describeSource', source, options)
        : await ceph.call('resolveSource', source, options);
    if (!areBaseIds(facts.ids)) throw unnameable(facts);
    return facts;
  }

  /** The table of a source's chunks. @throws OperatingError before a byte moves */
  async table(source: SourceName): Promise<TableWork> {
    this.#stopIfPaused(formatSource(source));
    return beginTable(this.#parts, this.#turns, await this.resolve(source));
  }

  /** What is free, used and promised now. */
  room(): RoomFacts {
    return roomFacts(this.#parts, this.#leads.values());
  }

  /** How much would have to go for the cache to be within its limits. */
  excessBytes(): number {
    return bytesToFree(this.room(), 0);
  }

  /** Returns once no fill waits or runs. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#leads.values()].map((lead) => lead.done.promise));
  }

  async #wantOf(ask: WarmAsk): Promise<Want> {
    const cluster = await this.#parts.clusters.ofSource(ask.source);
    const facts = await this.resolve(ask.source);
    const given = ask.properties ?? facts.properties;
    // Whatever else the caller's properties say: that an image is not to be used is said beside it.
    const { status } = facts.properties ?? {};
    const properties = status === undefined ? given : { ...given, status };
    const planning = this.#parts.planVerification({
      source: facts.name,
      ...(properties === undefined ? {} : { properties }),
      ...(ask.operatorDigests === undefined ? {} : { operator: ask.operatorDigests }),
      ...(await this.#manifestOf(cluster, facts)),
    });
    const plan = await aboutSource('warm', facts, planning);
    const propertiesFrom = ask.properties === undefined ? 'record' : 'file';
    const told: VerificationPlan = properties === undefined ? plan : { ...plan, propertiesFrom };
    return { ask, id: baseId(facts.ids), cluster, facts, plan: told };
  }

  /** What is beside the source must be good, whoever asks. */
  async #manifestOf({ ceph }: Cluster, { ids, name, sizeBytes, hasManifest }: SourceFacts) {
    if (hasManifest === undefined) return {};
    const options = { deadlineMs: this.#parts.settings.cephDeadlineMs };
    const { envelope } = await ceph.call('readManifest', ids, options);
    return envelope === null
      ? {}
      : { manifest: { envelope, subject: formatSource(name), sizeBytes } };
  }

  async #seek(want: Want, rounds: number, way: 'fill' | 'mend' = 'fill'): Promise<Fill> {
    if (rounds === 0) throw restless(want.facts.name);
    let eviction = this.#evictor.running(want.id);
    for (; eviction !== undefined; eviction = this.#evictor.running(want.id)) await eviction;
    // From here to the lead's claim nothing is awaited: no eviction can begin.
    const running = this.#leads.get(want.id);
    if (running !== undefined) return this.#join(running, want, rounds);
    const row = this.#parts.catalogue.bases.get(want.id);
    if (row?.state === 'ready') return this.#present(row, want, rounds);
    return this.#lead(want, way, rounds);
  }

  /** Of a base that is here: judged by its record, or by reading its source. */
  async #present(row: BaseRow, want: Want, rounds: number): Promise<Fill> {
    const { bases } = this.#parts.catalogue;
    const judgement = judgeBase(row, want.plan);
    if (judgement.kind === 'contradicted') throw this.#contradicted(want, judgement);
    if (want.ask.again || judgement.kind === 'unfounded') {
      this.#stopIfPaused(formatSource(want.facts.name));
      const problem = want.ask.again
        ? ASKED_ANEW
        : 'it was adopted, and is filled anew to be checked';
      bases.move(row.id, 'damaged', { problem });
      return this.#lead(want, 'fill', rounds);
    }
    if (judgement.kind === 'unknown') return this.#lead(want, 'check', rounds);
    const verification = mergeVerification(row.verification, judgement.by);
    const amended = bases.amend(row.id, {
      verification,
      name: want.facts.name,
      lastUsedAtMs: this.#parts.now(),
    });
    const base = inFormatOf(want, viewOf(this.#parts.catalogue, amended));
    return { baseId: row.id, progress: () => undefined, done: Promise.resolve(base) };
  }

  /** If by the source's own record any new fill would be refused, the base is not served on; one caller's word changes nothing. */
  #contradicted(want: Want, { why, from }: { why: string; from: string }): OperatingError {
    const isOwnRecord = from === 'properties' && want.ask.properties === undefined;
    if (isOwnRecord) this.#damaged(want, why);
    return contradicted(want.facts.name, why, isOwnRecord);
  }

  #damaged({ id }: Want, problem: string): void {
    const { bases } = this.#parts.catalogue;
    if (bases.get(id)?.state === 'ready') bases.move(id, 'damaged', { problem });
  }

  async #join(lead: Lead, want: Want, rounds: number): Promise<Fill> {
    if (want.ask.priority === 'hook') lead.priority = 'hook';
    const job = await lead.admitted.promise;
    if (lead.priority === 'hook') this.#turns.raise(job.id);
    return fillOf(lead, job, this.#follow(lead, want, rounds));
  }

  /** The lead's base where it was asked for in the same way; else an ask of its own, once the lead is done. */
  async #follow(lead: Lead, want: Want, rounds: number): Promise<Base> {
    const isSame = lead.demand === demandOf(want);
    try {
      const base = await lead.done.promise;
      if (isSame) return inFormatOf(want, base);
    } catch (error) {
      const isItsOwn = error instanceof OperatingError && error.code === 'corrupt' && !isSame;
      if (!isItsOwn) throw error;
    }
    return (await this.#seek(want, rounds - 1)).done;
  }

  #isAtHand(id: string): boolean {
    return this.#leads.has(id) || this.#parts.catalogue.bases.get(id)?.state === 'ready';
  }

  #stopIfPaused(subject: string): void {
    const decision = decideWork(this.#parts.pauses(), 'fills');
    if (decision.kind === 'refuse') throw pausedFills(subject, decision);
  }

  async #lead(want: Want, mode: Lead['mode'], rounds: number): Promise<Fill> {
    this.#stopIfPaused(formatSource(want.facts.name));
    const lead = new Lead(want, mode);
    this.#leads.set(want.id, lead);
    if (mode !== 'check') this.#evictor.claimed.add(want.id);
    // Whoever asked is told; here only a defect must not pass unseen.
    void lead.done.promise.catch(rethrowDefect);
    void lead.admitted.promise.catch(() => undefined);
    void this.#run(lead);
    const job = await lead.admitted.promise;
    return fillOf(lead, job, this.#follow(lead, want, rounds));
  }

  async #run(lead: Lead): Promise<void> {
    try {
      const job = await this.#admit(lead);
      lead.job = job;
      lead.admitted.resolve(job);
      const base = await this.#work(lead, job);
      this.#release(lead);
      lead.done.resolve(base);
    } catch (error) {
      this.#release(lead);
      lead.admitted.reject(error);
      lead.done.reject(error);
    }
  }

  #release({ want, mode }: Lead): void {
    this.#leads.delete(want.id);
    if (mode !== 'check') this.#evictor.claimed.delete(want.id);
  }

  /** Promises the space, begins the job and reserves the base in one tick. */
  async #admit(lead: Lead): Promise<Job> {
    const { id, facts, plan } = lead.want;
    const subject = formatSource(facts.name);
    if (lead.mode === 'check') {
      const data: CheckData = { what: 'check', baseId: id };
      return this.#parts.journal.begin('fill', subject, data);
    }
    const usedBytes = facts.usedBytes ?? plan.manifest?.dataBytes ?? facts.sizeBytes;
    const neededBytes = reservationOf(usedBytes);
    const { freeBytes, reserveBytes } = this.room();
    // Of less use than any base.
    if (freeBytes - reserveBytes < neededBytes) await this.#quarantine.trim(NONE);
    const begin = () => this.#begin(lead, subject, neededBytes);
    return withRoom({ subject, neededBytes }, this.#evictor, () => this.room(), begin);
  }

  #begin(lead: Lead, subject: string, neededBytes: number): Job {
    const { catalogue, journal, now, settings } = this.#parts;
    const { want } = lead;
    const stale = catalogue.bases.get(want.id);
    // Left by an undo that the catalogue could not record.
    if (stale?.state === 'filling')
      catalogue.bases.move(want.id, stale.file === undefined ? 'failed' : 'refill-failed');
    const job = journal.begin('fill', subject, fillDataOf(want));
    const old = catalogue.bases.get(want.id);
    catalogue.bases.enter('reserve', fillingRow(want, old, settings, now()));
    lead.promisedBytes = neededBytes;
    return job;
  }

  async #work(lead: Lead, job: Job): Promise<Base> {
    const { want, mode } = lead;
    const onProgress = (progress: FillProgress) => {
      lead.progress = progress;
      lead.writtenBytes = progress.readBytes;
      // The source may be sparse: what is allocated is known now.
      lead.promisedBytes = Math.min(lead.promisedBytes, reservationOf(progress.allocatedBytes));
      job.progress(progress);
    };
    try {
      using _turn = await this.#turns.take(job, lead.priority);
      const onMended = (told: MendTold) => void (lead.mended = told);
      const work = { job, want, priority: lead.priority, onProgress, onMended };
      const base = await WAYS[mode](this.#parts, work);
      job.done(base);
      return base;
    } catch (error) {
      await this.#failed(lead, job, error);
      throw error;
    }
  }

  /** What was read and is not what it must be. That it cannot be kept changes nothing of the failure. */
  async #setAside({ facts }: Want, job: Job, error: unknown): Promise<OperatingError | undefined> {
    if (!isCorrupt(error)) return undefined;
    const partial = partialPath(this.#parts.settings.path, job.id);
    const note = { source: formatSource(facts.name), why: error.why };
    try {
      await this.#quarantine.take(partial, job.id, note);
      return undefined;
    } catch (cause) {
      if (cause instanceof OperatingError) return cause;
      throw cause;
    }
  }

  /** Undoes, then tells. Where the undo fails too the job stays open, and the next start undoes it. */
  async #failed({ want, mode }: Lead, job: Job, error: unknown): Promise<void> {
    const unkept = mode !== 'check' ? await this.#setAside(want, job, error) : undefined;
    if (mode !== 'check') await undoFill(this.#parts, want.id, job.id);
    if (!(error instanceof OperatingError)) return;
    const { properties, operatorDigests } = want.ask;
    const isOwnRecord = properties === undefined && operatorDigests === undefined;
    if (mode === 'check' && error.code === 'corrupt' && isOwnRecord) this.#damaged(want, error.why);
    const hint = unkept && { hint: `It could not be kept to be looked at: ${unkept.message}` };
    job.failed({ ...error.toWire(), ...hint });
  }
}

function isCorrupt(error: unknown): error is OperatingError {
  return error instanceof OperatingError && error.code === 'corrupt';
}

function fillOf(lead: Lead, job: Job, done: Promise<Base>): Fill {
  void done.catch(rethrowDefect);
  const told = { progress: () => lead.progress, mended: () => lead.mended };
  return { baseId: lead.want.id, jobId: job.id, ...told, done };
}

function inFormatOf({ ask, facts }: Want, base: Base): Base {
  if (ask.format === undefined || ask.format === base.format) return base;
  throw wrongFormat(facts.name, base, ask.format);
}

/** An operating error was told to whoever asked; anything else ends the process. */
function rethrowDefect(error: unknown): void {
  if (!(error instanceof OperatingError)) throw error;
}
