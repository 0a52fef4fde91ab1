// The checks of a plan while the bytes stream: which hashes run, and what their outcome means.

import { createHash, createVerify } from 'node:crypto';
import { OperatingError } from '../wire/errors.ts';
import {
  type ExpectedSignature,
  isProof,
  type VerificationPlan,
  whoSays,
} from '../wire/verification-plan.ts';
import type {
  ChunkTableRef,
  DigestAlgorithm,
  Digests,
  Verification,
  VerifiedBy,
} from '../wire/vocabulary.ts';
import { isGoodSignature } from './signature.ts';

/** One pass of one hash over all of the source's bytes. Survives a structured clone: it may run in another thread. */
export type HashJob =
  | { readonly kind: 'digest'; readonly algorithm: DigestAlgorithm }
  | { readonly kind: 'signature'; readonly expected: ExpectedSignature };

export type HashOutcome =
  | { readonly kind: 'digest'; readonly algorithm: DigestAlgorithm; readonly hex: string }
  | { readonly kind: 'signature'; readonly isGood: boolean };

export interface Hasher {
  update(bytes: Uint8Array): void;
  /** Once, after the last byte. */
  finish(): HashOutcome;
}

/**
 * What the plan names. A base's record, of which something may be asked later, is its table of chunks: one hash over all bytes in their order
 * would be what a fill waits for. SHA-256 where the source has no table.
 */
export function hashJobs(plan: VerificationPlan, hasTable: boolean): HashJob[] {
  const algorithms = new Set<DigestAlgorithm>(plan.digests.map((one) => one.algorithm));
  if (!hasTable) algorithms.add('sha256');
  const digests = [...algorithms].map((algorithm) => ({ kind: 'digest', algorithm }) as const);
  return plan.signature === undefined
    ? digests
    : [...digests, { kind: 'signature', expected: plan.signature }];
}

/** Whether every byte, those of holes too, is compared with what somebody says it must be. */
export function checksWhole({ digests, signature, manifest }: VerificationPlan): boolean {
  return digests.length > 0 || (signature ?? manifest) !== undefined;
}

/** A signature cannot be verified from a digest by node:crypto, so it hashes for itself. */
export function openHasher(job: HashJob): Hasher {
  if (job.kind === 'digest') {
    const hash = createHash(job.algorithm);
    const { kind, algorithm } = job;
    return {
      update: (bytes) => void hash.update(bytes),
      finish: () => ({ kind, algorithm, hex: hash.digest('hex') }),
    };
  }
  const verify = createVerify(job.expected.hash);
  return {
    update: (bytes) => void verify.update(bytes),
    finish: () => ({ kind: 'signature', isGood: isGoodSignature(verify, job.expected) }),
  };
}

/**
 * What the outcomes of {@link hashJobs} say, and the table of chunks. All that the plan names must be right; what proves something makes it
 * verified.
 * @throws OperatingError `corrupt`, with what was expected and what was found.
 */
export function judge(
  plan: VerificationPlan,
  outcomes: readonly HashOutcome[],
  subject: string,
  table?: ChunkTableRef,
): Verdict {
  const digests = digestsOf(outcomes);
  const by: VerifiedBy[] = [];
  for (const { algorithm, hex, from } of plan.digests) {
    const found = digests[algorithm];
    if (found !== hex) {
      const read = `${algorithm} is ${found ?? 'not known'} as read`;
      throw corrupt(subject, `${read}, but ${whoSays(plan, from)} says ${hex}`);
    }
    if (isProof(algorithm)) by.push({ what: 'digest', algorithm, from });
  }
  if (plan.signature !== undefined) {
    const { keyType, certificate } = plan.signature;
    if (!outcomes.some((one) => one.kind === 'signature' && one.isGood)) {
      throw corrupt(
        subject,
        `its signature (${keyType}, certificate ${certificate}) is not of these bytes`,
      );
    }
    by.push({ what: 'signature', keyType, certificate });
  }
  if (plan.manifest !== undefined) {
    const { keyId, table: wanted } = plan.manifest;
    if (table?.sha256 !== wanted.sha256) {
      const read = table?.sha256 ?? 'not known';
      const says = `its manifest (key ${keyId}) says that its chunks are of table ${wanted.sha256}`;
      throw corrupt(subject, `${says}, and that is ${read} as read`);
    }
    by.push({ what: 'manifest', keyId });
  }
  return {
    digests,
    verification: by.length === 0 ? { kind: 'unverified' } : { kind: 'verified', by },
  };
}

export interface Verdict {
  readonly digests: Digests;
  readonly verification: Verification;
}

function digestsOf(outcomes: readonly HashOutcome[]): Digests {
  return Object.fromEntries(
    outcomes.flatMap((one) => (one.kind === 'digest' ? [[one.algorithm, one.hex]] : [])),
  );
}

function corrupt(subject: string, why: string): OperatingError {
  const hint =
    'Find out which side is wrong: correct what was said (siphon describe), or publish the image again. What a fill has read, siphon list --quarantined shows.';
  return new OperatingError({ code: 'corrupt', op: 'verify', subject, why, hint });
}
