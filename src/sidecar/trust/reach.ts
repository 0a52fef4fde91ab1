// What a revocation reaches, applied: bases that nothing trusted vouches for any more are suspect, and those of which the revocation was
// taken back are ready again. Told in the log, and in its audit.

import type { Logger } from 'pino';
import type { Cache, DoubtChange, DoubtKind } from '../../cache/index.ts';
import { createReach, type ProvenBase, type Reach, readReachFolder } from '../../trust/index.ts';
import { OperatingError } from '../../wire/errors.ts';
import { auditOwn } from '../audit.ts';
import type { Config } from '../config/load.ts';

export interface ReachParts {
  readonly config: Pick<Config, 'trust'>;
  readonly cache: Pick<Cache, 'doubt'>;
  readonly log: Logger;
}

/** The trust folder as it is now, and as it were with one more revoked. @throws OperatingError: it cannot be read, and nothing is told of any base */
export async function reachNow(
  { trust }: Pick<Config, 'trust'>,
  key?: string,
): Promise<{ readonly reach: Reach; readonly isRevoked: boolean }> {
  const found = await readReachFolder(trust);
  const isRevoked = key !== undefined && found.trust.revoked.has(key);
  const revoked = new Set([...found.trust.revoked, ...(key === undefined ? [] : [key])]);
  const facts = { ...found, trust: { ...found.trust, revoked } };
  return { reach: createReach({ ...facts, rules: trust.rules, now: Date.now() }), isRevoked };
}

/** Of what was just filled, by the folder as it is now. @throws OperatingError as {@link reachNow} */
export async function whyFallen(
  config: Pick<Config, 'trust'>,
  filled: ProvenBase,
): Promise<string | undefined> {
  if (filled.verification.kind === 'unverified') return undefined;
  const { reach } = await reachNow(config);
  const found = reach.of(filled);
  return found.kind === 'lost' ? found.why : undefined;
}

/** Looks at the folder and at all bases. @throws OperatingError as {@link reachNow}, and of the catalogue */
export async function applyReach({ config, cache, log }: ReachParts): Promise<void> {
  const { reach } = await reachNow(config);
  const changes = await cache.doubt('revoked', (row, before) => {
    const found = reach.of(row, before?.losses);
    if (found.kind !== 'lost') return found.kind === 'stands' ? 'none' : 'untold';
    return { why: found.why, losses: found.losses };
  });
  tellDoubts(log, 'revoked', changes);
}

/** Before anybody is served: what was revoked while siphond was down counts from the first start of a domain on. */
export async function applyReachAtStart(parts: ReachParts): Promise<void> {
  try {
    await applyReach(parts);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    // The look that follows tries again, as long as it takes.
    parts.log.error({ error: error.toWire() }, 'bases are not compared with the trust folder');
  }
}

const SAID: Readonly<Record<DoubtKind, string>> = {
  revoked: 'bases are suspect: what vouched for them was revoked',
  deactivated: 'bases are suspect: their images were deactivated',
};
const AGAIN = 'bases are ready again: what spoke against them was taken back';
/** Of so many bases each is named; `siphon list` has all. */
const NAMED_MAX = 50;

export function tellDoubts(log: Logger, kind: DoubtKind, changes: readonly DoubtChange[]): void {
  const groups = Map.groupBy(changes, ({ to, why = '' }) => `${to} ${why}`);
  for (const group of groups.values()) {
    const { to, why } = group[0] as DoubtChange;
    const bases = group.slice(0, NAMED_MAX).map(({ id, name }) => ({ id, name }));
    const told = { count: group.length, ...(why !== undefined && { why }), bases };
    if (to === 'suspect') log.error(told, SAID[kind]);
    else log.warn(told, AGAIN);
    auditOwn(log, to === 'suspect' ? 'doubt' : 'absolve', told);
  }
}
