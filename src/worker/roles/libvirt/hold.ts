// Holds domains for a moment, under a guard, and lets them go: the worker's side of src/wire/hold-protocol.ts. For each domain one
// thing at a time. What is noted before each step is what is undone.

import { type Domain, freezeFilesystems, setAgentTimeout } from 'node-libvirt';
import { allOf } from '../../../wire/all-of.ts';
import { OperatingError } from '../../../wire/errors.ts';
import type { Held, Holdable, HoldMethods } from '../../../wire/hold-protocol.ts';
import { type Ask, askWith } from './ask.ts';
import { isFrozenAlready, judgeHoldable, judgeState } from './decide-hold.ts';
import type { Guards } from './guards.ts';
import { type LetGo, letGo } from './let-go.ts';
import { freezeOf, jobOf, lookAt } from './look.ts';
import { monotonicMs, type Note, type Notes } from './notes.ts';
import { Turns } from './turns.ts';

type Params<K extends keyof HoldMethods> = HoldMethods[K]['params'];
type Released = HoldMethods['release']['result'];
type Frozen = Pick<Held, 'frozen' | 'whyNotFrozen'>;

/** For libvirt's answers where nothing is held yet, and for an agent's where only its word is asked. */
const LOOK_MS = 10_000;
const AGENT_SECONDS = 2;
/** Nothing is begun so shortly before the guard acts: what it reads in the note then stays so. */
const MARGIN_MS = 500;
/** A step that failed is undone within this, a release within that; the guard goes on where they end. */
const UNDO_MS = 3000;
const RELEASE_MS = 10_000;

/** No domain is held for longer, whoever asks. */
const DEADLINE_MS_MAX = 60_000;

const NOT_HELD: Released = { holdMs: 0, suspendedMs: 0, frozenMs: 0, wasHeldThroughout: false };

export interface HoldParts {
  readonly connection: Parameters<typeof askWith>[0];
  readonly notes: Notes;
  readonly guards: Guards;
  readonly warn: (text: string) => void;
}

export class Holds {
  readonly #parts: HoldParts;
  readonly #ask: Ask;
  readonly #turns = new Turns();
  /** What `hold` gave: told from what nobody held where the guard was first. */
  readonly #given = new Map<string, Note>();

  constructor(parts: HoldParts) {
    this.#parts = parts;
    this.#ask = askWith(parts.connection);
  }

  async holdable({ domain }: Params<'holdable'>): Promise<Holdable> {
    const question = { domain, op: 'look at domain', boundMs: LOOK_MS };
    return judgeHoldable(await this.#ask(question, (found) => lookAt(found, AGENT_SECONDS)));
  }

  guard({ domain, deadlineMs }: Params<'guard'>): Promise<null> {
    return this.#turns.take(domain, async () => {
      const { notes, guards } = this.#parts;
      if (!(deadlineMs > 0 && deadlineMs <= DEADLINE_MS_MAX)) throw noDeadline(domain, deadlineMs);
      if (await notes.read(domain)) throw busy('guard', domain, 'it is noted as held already');
      const question = { domain, op: 'guard', boundMs: LOOK_MS };
      const run = await this.#ask(question, (found) => found.id());
      if (run === undefined) throw refused('guard', domain, 'it does not run');
      // One that is just ending would not be started again.
      await guards.stop(domain);
      const holder = process.pid;
      await notes.create({ domain, run, holder, deadlineMs: monotonicMs() + deadlineMs });
      try {
        await guards.start(domain);
      } catch (error) {
        await notes.remove(domain);
        throw error;
      }
      return null;
    });
  }

  hold(params: Params<'hold'>, signal: AbortSignal): Promise<Held> {
    return this.#turns.take(params.domain, async () => {
      const fromMs = monotonicMs();
      const guarded = await this.#guarded(params.domain);
      const deadlineMs = Math.min(guarded.deadlineMs, fromMs + params.deadlineMs);
      const held = new Hold(this.#ask, this.#parts.notes, { ...guarded, deadlineMs });
      try {
        const frozen = params.quiesce === 'none' ? {} : await held.freeze(params.timeoutMs);
        if (params.quiesce === 'require' && frozen.frozen === undefined) {
          throw refused('hold', params.domain, `it could not be frozen: ${frozen.whyNotFrozen}`);
        }
        signal.throwIfAborted();
        if (params.suspends) await held.suspend();
        signal.throwIfAborted();
        this.#given.set(params.domain, await held.confirm());
        return { ...frozen, isSuspended: params.suspends, tookMs: monotonicMs() - fromMs };
      } catch (error) {
        await held.undo().catch((late: OperatingError) => this.#parts.warn(late.message));
        throw error;
      }
    });
  }

  release({ domain }: Params<'release'>): Promise<Released> {
    return this.#turns.take(domain, async () => {
      const { notes, guards, warn } = this.#parts;
      const given = this.#given.get(domain);
      const note = await notes.read(domain);
      if (!note) {
        this.#given.delete(domain);
        return given ? timesOf(given, { wasSuspended: false, wasFrozen: false }) : NOT_HELD;
      }
      const gone = await letGo(this.#ask, note, monotonicMs() + RELEASE_MS);
      // Without its note it does nothing.
      await guards.stop(domain).catch((error: OperatingError) => warn(error.message));
      await notes.remove(domain);
      this.#given.delete(domain);
      return timesOf(note, gone);
    });
  }

  async listHeld(): Promise<HoldMethods['listHeld']['result']> {
    return (await this.#parts.notes.listOurs()).map((domain) => ({ domain }));
  }

  /** Nobody will ask for it. What cannot be let go in time is its guard's. */
  async releaseAll(): Promise<void> {
    await allOf((await this.listHeld()).map((held) => this.release(held)));
  }

  async #guarded(domain: string): Promise<Note> {
    const note = await this.#parts.notes.read(domain);
    if (!note) throw refused('hold', domain, 'it has no guard, or its guard has ended');
    if (note.freezingMs === undefined && note.suspendingMs === undefined) return note;
    throw busy('hold', domain, 'it is held already');
  }
}

/** One hold on its way: each step is noted, done, and confirmed. */
class Hold {
  readonly #ask: Ask;
  readonly #notes: Notes;
  #note: Note;
  /** libvirt waits for the agent no longer than we said. */
  #hasTimeout = false;

  constructor(ask: Ask, notes: Notes, note: Note) {
    this.#ask = ask;
    this.#notes = notes;
    this.#note = note;
  }

  /** Where it fails, the guest is thawed; only that is thrown which must end the hold. */
  async freeze(timeoutMs: number): Promise<Frozen> {
    const seconds = Math.ceil(Math.max(1, Math.min(timeoutMs, this.#leftMs())) / 1000);
    await this.#do('freeze', mayBeHeld);
    this.#hasTimeout = true;
    const freeze = await this.#do('freeze', async (domain) => {
      await setAgentTimeout(domain, seconds);
      return await freezeOf(domain, seconds);
    });
    if (freeze.kind === 'frozen') throw this.#busy('its filesystems are frozen already');
    if ('why' in freeze) return await this.#notFrozen(freeze.why);
    await this.#noteThat({ freezingMs: monotonicMs() });
    try {
      const count = await this.#do('freeze', freezeFilesystems);
      const { kind } = await this.#do('freeze', (domain) => freezeOf(domain, seconds));
      if (kind === 'frozen' && count > 0) return { frozen: count };
      return await this.#notFrozen(`its agent froze ${count} filesystems, and is ${kind}`);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      if (!isFrozenAlready(error.why)) return await this.#notFrozen(error.why);
      await this.#forget();
      throw this.#busy('somebody else froze it meanwhile');
    }
  }

  async suspend(): Promise<void> {
    await this.#do('suspend', mayBeHeld);
    await this.#noteThat({ suspendingMs: monotonicMs() });
    await this.#do('suspend', (domain) => domain.suspend());
  }

  /** The note, if the guard has not acted on it meanwhile. */
  async confirm(): Promise<Note> {
    const isThere = (await this.#notes.read(this.#note.domain)) !== undefined;
    if (isThere && this.#leftMs() > 0) return this.#note;
    throw this.#late();
  }

  /** The guest is as it was. What could not be undone in time stays noted, and is the guard's. */
  async undo(): Promise<void> {
    const { freezingMs, suspendingMs } = this.#note;
    if (freezingMs !== undefined || suspendingMs !== undefined) {
      await letGo(this.#ask, this.#note, monotonicMs() + UNDO_MS);
      await this.#forget();
    }
    if (!this.#hasTimeout) return;
    const question = { domain: this.#note.domain, op: 'forget timeout', boundMs: UNDO_MS };
    await this.#ask(question, (domain) => setAgentTimeout(domain, 'forever'));
    this.#hasTimeout = false;
  }

  async #notFrozen(whyNotFrozen: string): Promise<Frozen> {
    await this.undo();
    return { whyNotFrozen };
  }

  async #noteThat(begun: Partial<Note>): Promise<void> {
    if (this.#leftMs() < MARGIN_MS) throw this.#late();
    if (!(await this.#notes.read(this.#note.domain))) throw this.#late();
    this.#note = { ...this.#note, ...begun };
    await this.#notes.replace(this.#note);
  }

  /** Nothing of ours is on the guest. */
  async #forget(): Promise<void> {
    const { domain, run, holder, deadlineMs } = this.#note;
    this.#note = { domain, run, holder, deadlineMs };
    if (await this.#notes.read(domain)) await this.#notes.replace(this.#note);
  }

  #do<T>(op: string, body: (domain: Domain) => Promise<T>): Promise<T> {
    return this.#ask({ domain: this.#note.domain, op, boundMs: this.#leftMs() }, body);
  }

  #leftMs(): number {
    return this.#note.deadlineMs - monotonicMs();
  }

  #busy(why: string): OperatingError {
    return busy('hold', this.#note.domain, why);
  }

  #late(): OperatingError {
    const why = 'its deadline has come: the guard lets it go';
    return new OperatingError({ code: 'unavailable', op: 'hold', subject: this.#note.domain, why });
  }
}

/** @throws OperatingError busy, refused: what is somebody else's came in between */
async function mayBeHeld(domain: Domain): Promise<void> {
  const judged = judgeState(await domain.status(), await jobOf(domain));
  if (judged.kind === 'busy') throw busy('hold', domain.uuid, judged.why);
  if (judged.kind === 'off') throw refused('hold', domain.uuid, 'it does not run');
}

function timesOf(note: Note, gone: LetGo): Released {
  const nowMs = monotonicMs();
  const { freezingMs, suspendingMs } = note;
  const { thawedMs = nowMs, resumedMs = nowMs } = gone;
  const suspendedMs = suspendingMs === undefined ? 0 : resumedMs - suspendingMs;
  const frozenMs = freezingMs === undefined ? 0 : thawedMs - freezingMs;
  const begun = [freezingMs, suspendingMs].filter((each) => each !== undefined);
  const ended = [
    freezingMs !== undefined ? thawedMs : 0,
    suspendingMs !== undefined ? resumedMs : 0,
  ];
  return {
    holdMs: begun.length === 0 ? 0 : Math.max(...ended) - Math.min(...begun),
    suspendedMs,
    frozenMs,
    wasHeldThroughout:
      begun.length > 0 &&
      (suspendingMs === undefined || gone.wasSuspended) &&
      (freezingMs === undefined || gone.wasFrozen),
  };
}

function noDeadline(subject: string, deadlineMs: number): OperatingError {
  const why = `a deadline of ${deadlineMs} ms is none, or over ${DEADLINE_MS_MAX} ms`;
  return new OperatingError({ code: 'usage', op: 'guard', subject, why });
}

function busy(op: string, subject: string, why: string): OperatingError {
  return new OperatingError({ code: 'busy', op, subject, why });
}

function refused(op: string, subject: string, why: string): OperatingError {
  return new OperatingError({ code: 'refused', op, subject, why });
}
