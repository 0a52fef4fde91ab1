// Evicting for real: under the journal, each base looked at again in the same tick in which it stops being served, its row
// removed last.

import { existsSync, statSync } from 'node:fs';
import { basePath } from '../domain/base-path.ts';
import { OperatingError } from '../wire/errors.ts';
import type { BaseRow } from './catalogue/bases.ts';
import {
  type EvictDecision,
  type EvictFacts,
  type EvictWish,
  type OpenState,
  planEviction,
  reasonToKeep,
} from './evict.ts';
import { removeFile } from './files.ts';
import { type LockedFiles, openStateOf, parseLocks } from './open-files.ts';
import type { CacheParts } from './parts.ts';
import { viewOf } from './view.ts';

export class Evictor {
  readonly #parts: CacheParts;
  readonly #running = new Map<string, Promise<void>>();
  /** Bases that are about to be filled, though their rows do not say so yet: they stay. */
  readonly claimed = new Set<string>();

  constructor(parts: CacheParts) {
    this.#parts = parts;
  }

  /** What would go and what would stay, now. */
  plan(wish: EvictWish): EvictDecision[] {
    const locks = this.#locks();
    const facts = this.#parts.catalogue.bases.all().map((row) => this.#factsOf(row, locks));
    return planEviction(facts, wish);
  }

  /** Carries out a plan; what can no longer go is kept, with the reason. */
  async run(decisions: readonly EvictDecision[], why: string): Promise<EvictDecision[]> {
    const planned = decisions.filter(({ decision }) => decision === 'evict');
    if (planned.length === 0) return [...decisions];
    const data = { bases: planned.map(({ id }) => id) };
    const job = this.#parts.journal.begin('evict', `${planned.length} bases: ${why}`, data);
    const carriedOut: EvictDecision[] = [];
    for (const each of decisions) {
      const kept = each.decision === 'keep' ? each.reason : await this.#evict(each.id, job.signal);
      carriedOut.push(kept === null ? each : { ...each, decision: 'keep', reason: kept });
    }
    job.done({ evicted: idsOfEvicted(carriedOut) });
    return carriedOut;
  }

  /** The eviction of this base that is under way, until it has ended. */
  running(id: string): Promise<void> | undefined {
    return this.#running.get(id);
  }

  /** null: it is gone; else why it was kept. Up to the first await nothing else can happen to the base. */
  async #evict(id: string, signal: AbortSignal): Promise<string | null> {
    const { bases } = this.#parts.catalogue;
    if (signal.aborted) return 'the eviction was cancelled';
    const row = bases.get(id);
    if (row === undefined) return 'it is gone already';
    const held = reasonToKeep(this.#factsOf(row, this.#locks()));
    if (held !== null) return held;
    bases.move(id, 'evict-begun');
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#running.set(id, promise);
    const path = this.#pathOf(row);
    try {
      await removeFile(path);
      bases.move(id, 'evicted');
      return null;
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      if (!existsSync(path)) bases.move(id, 'evicted');
      else bases.move(id, row.state === 'suspect' ? 'kept-suspect' : 'kept');
      return error.message;
    } finally {
      this.#running.delete(id);
      resolve();
    }
  }

  #factsOf(row: BaseRow, locks: LockedFiles | null): EvictFacts {
    const state = this.claimed.has(row.id) ? 'filling' : row.state;
    return { ...viewOf(this.#parts.catalogue, row), state, open: this.#openState(row, locks) };
  }

  #openState(row: BaseRow, locks: LockedFiles | null): OpenState {
    try {
      const file = statSync(this.#pathOf(row), { bigint: true, throwIfNoEntry: false });
      return file === undefined ? 'closed' : openStateOf(file, locks);
    } catch {
      return 'unknown'; // a failing disk must not look like an unused base
    }
  }

  #locks(): LockedFiles | null {
    const text = this.#parts.readLocks();
    return text === null ? null : parseLocks(text);
  }

  #pathOf(row: BaseRow): string {
    return basePath(this.#parts.settings.path, row.ids, row.format);
  }
}

export function idsOfEvicted(decisions: readonly EvictDecision[]): string[] {
  return decisions.filter(({ decision }) => decision === 'evict').map(({ id }) => id);
}
