// Which domain needs which base, as the hook and reconciliation tell it. Unknown use is use: where a chain could not be read to
// its end, what the domain leased before stays leased.

import { type BaseIdentity, baseId } from '../domain/base-path.ts';
import type { Lease } from '../wire/vocabulary.ts';
import type { LeaseHolder } from './catalogue/leases.ts';
import type { DiskChain } from './chain.ts';
import type { CacheParts } from './parts.ts';

export interface DefinedDomain extends LeaseHolder {
  readonly chains: readonly DiskChain[];
}

export interface Leases {
  /** A domain runs, or is about to, on these. Durable when it returns. */
  running(holder: LeaseHolder, chains: readonly DiskChain[]): void;
  endRunning(uuid: string): void;
  /** After libvirt said who runs: nobody else does. */
  retainRunning(uuids: Iterable<string>): void;
  /** One domain that is defined here, or has a managed save. */
  defined(domain: DefinedDomain): void;
  /** All of them: whoever is not among them is not defined any more. */
  setDefined(domains: readonly DefinedDomain[]): void;
  /** What a domain needs, as far as is known. */
  ofDomain(uuid: string): readonly BaseIdentity[];
}

export function createLeases({ catalogue, now }: Pick<CacheParts, 'catalogue' | 'now'>): Leases {
  const { leases, bases } = catalogue;
  const touch = (needed: readonly BaseIdentity[]) => {
    for (const { ids } of needed) {
      const id = baseId(ids);
      if (bases.get(id) !== undefined) bases.amend(id, { lastUsedAtMs: now() });
    }
  };
  const hold = (kind: Lease['kind'], holder: LeaseHolder, chains: readonly DiskChain[]) => {
    const found = chains.flatMap((chain) => chain.bases);
    const isKnown = chains.every((chain) => chain.kind === 'known');
    const needed = isKnown ? found : [...found, ...leases.ofDomain(holder.uuid)];
    return leases.replace(kind, holder, uniqueBases(needed)) ? needed : [];
  };
  const defined = (domain: DefinedDomain) => void hold('defined', domain, domain.chains);
  return {
    running: (holder, chains) => touch(hold('running', holder, chains)),
    endRunning(uuid) {
      touch(leases.ofDomain(uuid));
      leases.replace('running', { uuid, name: '' }, []);
    },
    retainRunning: (uuids) => leases.retain('running', new Set(uuids)),
    defined,
    setDefined(domains) {
      for (const domain of domains) defined(domain);
      leases.retain('defined', new Set(domains.map(({ uuid }) => uuid)));
    },
    ofDomain: (uuid) => leases.ofDomain(uuid),
  };
}

function uniqueBases(bases: readonly BaseIdentity[]): BaseIdentity[] {
  const byName = bases.map((base) => [`${baseId(base.ids)}.${base.format}`, base] as const);
  return [...new Map(byName).values()];
}
