// The room's face: sets taken when a domain is released or an operator asks, one at a time for each domain; removed, pruned,
// and brought to an end after siphond was.

import { type Domain, parseDomain } from '../domain/domain.ts';
import { stripPasswords } from '../domain/strip-passwords.ts';
import { allOf } from '../wire/all-of.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Retained, Take } from '../wire/evaluation.ts';
import type { Job } from '../wire/journal.ts';
import { decideWork, refusedByPause } from '../wire/pause.ts';
import type { Proof } from '../wire/verify-api.ts';
import type { SnapshotSet, Wanted } from '../wire/vocabulary.ts';
import { Control } from './control.ts';
import { DEADLINE_MS } from './deadlines.ts';
import { chooseDisks } from './disks.ts';
import { draftOf, eventDraft, manualDraft } from './drafts.ts';
import { type EventFacts, evaluate, evaluateManual, mayAsk } from './evaluate.ts';
import { HoldLeads } from './hold-plan.ts';
import type { HoldParts } from './holds.ts';
import { type Draft, isWaiting } from './job-data.ts';
import { Jobs, StaysOpen } from './jobs.ts';
import type { Release, SnapshotParts } from './ports.ts';
import { Prune } from './prune.ts';
import { learnReason } from './reason.ts';
import { type Recovered, recoverJobs } from './recover.ts';
import { Removal } from './remove.ts';
import { replacingJob } from './restore/data.ts';
import { newSetId } from './set-id.ts';
import { overtaken, SetFailure, takeSet } from './take.ts';
import { holdTogether, oneTurn, type Seat } from './together.ts';
import { afterUndefine } from './undefined.ts';
import { endWaiting } from './waiting.ts';

/** A job that runs; `finished` has its result, and nobody needs to wait for it. */
export interface Started<T> {
  readonly jobId: string;
  readonly finished: Promise<T>;
}

/** Of one of several domains. */
export interface Begun extends Started<SnapshotSet> {
  readonly domain: string;
}

export interface Snapshots {
  /** Durably begun when it returns; taken in the background. Does nothing where no policy asks for a set. */
  onRelease(release: Release): void;
  /**
   * A set of the domain in progress has until the deadline to hold its snapshots; then it is overtaken, and discarded. One
   * that waits for Ceph is at once. `start`: what starts now; a set of it that a policy asks for has until the deadline, too.
   */
  onPrepare(
    domainUuid: string,
    deadlineMs: number,
    start?: Start,
  ): Promise<'none' | 'finished' | 'overtaken'>;
  /** An event of libvirt's, or a schedule's. Begun, in the background, where a policy asks for a set of it. @throws OperatingError: it could not be told */
  onEvent(happened: Happened): Promise<void>;
  /**
   * An operator's sets, of domains by name or UUID: those that run are held at the same time.
   * @throws OperatingError not-found, busy, unavailable, of any of them: then none is begun
   */
  create(domains: readonly string[], wanted?: Partial<Wanted>): Promise<readonly Begun[]>;
  /** @throws OperatingError not-found, busy, refused: it is protected */
  remove(setId: string): Started<void>;
  /** An operator's "keep". @throws OperatingError not-found, busy, unavailable */
  protect(setId: string, isProtected: boolean): Promise<SnapshotSet>;
  /** Whether it can be restored, as it was tried just now. @throws OperatingError as protect */
  recordProof(setId: string, proof: Proof): Promise<SnapshotSet>;
  /** Which sets stay, of one domain or of all; unless it is a dry run, the others are removed in the background. */
  prune(how: { readonly isDryRun: boolean; readonly domainUuid?: string }): readonly Retained[];
  /** libvirt has undefined the domain: sets that keep Nova or Cinder from deleting its disks are removed, in the background. */
  onUndefined(domainUuid: string): void;
  /**
   * Lets guests go that an earlier life, or a worker that is gone, has left held. Call it at start, whenever libvirt is connected, and
   * again and again; else their guards do it. `signal` ends the wait for a worker.
   */
  letGo(signal?: AbortSignal): Promise<void>;
  /** Finishes, undoes or tries again what is open and does not run. Call it at start, and again and again. */
  recover(): Promise<Recovered>;
  /** Of the sets that Ceph knows, takes up those of this host that the catalogue has lost; gives their ids. */
  adopt(sets: readonly SnapshotSet[]): readonly string[];
  /** A set of the domain is in the making. */
  isTaking(domainUuid: string): boolean;
  /** Settles when nothing is in progress. */
  idle(): Promise<void>;
}

/** A domain that is about to start. */
export interface Start {
  readonly domain: Domain;
  /** Without passwords. */
  readonly xml: string;
}

/** A domain's `started`, `stopped` or `lifecycle`, as libvirt's event told it; or `scheduled`. */
export interface Happened extends EventFacts {
  readonly uuid: string;
}

export function createSnapshots(parts: SnapshotParts): Snapshots {
  return new Room(parts);
}

/** The set in the making of one domain. */
interface Slot {
  readonly draft: Draft;
  readonly control: Control;
  readonly ended: Promise<unknown>;
}

/** Who takes part in what. */
interface Among {
  readonly seat: Seat | undefined;
  readonly turn: { readonly run: SnapshotParts['limit'] };
}

const alone = (parts: HoldParts): Seat => holdTogether(parts, 1)[0] as Seat;

class Room implements Snapshots {
  readonly #parts: SnapshotParts;
  readonly #jobs: Jobs;
  readonly #removal: Removal;
  readonly #prune: Prune;
  readonly #slots = new Map<string, Slot>();
  readonly #holds: HoldParts;

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
    this.#holds = { ...parts, leads: new HoldLeads() };
    this.#jobs = new Jobs(parts);
    this.#removal = new Removal(parts, this.#jobs);
    this.#prune = new Prune(parts, this.#removal);
  }

  onRelease(release: Release): void {
    const { domain, reason } = release;
    endWaiting(this.#parts, this.#jobs, { domainUuid: domain.uuid, before: release.atMs });
    const event = { event: 'release', ...(reason !== undefined && { reason }) } as const;
    const asked = evaluate(this.#parts.policies(), domain, event);
    if (asked.kind === 'nothing') return;
    const { wanted, policy } = asked;
    const said = { domain: domain.uuid, name: domain.name, reason, policy: policy?.name };
    const isDiskless = chooseDisks(domain, wanted.devices).chosen.length === 0;
    if (isDiskless) return this.#parts.log.info({ ...said, why: NO_DISK }, 'no set');
    const slot = this.#slots.get(domain.uuid);
    const isRepeated =
      slot !== undefined && slot.control.kind === 'release' && slot.control.isPending;
    if (isRepeated) return this.#parts.log.info(said, 'a set of this stop is being taken already');
    const draft = { ...draftOf(release), wanted };
    this.#begin(domain, reason === undefined || !policy ? draft : { ...draft, policy });
  }

  async onPrepare(domainUuid: string, deadlineMs: number, start?: Start) {
    const ended = endWaiting(this.#parts, this.#jobs, { domainUuid, before: deadlineMs });
    const before = await this.#finish(domainUuid, deadlineMs);
    if (start !== undefined && this.#beginBeforeStart(start)) {
      return this.#finish(domainUuid, deadlineMs);
    }
    return before === 'none' && ended > 0 ? 'overtaken' : before;
  }

  async onEvent(happened: Happened) {
    if (this.#isKnown(happened)) return;
    const { policies, wait, jitterMs } = this.#parts;
    if (!mayAsk(policies(), happened)) return;
    if (happened.event === 'lifecycle') await wait(jitterMs(), new AbortController().signal);
    const { domain, xml } = await this.#definition(happened.uuid);
    const asked = evaluate(policies(), domain, happened);
    if (asked.kind === 'nothing' || this.#isKnown(happened)) return;
    this.#beginAsked(domain, xml, happened, asked);
  }

  /** What a hold does to a guest is an event, too; and of what waits for its turn one set is enough. */
  #isKnown({ uuid, event, lifecycle }: Happened): boolean {
    const slot = this.#slots.get(uuid);
    if (slot === undefined) return false;
    if (lifecycle === 'suspended' || lifecycle === 'resumed') return true;
    const { draft, control } = slot;
    return control.isPending && draft.event === event && draft.lifecycle === lifecycle;
  }

  /** Whether a set of the disks as they are before this start has begun. */
  #beginBeforeStart({ domain, xml }: Start): boolean {
    const asked = evaluate(this.#parts.policies(), domain, { event: 'prepare' });
    if (asked.kind === 'nothing') return false;
    return this.#beginAsked(domain, xml, { event: 'prepare' }, asked);
  }

  #beginAsked(domain: Domain, domainXml: string, event: EventFacts, asked: Take): boolean {
    const { now, log } = this.#parts;
    if (chooseDisks(domain, asked.wanted.devices).chosen.length === 0) {
      log.info({ domain: domain.uuid, name: domain.name, ...event, why: NO_DISK }, 'no set');
      return false;
    }
    this.#begin(domain, eventDraft(domainXml, now(), event, asked));
    return true;
  }

  /** Waits for the set in the making of this domain, or has it overtaken. */
  async #finish(domainUuid: string, deadlineMs: number) {
    const slot = this.#slots.get(domainUuid);
    if (slot === undefined) return 'none';
    const { control } = slot;
    if (!control.isAsking) await this.#until(control.held, deadlineMs);
    if (control.isHeld) return 'finished';
    control.overtake();
    return 'overtaken';
  }

  async create(names: readonly string[], wanted: Partial<Wanted> = {}) {
    for (const name of names) this.#stopIfPaused(name);
    const asked = await allOf(names.map((name) => this.#definition(name)));
    const domains = [...new Map(asked.map((each) => [each.domain.uuid, each])).values()];
    const taken = domains.find(({ domain }) => this.#slots.has(domain.uuid));
    if (taken !== undefined) throw busy(taken.domain.name, 'a set of it is being taken');
    const open = this.#parts.journal.open();
    const replaced = domains.find(({ domain }) => replacingJob(open, domain.uuid));
    if (replaced !== undefined) throw busy(replaced.domain.name, 'disks of it are being put back');
    const seats = holdTogether(this.#holds, domains.length);
    const turn = oneTurn(this.#parts.limit);
    const begun = domains.map(({ domain, xml }, index) => {
      const said = evaluateManual(this.#parts.policies(), domain);
      const draft = manualDraft(xml, this.#parts.now(), said, wanted);
      return { domain: domain.name, ...this.#begin(domain, draft, { seat: seats[index], turn }) };
    });
    turn.until(begun.map(({ finished }) => finished));
    return begun;
  }

  /** As it runs, or as it would. @throws OperatingError not-found, unavailable */
  async #definition(name: string): Promise<{ readonly domain: Domain; readonly xml: string }> {
    const { libvirt } = this.#parts;
    const { uuid, isActive } = await libvirt.call('lookUp', { domain: name }, DEADLINE_MS.libvirt);
    const asked = { domain: uuid, inactive: !isActive };
    const xml = stripPasswords(await libvirt.call('domainXml', asked, DEADLINE_MS.libvirt));
    return { domain: parseDomain(xml), xml };
  }

  remove(setId: string) {
    return this.#removal.begin(setId);
  }

  protect(setId: string, isProtected: boolean) {
    return this.#removal.protect(setId, isProtected);
  }

  recordProof(setId: string, proof: Proof) {
    return this.#removal.recordProof(setId, proof);
  }

  prune({ isDryRun, domainUuid }: { readonly isDryRun: boolean; readonly domainUuid?: string }) {
    return isDryRun ? this.#prune.decide(domainUuid) : this.#prune.run(domainUuid);
  }

  onUndefined(domainUuid: string) {
    const ended = this.#slots.get(domainUuid)?.ended;
    const cleared = afterUndefine(this.#parts, this.#prune, domainUuid, ended);
    cleared.catch((error: unknown) => this.#parts.onDefect(error));
  }

  recover() {
    const later = (draft: Draft) => ({
      ...draft,
      setId: newSetId(this.#parts.now()),
      isLate: true,
    });
    return recoverJobs(this.#parts, this.#jobs, this.#removal, {
      begin: (domain, draft) => {
        this.#begin(domain, { ...later(draft), attempt: draft.attempt + 1 });
      },
      again: (job, domain, draft) => this.#inTurn(job, domain.uuid, later(draft)),
    });
  }

  async letGo(signal?: AbortSignal): Promise<void> {
    const { libvirt, log } = this.#parts;
    const bounds = { ...DEADLINE_MS.libvirt, ...(signal && { signal }) };
    try {
      for (const { domain } of await libvirt.call('listHeld', {}, bounds)) {
        if (this.#slots.has(domain)) continue;
        await libvirt.call('release', { domain }, DEADLINE_MS.release);
        log.warn({ domain }, 'a guest that was left held is let go');
      }
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      if (signal?.aborted) return;
      log.warn({ error: error.toWire() }, 'whether guests were left held could not be told');
    }
  }

  adopt(sets: readonly SnapshotSet[]) {
    const { catalogue, host, journal } = this.#parts;
    // What a job works on is that job's: it may be removing it.
    const open = JSON.stringify(journal.open().map(({ data }) => data));
    const lost = sets.filter(({ id, host: of }) => {
      return of === host && catalogue.get(id) === undefined && !open.includes(id);
    });
    for (const set of lost) catalogue.put(set, 'complete');
    return lost.map(({ id }) => id);
  }

  isTaking(domainUuid: string) {
    return this.#slots.has(domainUuid);
  }

  idle() {
    return this.#jobs.idle();
  }

  /** The intent is durable when this returns. */
  #begin(domain: Domain, draft: Draft, among: Partial<Among> = {}): Started<SnapshotSet> {
    const job = this.#parts.journal.begin('snapshot', `${domain.name} ${draft.setId}`, { draft });
    const finished = this.#jobs.run(job, () => this.#inTurn(job, domain.uuid, draft, among));
    finished.catch(() => undefined); // the job says how it ended
    return { jobId: job.id, finished };
  }

  /** From now on a start of the domain waits for it, or overtakes it. */
  #inTurn(
    job: Job,
    domainUuid: string,
    draft: Draft,
    { seat = alone(this.#holds), turn = { run: this.#parts.limit } }: Partial<Among> = {},
  ): Promise<SnapshotSet> {
    const control = new Control(draft.event);
    const before = this.#slots.get(domainUuid)?.ended;
    const take = async () => {
      await before?.catch(() => undefined); // its own job says how it ended
      return turn.run(() => this.#take(job, draft, control, seat));
    };
    const ended = take();
    const slot = { draft, control, ended };
    this.#slots.set(domainUuid, slot);
    const leave = () => {
      control.hold();
      if (this.#slots.get(domainUuid) === slot) this.#slots.delete(domainUuid);
    };
    ended.then(leave, leave);
    return ended;
  }

  async #take(job: Job, intent: Draft, control: Control, seat: Seat): Promise<SnapshotSet> {
    let draft = intent;
    let set: SnapshotSet;
    try {
      draft = await learnReason(this.#parts, job, intent, control);
      this.#stopIfPaused(draft.setId, 'skipped: ');
      set = await takeSet(this.#parts, { job, draft, control, seat });
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      throw this.#afterFailure(job, draft, control, error);
    } finally {
      seat.leave();
    }
    this.#parts.onTaken?.(set);
    if (set.policy !== undefined) this.#prune.run(set.domainUuid);
    return set;
  }

  #afterFailure(job: Job, draft: Draft, control: Control, error: OperatingError): OperatingError {
    if (error instanceof SetFailure && error.leftovers !== undefined) {
      this.#removal.lookAgain(draft.setId, error.leftovers);
    }
    if (job.signal.aborted || !isWaiting(draft, error)) return error;
    if (control.isOvertaken) return overtaken(draft, `the domain started meanwhile; ${error.why}`);
    const { journal, log } = this.#parts;
    if (journal.get(job.id)?.step !== 'waiting') {
      log.warn({ job: job.id, error: error.toWire() }, 'it waits until this can be told');
    }
    job.step('waiting', { draft, error: error.toWire() });
    return new StaysOpen(error);
  }

  /** A stop that comes meanwhile is recorded as a job that says so. @throws OperatingError refused */
  #stopIfPaused(subject: string, before = ''): void {
    const decision = decideWork(this.#parts.pauses(), 'snapshots');
    if (decision.kind === 'go') return;
    const fields = refusedByPause(decision, 'take snapshot set', subject);
    throw new OperatingError({ ...fields, why: before + decision.why });
  }

  async #until(held: Promise<void>, deadlineMs: number): Promise<void> {
    const leftMs = deadlineMs - this.#parts.now();
    if (leftMs <= 0) return;
    const done = new AbortController();
    try {
      await Promise.race([held, this.#parts.wait(leftMs, done.signal)]);
    } finally {
      done.abort();
    }
  }
}

const NO_DISK = 'no disk of it that is asked for is in RBD';

function busy(domain: string, why: string): OperatingError {
  return new OperatingError({ code: 'busy', op: 'take snapshot set', subject: domain, why });
}
