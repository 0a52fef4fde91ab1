// Which of the hook's sets are one too many.

import type { SetState } from '../wire/api.ts';
import type { SnapshotSet } from '../wire/vocabulary.ts';

export type KeptSet = SnapshotSet & { readonly state: SetState };

/** The complete sets that a policy made of a domain, less its newest `keepLast`; the oldest first. Never an operator's. */
export function setsToPrune(
  sets: readonly KeptSet[],
  scope: { readonly domainUuid: string; readonly policy: string; readonly keepLast: number },
): readonly KeptSet[] {
  return sets
    .filter((set) => set.event === 'release' && set.state === 'complete')
    .filter((set) => set.domainUuid === scope.domainUuid && set.policy === scope.policy)
    .toSorted(newestFirst)
    .slice(scope.keepLast)
    .toReversed();
}

function newestFirst(a: SnapshotSet, b: SnapshotSet): number {
  if (a.createdAtMs !== b.createdAtMs) return b.createdAtMs - a.createdAtMs;
  return a.id < b.id ? 1 : -1;
}
