// The room's face: sets taken when a domain is released or an operator asks, one at a time for each domain; removed, pruned,
// and brought to an end after siphond was.

import { type Domain, parseDomain } from '../domain/domain.ts';
import { stripPasswords } from '../domain/strip-passwords.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Retained } from '../wire/evaluation.ts';
import type { Job } from '../wire/journal.ts';
import { decideWork, refusedByPause } from '../wire/pause.ts';
import type { SnapshotSet } from '../wire/vocabulary.ts';
import { Control } from './control.ts';
import { DEADLINE_MS } from './deadlines.ts';
import { chooseDisks } from './disks.ts';
import { evaluate, evaluateManual } from './evaluate.ts';
import { type Draft, isWaiting } from './job-data.ts';
import { Jobs, StaysOpen } from './jobs.ts';
import { WANTED_DEFAULT } from './policy-shape.ts';
import type { Release, SnapshotParts } from './ports.ts';
import { Prune } from './prune.ts';
import { learnReason } from './reason.ts';
import { type Recovered, recoverJobs } from './recover.ts';
import { Removal } from './remove.ts';
import { newSetId } from './set-id.ts';
import { overtaken, SetFailure, takeSet } from './take.ts';
import { afterUndefine } from './undefined.ts';
import { endWaiting } from './waiting.ts';

/** A job that runs; `finished` has its result, and nobody needs to wait for it. */
export interface Started<T> {
  readonly jobId: string;
  readonly finished: Promise<T>;
}

export interface Snapshots {
  /** Durably begun when it returns; taken in the background. Does nothing where no policy asks for a set. */
  onRelease(release: Release): void;
  /**
   * A set of the domain in progress has until the deadline to hold its snapshots; then it is overtaken, and discarded. One
   * that waits for Ceph is at once.
   */
  onPrepare(domainUuid: string, deadlineMs: number): Promise<'none' | 'finished' | 'overtaken'>;
  /** An operator's set, of a domain by name or UUID. @throws OperatingError not-found, busy, unavailable */
  create(domain: string): Promise<Started<SnapshotSet>>;
  /** @throws OperatingError not-found, busy, refused: it is protected */
  remove(setId: string): Started<void>;
  /** An operator's "keep". @throws OperatingError not-found, busy, unavailable */
  protect(setId: string, isProtected: boolean): Promise<SnapshotSet>;
  /** Which sets stay, of one domain or of all; unless it is a dry run, the others are removed in the background. */
  prune(how: { readonly isDryRun: boolean; readonly domainUuid?: string }): readonly Retained[];
  /** libvirt has undefined the domain: sets that keep Nova or Cinder from deleting its disks are removed, in the background. */
  onUndefined(domainUuid: string): void;
  /** Finishes, undoes or tries again what is open and does not run. Call it at start, and again and again. */
  recover(): Promise<Recovered>;
  /** Of the sets that Ceph knows, takes up those of this host that the catalogue has lost; gives their ids. */
  adopt(sets: readonly SnapshotSet[]): readonly string[];
  /** Settles when nothing is in progress. */
  idle(): Promise<void>;
}

export function createSnapshots(parts: SnapshotParts): Snapshots {
  return new Room(parts);
}

/** The set in the making of one domain. */
interface Slot {
  readonly control: Control;
  readonly ended: Promise<unknown>;
}

class Room implements Snapshots {
  readonly #parts: SnapshotParts;
  readonly #jobs: Jobs;
  readonly #removal: Removal;
  readonly #prune: Prune;
  readonly #slots = new Map<string, Slot>();

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
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

  async onPrepare(domainUuid: string, deadlineMs: number) {
    const ended = endWaiting(this.#parts, this.#jobs, { domainUuid, before: deadlineMs });
    const slot = this.#slots.get(domainUuid);
    if (slot === undefined) return ended > 0 ? 'overtaken' : 'none';
    const { control } = slot;
    if (!control.isAsking) await this.#until(control.held, deadlineMs);
    if (control.isHeld) return 'finished';
    control.overtake();
    return 'overtaken';
  }

  async create(name: string) {
    this.#stopIfPaused(name);
    const { libvirt, now } = this.#parts;
    const { uuid, isActive } = await libvirt.call('lookUp', { domain: name }, DEADLINE_MS.libvirt);
    const inactive = !isActive;
    const asked = { domain: uuid, inactive };
    const xml = stripPasswords(await libvirt.call('domainXml', asked, DEADLINE_MS.libvirt));
    if (this.#slots.has(uuid)) throw busy(name);
    const nowMs = now();
    const domain = parseDomain(xml);
    const { wanted, policy } = evaluateManual(this.#parts.policies(), domain);
    return this.#begin(domain, {
      setId: newSetId(nowMs),
      event: 'manual',
      wanted,
      ...(policy && { policy }),
      domainXml: xml,
      atMs: nowMs,
      isLate: false,
      attempt: 0,
    });
  }

  remove(setId: string) {
    return this.#removal.begin(setId);
  }

  protect(setId: string, isProtected: boolean) {
    return this.#removal.protect(setId, isProtected);
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

  idle() {
    return this.#jobs.idle();
  }

  /** The intent is durable when this returns. */
  #begin(domain: Domain, draft: Draft): Started<SnapshotSet> {
    const job = this.#parts.journal.begin('snapshot', `${domain.name} ${draft.setId}`, { draft });
    const finished = this.#jobs.run(job, () => this.#inTurn(job, domain.uuid, draft));
    finished.catch(() => undefined); // the job says how it ended
    return { jobId: job.id, finished };
  }

  /** From now on a start of the domain waits for it, or overtakes it. */
  #inTurn(job: Job, domainUuid: string, draft: Draft): Promise<SnapshotSet> {
    const control = new Control(draft.event);
    const before = this.#slots.get(domainUuid)?.ended;
    const take = async () => {
      await before?.catch(() => undefined); // its own job says how it ended
      return this.#parts.limit(() => this.#take(job, draft, control));
    };
    const ended = take();
    const slot = { control, ended };
    this.#slots.set(domainUuid, slot);
    const leave = () => {
      control.hold();
      if (this.#slots.get(domainUuid) === slot) this.#slots.delete(domainUuid);
    };
    ended.then(leave, leave);
    return ended;
  }

  async #take(job: Job, intent: Draft, control: Control): Promise<SnapshotSet> {
    let draft = intent;
    let set: SnapshotSet;
    try {
      draft = await learnReason(this.#parts, job, intent, control);
      this.#stopIfPaused(draft.setId, 'skipped: ');
      set = await takeSet(this.#parts, { job, draft, control });
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      throw this.#afterFailure(job, draft, control, error);
    }
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

function draftOf({ reason, xml, atMs, isLate }: Release): Draft {
  return {
    setId: newSetId(atMs),
    event: 'release',
    wanted: WANTED_DEFAULT,
    ...(reason !== undefined && { reason }),
    domainXml: xml,
    atMs,
    isLate,
    attempt: 0,
  };
}

function busy(domain: string): OperatingError {
  const why = 'a set of it is being taken';
  return new OperatingError({ code: 'busy', op: 'take snapshot set', subject: domain, why });
}
