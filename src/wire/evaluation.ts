// What policies decide: whether a set is to be taken at an event of a domain, and of sets that are there which stay. Each with its
// reason, as the log, the API and the command tell it.

import type { KeepCounts } from './keep.ts';
import type { Wanted } from './vocabulary.ts';

/** One policy, as it was looked at. */
export interface Considered {
  readonly policy: string;
  /** `first`: this one decides. `also`: it would have, were it not for the first. */
  readonly verdict: 'first' | 'also' | 'no';
  readonly why: string;
}

export type Evaluation = {
  readonly why: string;
  /** In their order. */
  readonly considered: readonly Considered[];
  /** Of the domain's own metadata. */
  readonly problem?: string;
} & (Take | { readonly kind: 'nothing' });

export interface Take {
  readonly kind: 'take';
  readonly wanted: Wanted;
  /** Absent: an operator asked, and no policy says how. */
  readonly policy?: KeepCounts & { readonly name: string };
}

/** Whether a set that is there stays. */
export interface Retained {
  readonly set: string;
  readonly decision: 'prune' | 'keep';
  readonly reason: string;
}
