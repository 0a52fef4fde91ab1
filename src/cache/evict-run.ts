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
  type OverlayState,
  planEviction,
  reasonToKeep,
} from './evict.ts';
import { removeFile } from './files.ts';
import { type LockedFiles, openStateOf, parseLocks } from './open-files.ts';
import type { OverlayLook, Overlays } from './overlays.ts';
import type { CacheParts } from './parts.ts';
import { viewOf } from './view.ts';

/** Why bases go: they were named; the cache is over its limits; a fill of `subject` needs their room. */
export type EvictCause =
  | { readonly reason: 'asked' | 'limit' }
  | { readonly reason: 'room'; readonly subject: string };

/** What the journal keeps of an eviction. */
export interface EvictData {
  readonly bases: readonly string[];
  readonly reason: EvictCause['reason'];
}

export class Evictor {
  readonly #parts: CacheParts;
  readonly #overlays: Pick<Overlays, 'look'>;
  readonly #running = new Map<string, Promise<void>>();
  /** Bases that are about to be filled, though their rows do not say so yet: they stay. */
  readonly claimed = new Set<string>();

  constructor(parts: CacheParts, overlays: Pick<Overlays, 'look'>) {
    this.#parts = parts;
    this.#overlays = overlays;
  }

  /** What would go and what would stay, at the moment at which it resolves. */
  async plan(wish: EvictWish): Promise<EvictDecision[]> {
    const look = await this.#overlays.look();
    const locks = this.#locks();
    const facts = this.#parts.catalogue.bases.all().map((row) => this.#factsOf(row, locks, look));
    return planEviction(facts, wish);
  }

  /** Carries out a plan; what can no longer go is kept, with the reason. */
  async run(decisions: readonly EvictDecision[], cause: EvictCause): Promise<EvictDecision[]> {
    const planned = decisions.filter(({ decision }) => decision === 'evict');
    if (planned.length === 0) return [...decisions];
    const data: EvictData = { bases: planned.map(({ id }) => id), reason: cause.reason };
    const subject = `${planned.length} bases: ${causeText(cause)}`;
    const job = this.#parts.journal.begin('evict', subject, data);
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

  /** null: it is gone; else why it was kept. From the look to the removal nothing else can happen to the base. */
  async #evict(id: string, signal: AbortSignal): Promise<string | null> {
    const { bases } = this.#parts.catalogue;
    const look = await this.#overlays.look();
    if (signal.aborted) return 'the eviction was cancelled';
    const row = bases.get(id);
    if (row === undefined) return 'it is gone already';
    const held = reasonToKeep(this.#factsOf(row, this.#locks(), look));
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

  #factsOf(row: BaseRow, locks: LockedFiles | null, look: OverlayLook): EvictFacts {
    const state = this.claimed.has(row.id) ? 'filling' : row.state;
    const open = this.#openState(row, locks);
    return {
      ...viewOf(this.#parts.catalogue, row),
      state,
      open,
      overlay: overlayStateOf(row, look),
    };
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

function overlayStateOf({ id }: BaseRow, { byBase, unknown }: OverlayLook): OverlayState {
  const path = byBase.get(id);
  if (path !== undefined) return { kind: 'refers', path };
  return unknown === undefined ? { kind: 'none' } : { kind: 'unknown', why: unknown };
}

function causeText(cause: EvictCause): string {
  if (cause.reason === 'room') return `room for ${cause.subject}`;
  return cause.reason === 'asked' ? 'asked for' : 'to the limit';
}

export function idsOfEvicted(decisions: readonly EvictDecision[]): string[] {
  return decisions.filter(({ decision }) => decision === 'evict').map(({ id }) => id);
}
