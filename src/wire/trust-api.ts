// What siphond says of trust: how its bases stand to the rules, and what is wrong in the trust folder.

export interface TrustStanding {
  /** Bases that nothing verified. */
  readonly unverified: number;
  /** Of these, those of which no rule says that they may be so. */
  readonly unstated: number;
  /** Bases that a rule would refuse now: by the rule, from 1. */
  readonly refused: readonly { readonly rule: number; readonly bases: number }[];
  /** Of the trust folder: a CRL that is overdue, a file that is not what it should be. */
  readonly problems: readonly { readonly where: string; readonly what: string }[];
}
