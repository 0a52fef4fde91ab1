// Which of the hook's sets are one too many.

import type { SetState } from '../wire/api.ts';
import type { SnapshotSet } from '../wire/vocabulary.ts';

export type KeptSet = SnapshotSet & { readonly state: SetState };

export interface PruneScope {
  readonly domainUuid: string;
  readonly policy: string;
  readonly keepLast: number;
  /** The id of the set that was just taken: the newest, whatever a clock that was set back says of it. */
  readonly latest: string;
}

/** The complete sets that a policy made of a domain, less its newest `keepLast`; the oldest first. Never an operator's. */
export function setsToPrune(sets: readonly KeptSet[], scope: PruneScope): readonly KeptSet[] {
  const newestFirst = (a: SnapshotSet, b: SnapshotSet) =>
    Number(b.id === scope.latest) - Number(a.id === scope.latest) || youngerFirst(a, b);
  return sets
    .filter((set) => set.event === 'release' && set.state === 'complete')
    .filter((set) => set.domainUuid === scope.domainUuid && set.policy === scope.policy)
    .toSorted(newestFirst)
    .slice(scope.keepLast)
    .toReversed();
}

function youngerFirst(a: SnapshotSet, b: SnapshotSet): number {
  if (a.createdAtMs !== b.createdAtMs) return b.createdAtMs - a.createdAtMs;
  return a.id < b.id ? 1 : -1;
}
