// The room's face: sets taken when a domain is released or an operator asks, one at a time for each domain; removed, pruned,
// and brought to an end after siphond was.

import { type Domain, parseDomain } from '../domain/domain.ts';
import { stripPasswords } from '../domain/strip-passwords.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Job } from '../wire/journal.ts';
import type { SnapshotSet } from '../wire/vocabulary.ts';
import { Control } from './control.ts';
import { DEADLINE_MS } from './deadlines.ts';
import { whyNever } from './decide.ts';
import { chooseDisks } from './disks.ts';
import type { Draft } from './job-data.ts';
import { Jobs } from './jobs.ts';
import { matchPolicy } from './policy.ts';
import type { Release, SnapshotParts } from './ports.ts';
import { type Recovered, recoverJobs } from './recover.ts';
import { Removal } from './remove.ts';
import { setsToPrune } from './retention.ts';
import { newSetId } from './set-id.ts';
import { SetFailure, takeSet } from './take.ts';

/** A job that runs; `finished` has its result, and nobody needs to wait for it. */
export interface Started<T> {
  readonly jobId: string;
  readonly finished: Promise<T>;
}

export interface Snapshots {
  /** Durably begun when it returns; taken in the background. Does nothing where no policy asks for a set. */
  onRelease(release: Release): void;
  /** A set of the domain in progress has until the deadline to hold its snapshots; then it is overtaken, and discarded. */
  onPrepare(domainUuid: string, deadlineMs: number): Promise<'none' | 'finished' | 'overtaken'>;
  /** An operator's set, of a domain by name or UUID. @throws OperatingError not-found, busy, unavailable */
  create(domain: string): Promise<Started<SnapshotSet>>;
  /** @throws OperatingError not-found, busy */
  remove(setId: string): Started<void>;
  /** Finishes or undoes the open jobs of earlier lives. Call it at start, and again while some are left. */
  recover(): Promise<Recovered>;
  /** Sets of this host that Ceph knows and the catalogue does not, from these pools. */
  rebuild(places: readonly Place[]): Promise<readonly string[]>;
  /** Settles when nothing is in progress. */
  idle(): Promise<void>;
}

export interface Place {
  readonly fsid: string;
  readonly pool: string;
  readonly namespace: string;
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
  readonly #slots = new Map<string, Slot>();

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
    this.#jobs = new Jobs(parts);
    this.#removal = new Removal(parts, this.#jobs);
  }

  onRelease(release: Release): void {
    const { domain, reason } = release;
    const policy = matchPolicy(this.#parts.policies(), domain.name, reason);
    if (policy === undefined) return;
    const said = { domain: domain.uuid, name: domain.name, reason, policy: policy.name };
    const never =
      whyNever(reason) ?? (chooseDisks(domain).chosen.length === 0 ? NO_DISK : undefined);
    if (never !== undefined) return this.#parts.log.info({ ...said, why: never }, 'no set');
    const slot = this.#slots.get(domain.uuid);
    const isRepeated =
      slot !== undefined && slot.control.kind === 'release' && slot.control.isPending;
    if (isRepeated) return this.#parts.log.info(said, 'a set of this stop is being taken already');
    const { name, keepLast } = policy;
    this.#begin(domain, { ...draftOf(release), policy: { name, keepLast } });
  }

  async onPrepare(domainUuid: string, deadlineMs: number) {
    const slot = this.#slots.get(domainUuid);
    if (slot === undefined) return 'none';
    const { control } = slot;
    await this.#until(control.held, deadlineMs);
    if (control.isHeld) return 'finished';
    control.overtake();
    return 'overtaken';
  }

  async create(name: string) {
    const { libvirt, now } = this.#parts;
    const { uuid, isActive } = await libvirt.call('lookUp', { domain: name }, DEADLINE_MS.libvirt);
    const inactive = !isActive;
    const asked = { domain: uuid, inactive };
    const xml = stripPasswords(await libvirt.call('domainXml', asked, DEADLINE_MS.libvirt));
    if (this.#slots.has(uuid)) throw busy(name);
    const nowMs = now();
    return this.#begin(parseDomain(xml), {
      setId: newSetId(nowMs),
      event: 'manual',
      domainXml: xml,
      atMs: nowMs,
      isLate: false,
      attempt: 0,
    });
  }

  remove(setId: string) {
    return this.#removal.begin(setId);
  }

  recover() {
    return recoverJobs(this.#parts, this.#jobs, this.#removal, (domain, draft) => {
      const setId = newSetId(this.#parts.now());
      this.#begin(domain, { ...draft, setId, isLate: true, attempt: draft.attempt + 1 });
    });
  }

  async rebuild(places: readonly Place[]) {
    const { byFsid, catalogue, host } = this.#parts;
    const added: string[] = [];
    for (const { fsid, ...place } of places) {
      const { ceph } = await byFsid(fsid);
      for (const set of await ceph.call('listSets', place, DEADLINE_MS.look)) {
        if (set.host !== host || catalogue.get(set.id) !== undefined) continue;
        catalogue.put(set, 'complete');
        added.push(set.id);
      }
    }
    return added;
  }

  idle() {
    return this.#jobs.idle();
  }

  /** The intent is durable when this returns. */
  #begin(domain: Domain, draft: Draft): Started<SnapshotSet> {
    const job = this.#parts.journal.begin('snapshot', `${domain.name} ${draft.setId}`, { draft });
    const control = new Control(draft.event);
    const before = this.#slots.get(domain.uuid)?.ended;
    const finished = this.#jobs.run(job, async () => {
      await before?.catch(() => undefined); // its own job says how it ended
      return this.#parts.limit(() => this.#take(job, draft, control));
    });
    const slot = { control, ended: finished };
    this.#slots.set(domain.uuid, slot);
    const leave = () => {
      control.hold();
      if (this.#slots.get(domain.uuid) === slot) this.#slots.delete(domain.uuid);
    };
    finished.then(leave, leave);
    return { jobId: job.id, finished };
  }

  async #take(job: Job, draft: Draft, control: Control): Promise<SnapshotSet> {
    try {
      const set = await takeSet(this.#parts, { job, draft, control });
      job.step('pruning');
      await this.#prune(set, draft);
      return set;
    } catch (error) {
      if (error instanceof SetFailure && error.leftovers !== undefined) {
        this.#removal.lookAgain(draft.setId, error.leftovers);
      }
      throw error;
    }
  }

  /** Each removal is a job of its own: should one fail, the new set stands all the same. */
  async #prune(set: SnapshotSet, { policy }: Draft): Promise<void> {
    if (policy === undefined) return;
    const scope = { domainUuid: set.domainUuid, policy: policy.name, keepLast: policy.keepLast };
    const sets = setsToPrune(this.#parts.catalogue.list(set.domainUuid), scope);
    for (const old of sets) {
      if (this.#removal.isRemoving(old.id)) continue;
      await this.#removal.begin(old.id).finished.catch((error: unknown) => {
        if (!(error instanceof OperatingError)) throw error;
        this.#parts.log.warn({ set: old.id, error: error.toWire() }, 'not pruned');
      });
    }
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

const NO_DISK = 'no disk of it is in RBD';

function draftOf({ reason, xml, atMs, isLate }: Release): Omit<Draft, 'policy'> {
  return {
    setId: newSetId(atMs),
    event: 'release',
    reason,
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
