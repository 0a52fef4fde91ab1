// Why a base is suspect: its bytes are not what they must be; or they are as they were, and nothing that is trusted vouches for them any
// more, which may come right without a fill. Kept in the one text of its row. Pure.

import type { ProofLoss } from '../wire/trust-api.ts';
import type { Suspicion } from '../wire/vocabulary.ts';

/** What speaks against a base of which the bytes are good. Each is found, and withdrawn, by itself. */
export interface Doubts {
  readonly revoked?: { readonly why: string; readonly losses: readonly ProofLoss[] };
  /** Its image, in the record beside it. */
  readonly deactivated?: { readonly why: string };
}
export type DoubtKind = keyof Doubts;
/** `none`: nothing speaks against it. `untold`: that could not be told. */
export type FoundDoubt<K extends DoubtKind> = NonNullable<Doubts[K]> | 'none' | 'untold';
export const DOUBT_KINDS: readonly DoubtKind[] = ['revoked', 'deactivated'];

/** No other problem's text begins so. */
const PREFIX = '{"doubts":';

export function problemOf(doubts: Doubts): string {
  return JSON.stringify({ doubts });
}

/** undefined: it is of its bytes. */
export function doubtsOf(problem: string | undefined): Doubts | undefined {
  if (problem?.startsWith(PREFIX) !== true) return undefined;
  return (JSON.parse(problem) as { doubts: Doubts }).doubts;
}

export function suspicionOf(problem: string | undefined): Suspicion {
  const doubts = doubtsOf(problem);
  if (doubts === undefined) return { of: 'bytes', why: problem ?? 'it could not be told why' };
  const told = DOUBT_KINDS.flatMap((of) => {
    const why = doubts[of]?.why;
    return why === undefined ? [] : [{ of, why }];
  });
  return { of: told[0]?.of ?? 'revoked', why: told.map(({ why }) => why).join('; ') };
}

interface AtRest {
  readonly state: string;
  readonly problem?: string | undefined;
  readonly isFileInDoubt?: true | undefined;
}

/**
 * What of a row changes when its file is in doubt, and why; undefined: it is suspect for what is said of its source, which no look at the file
 * settles. Doubts stay: they are withdrawn by themselves.
 */
export function fileDoubt(
  { state, problem, isFileInDoubt }: AtRest,
  why: string,
): { readonly problem: string; readonly isFileInDoubt: true } | undefined {
  const doubts = state === 'suspect' ? doubtsOf(problem) : undefined;
  if (doubts !== undefined) return { problem: problemOf(doubts), isFileInDoubt: true };
  const isOurs = state === 'ready' || (state === 'suspect' && isFileInDoubt === true);
  return isOurs ? { problem: why, isFileInDoubt: true } : undefined;
}

export type DoubtStep =
  | { readonly kind: 'stay' }
  /** It becomes suspect, or is so for other reasons. */
  | { readonly kind: 'doubt'; readonly doubts: Doubts }
  /** Nothing speaks against it any more. */
  | { readonly kind: 'absolve' };

/** What follows for a base at rest from what is found of one kind; `untold`: what was found before holds. */
export function decideDoubt<K extends DoubtKind>(
  row: { readonly state: string; readonly problem?: string | undefined },
  kind: K,
  found: FoundDoubt<K>,
): DoubtStep {
  const stay = { kind: 'stay' } as const;
  const before = row.state === 'suspect' ? doubtsOf(row.problem) : {};
  // What is wrong with its bytes is not told again, nor forgotten.
  const isOurs = (row.state === 'ready' || row.state === 'suspect') && before !== undefined;
  if (!isOurs || found === 'untold') return stay;
  const { [kind]: was, ...others } = before;
  if (found === 'none') {
    if (was === undefined) return stay;
    const isLast = Object.keys(others).length === 0;
    return isLast ? { kind: 'absolve' } : { kind: 'doubt', doubts: others };
  }
  if (JSON.stringify(was) === JSON.stringify(found)) return stay;
  return { kind: 'doubt', doubts: { ...others, [kind]: found } };
}
