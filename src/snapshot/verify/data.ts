// What the journal keeps of a proof: enough to leave nothing of it behind.

import { z } from 'zod';
import type { WireError } from '../../wire/errors.ts';
import type { Proof, ProofLevel } from '../../wire/verify-api.ts';
import type { PlannedDisk, RestorePlan } from '../restore/data.ts';

export interface ProofPlan {
  readonly id: string;
  readonly setId: string;
  readonly fsid: string;
  readonly domain: NonNullable<RestorePlan['domain']> & { readonly hasNvram: boolean };
  /** It boots from clones of these; they keep their marked names. */
  readonly disks: readonly PlannedDisk[];
  /** Further clones, to look into. */
  readonly checks: readonly (PlannedDisk & {
    /** For the running guest. */
    readonly xml: string;
    /** In the set. */
    readonly of: string;
  })[];
  readonly wanted: ProofLevel;
  readonly bootMs: number;
}

/** Of a job `verify-restore`. Absent `plan`: nothing was begun. */
export interface ProofData {
  readonly setId: string;
  readonly plan?: ProofPlan;
  /** Who makes the clones, as Ceph prints it. */
  readonly client?: string;
  /** What came of it, or why nothing did: all is being removed. */
  readonly proof?: Proof;
  readonly error?: WireError;
}

const Text = z.string().min(1);
const Disks = z.array(z.looseObject({ target: Text, to: z.looseObject({ image: Text }) }));
const Plan = z.looseObject({
  id: Text,
  fsid: Text,
  domain: z.looseObject({ uuid: Text }),
  disks: Disks,
  checks: Disks,
});
const Data = z.looseObject({ setId: Text, plan: Plan.optional() });

/** A journal's data, or null: another version of siphon wrote it. */
export function readProofData(data: unknown): ProofData | null {
  return Data.safeParse(data).success ? (data as ProofData) : null;
}
