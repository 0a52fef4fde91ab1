// Lets a domain go that is held, or may be: resumes it, then thaws it, until libvirt and the agent say so. By the worker and by the
// guard alike.

import { setTimeout as delay } from 'node:timers/promises';
import {
  type Domain,
  type DomainStatus,
  freezeStatus,
  isLibvirtError,
  setAgentTimeout,
  thawFilesystems,
  VIR_ERR,
} from 'node-libvirt';
import { OperatingError } from '../../../wire/errors.ts';
import type { Ask } from './ask.ts';
import { nextLetGoStep } from './decide-hold.ts';
import { monotonicMs, type Note } from './notes.ts';

/** What was found, and when it was over; of {@link monotonicMs}. */
export interface LetGo {
  /** Absent where it was not begun. */
  readonly resumedMs?: number;
  readonly thawedMs?: number;
  /** It was still so when it was let go. */
  readonly wasSuspended: boolean;
  readonly wasFrozen: boolean;
}

/** For the agent's answers to a thaw; libvirt counts whole seconds. */
const THAW_SECONDS = 5;
const AGAIN_MS = 100;

/**
 * Undoes what the note says, and nothing else, until it is undone.
 * @throws OperatingError unavailable: not by `untilMs` (of {@link monotonicMs})
 */
export async function letGo(ask: Ask, note: Note, untilMs: number): Promise<LetGo> {
  const going = new Going(ask, note, untilMs);
  for (;;) {
    const why = await going.step();
    if (why === undefined) return going.found;
    if (monotonicMs() >= untilMs) {
      const subject = note.domain;
      throw new OperatingError({ code: 'unavailable', op: 'let domain go', subject, why });
    }
    await delay(AGAIN_MS);
  }
}

class Going {
  readonly #ask: Ask;
  readonly #note: Note;
  readonly #untilMs: number;
  readonly #left: { resume: boolean; thaw: boolean };
  #found: LetGo = { wasSuspended: false, wasFrozen: false };

  constructor(ask: Ask, note: Note, untilMs: number) {
    this.#ask = ask;
    this.#note = note;
    this.#untilMs = untilMs;
    this.#left = {
      resume: note.suspendingMs !== undefined,
      thaw: note.freezingMs !== undefined,
    };
  }

  get found(): LetGo {
    return this.#found;
  }

  /** Steps until the end, which gives undefined, or until something is in the way, which is told. */
  async step(): Promise<string | undefined> {
    try {
      for (;;) {
        const next = nextLetGoStep(this.#left, await this.#status());
        if (next.step === 'end') {
          this.#end();
          return undefined;
        }
        if (next.step === 'wait') return next.why;
        if (next.step === 'leave-paused') this.#left.resume = false;
        if (next.step === 'resume' && !(await this.#resume())) return 'it does not resume';
        if (next.step === 'thaw' && !(await this.#thaw()))
          return 'its agent says that it is frozen';
      }
    } catch (error) {
      if (error instanceof OperatingError) return error.why;
      throw error;
    }
  }

  /** Undefined: what was held does not run any more. */
  async #status(): Promise<DomainStatus | undefined> {
    try {
      return await this.#askFor('look at domain', async (domain) =>
        (await domain.id()) === this.#note.run ? await domain.status() : undefined,
      );
    } catch (error) {
      if (error instanceof OperatingError && error.code === 'not-found') return undefined;
      throw error;
    }
  }

  async #resume(): Promise<boolean> {
    const was = await this.#askFor('resume', resumeOnce);
    if (was === 'neither') return false;
    this.#left.resume = false;
    const wasSuspended = was === 'suspended';
    this.#found = { ...this.#found, resumedMs: monotonicMs(), wasSuspended };
    return true;
  }

  async #thaw(): Promise<boolean> {
    const wasFrozen = await this.#askFor('thaw', thawOnce);
    if (wasFrozen === undefined) return false;
    this.#left.thaw = false;
    const thawedMs = monotonicMs();
    this.#found = { ...this.#found, thawedMs, wasFrozen: wasFrozen || this.#found.wasFrozen };
    return true;
  }

  /** What is left then is over with the domain, or is another's. */
  #end(): void {
    const { freezingMs, suspendingMs } = this.#note;
    const { resumedMs = monotonicMs(), thawedMs = monotonicMs() } = this.#found;
    this.#found = {
      ...this.#found,
      ...(suspendingMs !== undefined && { resumedMs }),
      ...(freezingMs !== undefined && { thawedMs }),
    };
  }

  #askFor<T>(op: string, body: (domain: Domain) => Promise<T>): Promise<T> {
    const boundMs = Math.max(this.#untilMs - monotonicMs(), AGAIN_MS);
    return this.#ask({ domain: this.#note.domain, op, boundMs }, body);
  }
}

/** libvirt resumes one at a time: whatever it answers, no suspend is under way then. */
async function resumeOnce(domain: Domain): Promise<'suspended' | 'running' | 'neither'> {
  try {
    await domain.resume();
    return 'suspended';
  } catch (error) {
    if (!isLibvirtError(error, VIR_ERR.OPERATION_INVALID)) throw error;
    return (await domain.status()).state === 'running' ? 'running' : 'neither';
  }
}

/** Whether anything was frozen; undefined where it still is. The agent does one thing after the other: what it answers is later. */
async function thawOnce(domain: Domain): Promise<boolean | undefined> {
  await setAgentTimeout(domain, THAW_SECONDS);
  const count = await thawFilesystems(domain);
  if ((await freezeStatus(domain, THAW_SECONDS)) === 'frozen') return undefined;
  await setAgentTimeout(domain, 'forever');
  return count > 0;
}
