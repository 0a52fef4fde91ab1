// Which bases go, which stay, and why. Pure: evict-run.ts looks again before it removes anything.

import type { Base } from '../wire/vocabulary.ts';

/** `unknown`: it could not be told, which counts as open. */
export type OpenState = 'closed' | 'open' | 'unknown';

/** Whether an overlay on this host leans on a base. `unknown` counts as if it did. */
export type OverlayState =
  | { readonly kind: 'none' }
  | { readonly kind: 'refers'; readonly path: string }
  | { readonly kind: 'unknown'; readonly why: string };

export type EvictFacts = Pick<
  Base,
  'id' | 'state' | 'isPinned' | 'leases' | 'allocatedBytes' | 'lastUsedAtMs'
> & { readonly open: OpenState; readonly overlay: OverlayState };

export interface EvictDecision {
  readonly id: string;
  readonly allocatedBytes: number;
  readonly decision: 'evict' | 'keep';
  readonly reason: string;
}

export type EvictWish =
  | { readonly kind: 'named'; readonly ids: ReadonlySet<string> }
  /** As many as it takes to regain so many bytes; 0 or less: none. */
  | { readonly kind: 'regain'; readonly bytes: number };

/** Decides on every base for `regain`, on the named ones for `named`; in the order in which they would go. */
export function planEviction(bases: readonly EvictFacts[], wish: EvictWish): EvictDecision[] {
  const concerned = wish.kind === 'named' ? bases.filter(({ id }) => wish.ids.has(id)) : bases;
  let missing = wish.kind === 'named' ? Number.POSITIVE_INFINITY : wish.bytes;
  return concerned.toSorted(byUselessness).map((base) => {
    const { id, allocatedBytes } = base;
    const held = reasonToKeep(base);
    if (held !== null) return { id, allocatedBytes, decision: 'keep', reason: held };
    if (missing <= 0)
      return { id, allocatedBytes, decision: 'keep', reason: 'there is room for it' };
    missing -= allocatedBytes;
    return { id, allocatedBytes, decision: 'evict', reason: reasonToEvict(base, wish) };
  });
}

/** Why this base must stay, whoever wants it gone; null: it may go. */
export function reasonToKeep(base: EvictFacts): string | null {
  if (base.state === 'filling') return 'it is being filled';
  if (base.state === 'evicting') return 'it is being evicted already';
  if (base.isPinned) return 'it is pinned';
  const lease = base.leases[0];
  if (lease !== undefined) {
    const others = base.leases.length > 1 ? ` and ${base.leases.length - 1} more` : '';
    return `the ${lease.kind} domain ${lease.domainName} needs it${others}`;
  }
  if (base.open === 'open') return 'a process has it open';
  if (base.open === 'unknown') return 'it could not be told whether a process has it open';
  if (base.overlay.kind === 'refers') return `the overlay ${base.overlay.path} refers to it`;
  if (base.overlay.kind === 'unknown')
    return `it could not be told whether an overlay refers to it: ${base.overlay.why}`;
  return null;
}

function reasonToEvict(base: EvictFacts, wish: EvictWish): string {
  if (wish.kind === 'named') return 'it was asked for';
  return base.state === 'suspect' ? 'it is suspect' : 'it is the least recently used';
}

/** A suspect base is of no use to anybody; then the least recently used. */
function byUselessness(a: EvictFacts, b: EvictFacts): number {
  const suspicion = Number(b.state === 'suspect') - Number(a.state === 'suspect');
  return suspicion || a.lastUsedAtMs - b.lastUsedAtMs || (a.id < b.id ? -1 : 1);
}
