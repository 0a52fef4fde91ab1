// siphon trust impact KEY: what stands on a certificate, a key or an authority; also what `siphon trust revoke` tells that it reached.

import { OperatingError } from '../../wire/errors.ts';
import type { ImpactAnswer, ImpactBase, ImpactDomain } from '../../wire/trust-api.ts';
import type { VerifiedBy } from '../../wire/vocabulary.ts';
import { createClient } from '../client.ts';
import { print, printJson, sheet, table } from '../output.ts';

/** @throws OperatingError not-found; unavailable, denied: siphond does not tell */
export async function impact(key: string, { json }: { readonly json?: true }): Promise<void> {
  const answer = await askImpact(key);
  if (json) printJson(answer);
  else print(impactText(answer));
}

const askImpact = (key: string): Promise<ImpactAnswer> =>
  createClient().get<ImpactAnswer>('/v1/trust/impact', { key });

/** Where siphond does not answer, why: what was revoked is revoked all the same. */
export async function impactOrWhy(
  key: string,
): Promise<{ readonly impact: ImpactAnswer } | { readonly why: string }> {
  try {
    return { impact: await askImpact(key) };
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { why: error.message };
  }
}

export function impactText(answer: ImpactAnswer): string {
  const { key, isRevoked, of, bases, domains } = answer;
  return [
    sheet([
      ['key', key],
      ...of.map(({ file, what }) => ['of', `${what} (${file})`] as const),
      ['revoked', isRevoked ? 'yes' : 'no: this is what would be reached'],
      ['reaches', reachText(answer)],
    ]),
    ...(bases.length === 0 ? [] : [table(BASE_COLUMNS, bases.map(baseRow))]),
    ...(domains.length === 0 ? [] : [table(DOMAIN_COLUMNS, domains.map(domainRow))]),
  ].join('\n\n');
}

/** In one line. */
export function reachText({ bases, domains }: ImpactAnswer): string {
  const fallen = bases.filter(({ outcome }) => outcome === 'suspect').length;
  const beside = fallen === bases.length ? '' : ` of ${bases.length} that were verified by it`;
  const reached = domains.filter(({ isReached }) => isReached);
  const running = reached.filter(({ isRunning }) => isRunning).length;
  return `${counted(fallen, 'base')}${beside}, and ${counted(reached.length, 'domain')}, of which ${running} run`;
}

const counted = (count: number, what: string): string =>
  `${count} ${what}${count === 1 ? '' : 's'}`;

const OUTCOMES: Readonly<Record<ImpactBase['outcome'], string>> = {
  suspect: 'suspect',
  stands: 'stays: something else vouches',
  untold: 'stays: cannot be told',
};

const BASE_COLUMNS = [
  { head: 'SOURCE' },
  { head: 'STATE' },
  { head: 'REVOKED, IT IS' },
  { head: 'VERIFIED BY', drop: 2, isCut: true },
  { head: 'PATH', drop: 1 },
];
const DOMAIN_COLUMNS = [
  { head: 'DOMAIN' },
  { head: 'UUID', drop: 2 },
  { head: 'RUNS' },
  { head: 'DEFINED' },
  { head: 'BASES' },
  { head: 'REACHED' },
];

const baseRow = ({ name, state, outcome, verifiedBy, path }: ImpactBase): string[] => [
  name,
  state,
  OUTCOMES[outcome],
  verifiedBy.map(proofText).join(', '),
  path,
];

const domainRow = (each: ImpactDomain): string[] => [
  each.name,
  each.uuid,
  yesOrNo(each.isRunning),
  yesOrNo(each.isDefined),
  String(each.bases.length),
  yesOrNo(each.isReached),
];

const yesOrNo = (is: boolean): string => (is ? 'yes' : 'no');

function proofText(by: VerifiedBy): string {
  if (by.what === 'manifest') return `manifest ${by.keyId}`;
  if (by.what === 'signature') return `signature ${by.certificate}`;
  return `${by.algorithm} (${by.from})`;
}
