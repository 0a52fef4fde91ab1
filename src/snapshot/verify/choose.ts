// Which sets are proven next: of each domain its newest, those domains first of which a set was tried the longest ago, or never. Pure.

import type { SetState } from '../../wire/api.ts';
import type { SnapshotSet } from '../../wire/vocabulary.ts';

type KeptSet = SnapshotSet & { readonly state: SetState };

export interface Choice {
  readonly decision: 'now' | 'later';
  readonly set: string;
  readonly domain: string;
  readonly why: string;
}

/** `domains`: names or UUIDs; none: all that have sets. */
export function chooseNewest(
  sets: readonly KeptSet[],
  domains: readonly string[],
  max: number,
): readonly Choice[] {
  const complete = sets.filter(({ state }) => state === 'complete');
  const byDomain = Map.groupBy(complete, ({ domainUuid }) => domainUuid);
  const candidates = [...byDomain.values()].flatMap((of) => {
    const [newest] = of.toSorted((a, b) => b.createdAtMs - a.createdAtMs || compare(b.id, a.id));
    if (newest === undefined || !isAsked(newest, domains)) return [];
    const tried = of.map(({ proof }) => proof?.atMs ?? 0);
    return { newest, triedAtMs: Math.max(...tried) };
  });
  const order = candidates.toSorted(
    (a, b) => a.triedAtMs - b.triedAtMs || compare(a.newest.domainUuid, b.newest.domainUuid),
  );
  return order.map(({ newest: { id, domainName }, triedAtMs }, index) => ({
    decision: index < max ? 'now' : 'later',
    set: id,
    domain: domainName,
    why:
      triedAtMs === 0
        ? 'no set of it was tried yet'
        : `a set of it was tried last at ${new Date(triedAtMs).toISOString()}`,
  }));
}

function isAsked({ domainName, domainUuid }: KeptSet, domains: readonly string[]): boolean {
  if (domains.length === 0) return true;
  return domains.some((each) => each === domainName || each.toLowerCase() === domainUuid);
}

const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));
