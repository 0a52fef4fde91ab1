// What a base that is here already is to a plan of verification: good by what is recorded, wrong, or still to be computed. Pure.

import { isProof, signatureId, type VerificationPlan, whoSays } from '../wire/verification-plan.ts';
import type { Verification, VerifiedBy } from '../wire/vocabulary.ts';
import type { BaseRow } from './catalogue/bases.ts';

export type Judgement =
  /** `by`: what the plan adds to its verification. */
  | { readonly kind: 'satisfied'; readonly by: readonly VerifiedBy[] }
  | {
      readonly kind: 'contradicted';
      readonly why: string;
      /** Whose word it was: the caller's own, or the properties'. */
      readonly from: 'operator' | 'properties';
    }
  /** The source has to be read for digests that nobody computed yet. */
  | { readonly kind: 'unknown' }
  /** It was adopted: nobody knows what its bytes were compared with, so no digest of the source can speak for them. */
  | { readonly kind: 'unfounded' };

/** Compares a base's record with what a plan demands. */
export function judgeBase(
  row: Pick<BaseRow, 'digests' | 'chunkTable' | 'signatures' | 'sourceFormat'>,
  plan: VerificationPlan,
): Judgement {
  const { declaredFormat: declared, signature, manifest } = plan;
  const hasDemands = plan.digests.length > 0 || (signature ?? manifest) !== undefined;
  if (Object.keys(row.digests).length === 0 && row.chunkTable === undefined) {
    return hasDemands ? { kind: 'unfounded' } : { kind: 'satisfied', by: [] };
  }
  if (declared !== undefined && declared !== row.sourceFormat) {
    const says = whoSays(plan, 'properties');
    const why = `its bytes are ${row.sourceFormat} as read, but ${says} says disk_format ${declared}`;
    return { kind: 'contradicted', why, from: 'properties' };
  }
  let isAllKnown = true;
  const by: VerifiedBy[] = [];
  for (const { algorithm, hex, from } of plan.digests) {
    const recorded = row.digests[algorithm];
    if (recorded === undefined) isAllKnown = false;
    else if (recorded === hex) {
      if (isProof(algorithm)) by.push({ what: 'digest', algorithm, from });
    } else {
      const why = `its ${algorithm} is ${recorded} as read, but ${whoSays(plan, from)} says ${hex}`;
      return { kind: 'contradicted', why, from };
    }
  }
  if (signature !== undefined) {
    if (!row.signatures.includes(signatureId(signature))) isAllKnown = false;
    const { keyType, certificate } = signature;
    by.push({ what: 'signature', keyType, certificate });
  }
  if (manifest !== undefined) {
    const { keyId, table } = manifest;
    const recorded = row.chunkTable;
    // A table of other chunks says nothing of it.
    if (recorded?.chunkBytes !== table.chunkBytes) isAllKnown = false;
    else if (recorded.sha256 !== table.sha256) {
      const says = `its manifest (key ${keyId}) says that its chunks are of table ${table.sha256}`;
      const why = `${says}, and that is ${recorded.sha256} as read`;
      return { kind: 'contradicted', why, from: 'properties' };
    }
    by.push({ what: 'manifest', keyId });
  }
  return isAllKnown ? { kind: 'satisfied', by } : { kind: 'unknown' };
}

/** What was checked before and what is checked now, each once. */
export function mergeVerification(before: Verification, more: readonly VerifiedBy[]): Verification {
  const all = [...(before.kind === 'verified' ? before.by : []), ...more];
  if (all.length === 0) return { kind: 'unverified' };
  return {
    kind: 'verified',
    by: [...new Map(all.map((each) => [JSON.stringify(each), each])).values()],
  };
}
