// Removes the sets that retention counts out, one after the other and at a bounded rate: each is work for the OSDs. What is not
// reached before siphond ends is decided anew.

import { OperatingError } from '../wire/errors.ts';
import type { Retained } from '../wire/evaluation.ts';
import type { SnapshotParts } from './ports.ts';
import type { Removal } from './remove.ts';
import { decideRetention, setsInTheirWay } from './retention.ts';
import { TrustedClock } from './trusted-clock.ts';

type PruneParts = Pick<
  SnapshotParts,
  'catalogue' | 'policies' | 'now' | 'wait' | 'log' | 'onDefect'
>;

/** From the end of one removal to the next. */
export const PRUNE_PACE_MS = 1000;

export class Prune {
  readonly #parts: PruneParts;
  readonly #removal: Removal;
  readonly #waiting = new Set<string>();
  readonly #clock: TrustedClock;
  #isRunning = false;

  constructor(parts: PruneParts, removal: Removal) {
    this.#parts = parts;
    this.#removal = removal;
    this.#clock = new TrustedClock(this.#reading());
  }

  /** What would go and what would stay: of one domain, or of all. */
  decide(domainUuid?: string): readonly Retained[] {
    const { catalogue, policies } = this.#parts;
    const sets = catalogue.list(domainUuid);
    const nowMs = this.#clock.at(this.#reading());
    return decideRetention({ sets, policies: policies(), nowMs });
  }

  /** Removes in the background what is to go; each removal is a job of its own. */
  run(domainUuid?: string): readonly Retained[] {
    const decisions = this.decide(domainUuid);
    this.#add(decisions.filter(({ decision }) => decision === 'prune').map(({ set }) => set));
    return decisions;
  }

  /** The domain is undefined: what stands in the way of whoever deletes its disks goes. Gives how many. */
  clearWay(domainUuid: string): number {
    const sets = setsInTheirWay(this.#parts.catalogue.list(domainUuid));
    this.#add(sets.map(({ id }) => id));
    return sets.length;
  }

  #reading() {
    return { wallMs: this.#parts.now(), monotonicMs: performance.now() };
  }

  #add(ids: readonly string[]): void {
    // The oldest first: catalogues list the newest first.
    for (const id of ids.toReversed()) this.#waiting.add(id);
    if (this.#isRunning || this.#waiting.size === 0) return;
    this.#isRunning = true;
    this.#work().catch((error: unknown) => this.#parts.onDefect(error));
  }

  async #work(): Promise<void> {
    const never = new AbortController().signal;
    for (const id of this.#waiting) {
      await this.#remove(id);
      this.#waiting.delete(id);
      if (this.#waiting.size > 0) await this.#parts.wait(PRUNE_PACE_MS, never);
    }
    this.#isRunning = false;
  }

  /** Should one fail, the next round takes it up. */
  async #remove(id: string): Promise<void> {
    try {
      await this.#removal.begin(id).finished;
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#parts.log.warn({ set: id, error: error.toWire() }, 'not pruned');
    }
  }
}
