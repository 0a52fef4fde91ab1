// What is said of trust: how siphond's bases stand to the rules, and what the trust folder holds (`siphon trust`).

import type { BaseState, VerifiedBy } from './vocabulary.ts';

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

/** A key of manifests. */
export interface TrustManifestKey {
  readonly file: string;
  readonly keyId: string;
  /** `ed25519`, `ec prime256v1` */
  readonly key: string;
  readonly isRevoked: boolean;
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
  readonly manifestKeys: readonly TrustManifestKey[];
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

/** GET /v1/trust/impact?key=KEY: what stands on a certificate, a key or an authority. Each base and each domain once. */
export interface ImpactAnswer {
  /** As it is, or would be, in `revoked/`: a UUID, or the id of a key. */
  readonly key: string;
  readonly isRevoked: boolean;
  /** What in the trust folder is meant by it; none: only bases tell of it. */
  readonly of: readonly { readonly file: string; readonly what: string }[];
  readonly bases: readonly ImpactBase[];
  /** Those that run on one of these bases, or are defined so. */
  readonly domains: readonly ImpactDomain[];
}

export interface ImpactBase {
  readonly id: string;
  readonly path: string;
  readonly name: string;
  readonly state: BaseState;
  /** All that it was verified by, and what of that goes with the key. */
  readonly verifiedBy: readonly VerifiedBy[];
  readonly lost: readonly VerifiedBy[];
  /** With the key revoked: suspect; or held by something else; or that cannot be told. */
  readonly outcome: 'suspect' | 'stands' | 'untold';
}

export interface ImpactDomain {
  readonly uuid: string;
  readonly name: string;
  readonly isRunning: boolean;
  readonly isDefined: boolean;
  /** Ids. */
  readonly bases: readonly string[];
  /** One of them is, or would be, suspect by the key. */
  readonly isReached: boolean;
}
