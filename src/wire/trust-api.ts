// What is said of trust: how siphond's bases stand to the rules, and what the trust folder holds (`siphon trust`).

import type { VerifiedBy } from './vocabulary.ts';

export interface TrustStanding {
  /** Bases that nothing verified. */
  readonly unverified: number;
  /** Of these, those of which no rule says that they may be so. */
  readonly unstated: number;
  /** Bases that a rule would refuse now: by the rule, from 1. */
  readonly refused: readonly { readonly rule: number; readonly bases: number }[];
  /** Of the trust folder: a CRL that is overdue, a file that is not what it should be. */
  readonly problems: readonly TrustProblem[];
}

/** A proof of a base that counts no more. */
export interface ProofLoss {
  readonly proof: VerifiedBy;
  readonly why: string;
  /** What is in `revoked/`: a UUID, or the id of a key. Absent: a CRL has it. */
  readonly by?: string;
  /** Of an issuer, or by one: only a chain tells of it. */
  readonly isByChain: boolean;
}

export interface TrustProblem {
  readonly where: string;
  readonly what: string;
}

/** What each rule wants, in words, in their order. */
export interface TrustRuleText {
  readonly about: string;
  readonly wants: string;
}

export interface TrustCertificate {
  readonly file: string;
  /** Of one that may sign images; absent: it only stands between, or is an anchor. */
  readonly uuid?: string;
  readonly subject: string;
  readonly issuer: string;
  /** `ec secp384r1`, `rsa 3072` */
  readonly key: string;
  /** SHA-256 of the public key (SPKI), lower-case hex. */
  readonly keyId: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** Of one with a UUID: the chain to its anchor, by subjects, or why there is none. */
  readonly verdict?:
    | { readonly isTrusted: true; readonly chain: readonly string[] }
    | { readonly isTrusted: false; readonly why: string };
}

export interface TrustCrl {
  readonly file: string;
  readonly issuer: string;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs?: number;
  readonly isOverdue: boolean;
  readonly revoked: number;
}

/** `siphon trust list` */
export interface TrustAnswer {
  readonly folder: string;
  /** Whether a certificate counts only by a chain to an anchor. */
  readonly isChainNeeded: boolean;
  readonly rules: readonly TrustRuleText[];
  readonly certificates: readonly TrustCertificate[];
  readonly anchors: readonly TrustCertificate[];
  readonly crls: readonly TrustCrl[];
  /** Certificates' UUIDs and ids of keys. */
  readonly revoked: readonly string[];
  readonly problems: readonly TrustProblem[];
}

/** `siphon trust add`, `siphon trust revoke` */
export interface TrustChange {
  /** The file that was written, or was there already. */
  readonly file: string;
  readonly wasThere: boolean;
  /** What it is, in one line, and what else there is to know. */
  readonly what: string;
  readonly notes: readonly string[];
}
