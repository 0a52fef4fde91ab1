// Begins the sets that policies want by the calendar: each look asks which domains there are, and when each was due since the last
// set of it. Nothing is kept but that: sets are the record, and a look that is missed is made up for by the next.

import { parseDomain } from '../../domain/domain.ts';
import { OperatingError } from '../../wire/errors.ts';
import { decideWork } from '../../wire/pause.ts';
import type { Calendar, Schedule } from '../../wire/schedule.ts';
import type { Policy } from '../../wire/vocabulary.ts';
import { DEADLINE_MS } from '../deadlines.ts';
import { readTakeData } from '../job-data.ts';
import type { SnapshotParts } from '../ports.ts';
import { restoredDomain } from '../restore/data.ts';
import type { Happened } from '../service.ts';
import { lookFrom, shiftOf } from './due.ts';

/** The clock may be set, domains come and go: a look is never further away. */
export const LOOK_MS_MAX = 60_000;
/** What an open set of the same domain, or a calendar that does not answer, keeps from being looked at. */
const AGAIN_MS = 5000;
/** Domains that are begun with at once: each is asked of libvirt. */
const AT_ONCE = 4;

export interface ScheduleParts
  extends Pick<
    SnapshotParts,
    'policies' | 'pauses' | 'libvirt' | 'catalogue' | 'journal' | 'now' | 'log'
  > {
  readonly calendar: Calendar;
  /** A set is begun, in the background, where policies ask for it. @throws OperatingError */
  readonly begin: (happened: Happened) => Promise<void>;
}

type Scheduled = Policy & { readonly schedule: Schedule };

interface Due {
  readonly uuid: string;
  /** Names of policies. */
  readonly elapsed: readonly string[];
}

export class Schedules {
  readonly #parts: ScheduleParts;
  /** By policy, its schedule, and domain: when it was looked at last, and nothing was left to be taken. */
  #looked = new Map<string, number>();
  /** What the calendar has said. */
  #told = new Map<string, number | null>();

  constructor(parts: ScheduleParts) {
    this.#parts = parts;
  }

  /** Begins what is due. Gives when to look again at the latest, in ms from now. @throws OperatingError */
  async look(): Promise<number> {
    const policies = this.#parts.policies().filter(isScheduled);
    if (policies.length === 0) return this.#forget();
    const domains = await this.#parts.libvirt.call('listDomains', {}, DEADLINE_MS.list);
    const look = new Look(this.#parts, { looked: this.#looked, told: this.#told });
    for (const { uuid } of domains) await look.at(uuid, policies);
    this.#looked = look.looked;
    this.#told = look.told;
    await this.#beginAll(look.due);
    return Math.min(LOOK_MS_MAX, Math.max(0, look.nextMs - this.#parts.now()));
  }

  #forget(): number {
    this.#looked.clear();
    this.#told.clear();
    return LOOK_MS_MAX;
  }

  async #beginAll(due: readonly Due[]): Promise<void> {
    const waiting = [...due];
    const lane = async () => {
      for (let each = waiting.shift(); each; each = waiting.shift()) await this.#begin(each);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
  }

  /** What fails now is tried when the schedule elapses the next time. */
  async #begin({ uuid, elapsed }: Due): Promise<void> {
    try {
      await this.#parts.begin({ uuid, event: 'scheduled', elapsed });
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#parts.log.warn({ domain: uuid, policies: elapsed, error: error.toWire() }, 'no set');
    }
  }
}

type Memory = Pick<Look, 'looked' | 'told'>;

/** One look at all domains. */
class Look {
  readonly looked = new Map<string, number>();
  readonly told = new Map<string, number | null>();
  readonly due: Due[] = [];
  nextMs = Number.POSITIVE_INFINITY;
  readonly #parts: ScheduleParts;
  readonly #before: Memory;
  readonly #nowMs: number;
  readonly #isPaused: boolean;
  /** Domains of which a scheduled set is in the making, or is left from an earlier life; and whose disks are being restored. */
  readonly #open: ReadonlySet<string>;

  constructor(parts: ScheduleParts, before: Memory) {
    this.#parts = parts;
    this.#before = before;
    this.#nowMs = parts.now();
    this.#isPaused = decideWork(parts.pauses(), 'snapshots').kind === 'refuse';
    this.#open = openDomains(parts);
  }

  async at(uuid: string, policies: readonly Scheduled[]): Promise<void> {
    // Until that has ended nobody knows whether it is the set that is due, or what the disks are.
    if (this.#open.has(uuid)) return this.#leave(uuid, policies);
    const elapsed: string[] = [];
    for (const policy of policies) {
      if (await this.#isDue(uuid, policy)) elapsed.push(policy.name);
    }
    if (elapsed.length > 0) this.due.push({ uuid, elapsed });
  }

  async #isDue(uuid: string, { name, schedule }: Scheduled): Promise<boolean> {
    const nowMs = this.#nowMs;
    const key = keyOf(uuid, { name, schedule });
    const lookedMs = this.#before.looked.get(key);
    const sets = lookedMs === undefined ? this.#setsOf(uuid, name) : [];
    const fromMs = lookFrom({ schedule, lookedMs, sets, nowMs });
    const shiftMs = shiftOf(schedule, name, uuid);
    const next = await this.#next(schedule.calendar, fromMs - shiftMs);
    const isDue = next !== null && next + shiftMs <= nowMs;
    // What a pause keeps from being taken is missed: it is caught up with, or it is not.
    const isHeldBack = isDue && this.#isPaused && schedule.isCaughtUp;
    this.looked.set(key, isDue && !isHeldBack ? nowMs : fromMs);
    if (isHeldBack) return false;
    const after = isDue ? await this.#next(schedule.calendar, nowMs - shiftMs) : next;
    if (after !== null) this.nextMs = Math.min(this.nextMs, after + shiftMs);
    return isDue && !this.#isPaused;
  }

  #leave(uuid: string, policies: readonly Scheduled[]): void {
    for (const key of policies.map((policy) => keyOf(uuid, policy))) {
      const lookedMs = this.#before.looked.get(key);
      if (lookedMs !== undefined) this.looked.set(key, lookedMs);
    }
    this.#again();
  }

  #setsOf(uuid: string, policy: string) {
    const sets = this.#parts.catalogue.list(uuid);
    return sets.filter((set) => set.event === 'scheduled' && set.policy === policy);
  }

  /** From memory, where it was told before: there it is looked at each minute. */
  async #next(calendar: string, afterMs: number): Promise<number | null> {
    const key = `${afterMs} ${calendar}`;
    const memory = [this.told, this.#before.told].find((each) => each.has(key));
    try {
      const known = memory?.get(key);
      const next = known === undefined ? await this.#parts.calendar.next(calendar, afterMs) : known;
      this.told.set(key, next);
      return next;
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#parts.log.warn({ calendar, error: error.toWire() }, 'a schedule cannot be told');
      this.#again();
      return null;
    }
  }

  #again(): void {
    this.nextMs = Math.min(this.nextMs, this.#nowMs + AGAIN_MS);
  }
}

function keyOf(uuid: string, { name, schedule }: Pick<Scheduled, 'name' | 'schedule'>): string {
  return [name, schedule.calendar, uuid].join('\n');
}

function isScheduled(policy: Policy): policy is Scheduled {
  return policy.schedule !== undefined;
}

function openDomains({ journal }: Pick<ScheduleParts, 'journal'>): ReadonlySet<string> {
  const open = journal.open().map(({ kind, data }) => {
    if (kind !== 'snapshot') return restoredDomain(data);
    const draft = readTakeData(data)?.draft;
    return draft?.event === 'scheduled' ? parseDomain(draft.domainXml).uuid : undefined;
  });
  return new Set(open.filter((uuid) => uuid !== undefined));
}
