// The latest live calls, for telling what comes out of the spool from what was answered already, or overtaken.

import type { HookEvent } from './events.ts';

/** Domains whose last call is remembered; the oldest is forgotten first. */
const DOMAINS_MAX = 4096;
/** A filter that was cut spools its call within its own bound of 15 s; later, the same process id is another's. */
const SAME_CALL_MS = 60_000;

export type LateStanding = 'fresh' | 'answered' | 'overtaken';

export class RecentCalls {
  readonly #last = new Map<string, HookEvent>();

  add(event: HookEvent): void {
    const { uuid } = event.domain;
    this.#last.delete(uuid);
    this.#last.set(uuid, event);
    const [oldest] = this.#last.keys();
    if (this.#last.size > DOMAINS_MAX && oldest !== undefined) this.#last.delete(oldest);
  }

  isLatest(event: HookEvent): boolean {
    return this.#last.get(event.domain.uuid) === event;
  }

  /** Its filter left before it was answered, so it will be in the spool. */
  forget(event: HookEvent): void {
    if (this.isLatest(event)) this.#last.delete(event.domain.uuid);
  }

  /** What a spooled event still means beside its domain's last live call. */
  standingOf(event: HookEvent): LateStanding {
    const last = this.#last.get(event.domain.uuid);
    if (last === undefined) return 'fresh';
    if (isSameCall(last, event)) return 'answered';
    return last.atMs > event.atMs ? 'overtaken' : 'fresh';
  }
}

function isSameCall(a: HookEvent, b: HookEvent): boolean {
  const isNear = Math.abs(a.atMs - b.atMs) < SAME_CALL_MS;
  return a.pid !== undefined && a.pid === b.pid && a.kind === b.kind && isNear;
}
