// siphon trust impact: which bases, and which domains, stand on a certificate, a key or an authority; before it is revoked, and after.

import type { BaseView, Cache, Catalogue } from '../../cache/index.ts';
import { type ProvenBase, type Reach, readNamedKeys, tokenOf } from '../../trust/index.ts';
import { OperatingError } from '../../wire/errors.ts';
import { formatSource } from '../../wire/source.ts';
import type { ImpactAnswer, ImpactBase, ImpactDomain } from '../../wire/trust-api.ts';
import type { Config } from '../config/load.ts';
import { reachNow } from './reach.ts';

export interface ImpactParts {
  readonly config: Pick<Config, 'trust'>;
  readonly cache: Pick<Cache, 'list'>;
  readonly catalogue: Pick<Catalogue, 'bases'>;
}

/** `text`: a UUID, the id of a key, or a file's name in the folder. @throws OperatingError not-found; or the folder cannot be read */
export async function impactOf(parts: ImpactParts, text: string): Promise<ImpactAnswer> {
  const { config, cache, catalogue } = parts;
  const found = tokenOf(text, await readNamedKeys(config.trust));
  if (found === undefined) throw unknown(text);
  const { token: key, known } = found;
  const { reach, isRevoked } = await reachNow(config, key);
  // From here on nothing is awaited: bases and leases are of one moment.
  const bases = cache.list().map((base): KnownBase => {
    return { ...base, signatures: catalogue.bases.get(base.id)?.signatures ?? [] };
  });
  const told = standOn(bases, reach, key);
  if (known.length === 0 && !isRevoked && told.bases.length === 0) throw unknown(text);
  return { key, isRevoked, of: known.map(({ file, what }) => ({ file, what })), ...told };
}

export type KnownBase = Pick<BaseView, 'id' | 'path' | 'state' | 'leases'> & ProvenBase;

/** `reach`: as it is with the key revoked. Pure. */
export function standOn(
  bases: readonly KnownBase[],
  reach: Reach,
  key: string,
): Pick<ImpactAnswer, 'bases' | 'domains'> {
  const hit = bases.flatMap((base) => {
    const { verification } = base;
    const proofs = verification.kind === 'verified' ? verification.by : [];
    const lost = proofs.filter((proof) => reach.dependsOn(base, proof, key));
    return lost.length === 0 ? [] : [{ base, told: impactOn(base, lost, reach) }];
  });
  return {
    bases: hit.map(({ told }) => told),
    domains: domainsOn(hit.map(({ base, told }) => ({ ...told, leases: base.leases }))),
  };
}

const OUTCOMES = { lost: 'suspect', stands: 'stands', untold: 'untold' } as const;

function impactOn(base: KnownBase, lost: ImpactBase['lost'], reach: Reach): ImpactBase {
  const { id, path, name, state, verification } = base;
  const verifiedBy = verification.kind === 'verified' ? verification.by : [];
  const outcome = OUTCOMES[reach.of(base).kind];
  return { id, path, name: formatSource(name), state, verifiedBy, lost, outcome };
}

function domainsOn(
  bases: readonly (ImpactBase & Pick<BaseView, 'leases'>)[],
): readonly ImpactDomain[] {
  const held = bases.flatMap(({ id, outcome, leases }) =>
    leases.map((lease) => ({ ...lease, id, isReached: outcome === 'suspect' })),
  );
  const byDomain = Map.groupBy(held, ({ domainUuid }) => domainUuid);
  return [...byDomain].map(([uuid, of]) => ({
    uuid,
    name: of[0]?.domainName ?? '',
    isRunning: of.some(({ kind }) => kind === 'running'),
    isDefined: of.some(({ kind }) => kind === 'defined'),
    bases: [...new Set(of.map(({ id }) => id))],
    isReached: of.some(({ isReached }) => isReached),
  }));
}

function unknown(text: string): OperatingError {
  const why =
    'no certificate, key or file of the trust folder is called that, and no base was verified by it';
  const hint = 'siphon trust list shows the UUIDs, the ids of keys, and the files.';
  return new OperatingError({ code: 'not-found', op: 'trust', subject: text, why, hint });
}
