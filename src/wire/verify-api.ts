// Proven restores: what was seen of a set whose disks were booted in a domain of their own, and the API that asks for it.

import type { WireError } from './errors.ts';

/** `agent`: it boots, and its agent answers with filesystems mounted. `checked`: copies of them mount read-only, and their checks find nothing. */
export const PROOF_LEVELS = ['agent', 'checked'] as const;
export type ProofLevel = (typeof PROOF_LEVELS)[number];

/** One that the guest has mounted, as its agent tells. */
export interface SeenFilesystem {
  readonly mountpoint: string;
  /** The guest's name of it: `vda1`, `dm-0`. */
  readonly device: string;
  readonly type: string;
  /** Targets of the disks that it lies on; empty where libvirt could not tell. */
  readonly disks: readonly string[];
}

/** One that was found on a second clone of a disk. */
export interface CheckedFilesystem {
  /** The disk, by its target in the set. */
  readonly target: string;
  /** The partition, by its number; absent: the whole disk. */
  readonly partition?: number;
  /** As blkid names it. */
  readonly type: string;
  /** `mounts`: it has no check, or needs none. `unchecked`: it was not looked into. */
  readonly result: 'clean' | 'mounts' | 'damaged' | 'unchecked';
  readonly why?: string;
}

/** What came of the last try to prove that a set can be restored. */
export interface Proof {
  readonly atMs: number;
  readonly isProven: boolean;
  /** What was wanted (`verify.level`). */
  readonly wanted: ProofLevel;
  /** What was reached, if anything. */
  readonly level?: ProofLevel;
  /** Why it is not proven. */
  readonly why?: string;
  /** Why no more than `agent` was reached. */
  readonly whyNotChecked?: string;
  /** From its start until its agent answered. */
  readonly bootMs?: number;
  readonly os?: string;
  /** The agent's version. */
  readonly agent?: string;
  readonly filesystems: readonly SeenFilesystem[];
  readonly checks: readonly CheckedFilesystem[];
}

/** POST /v1/proofs -> JobLine… of the first, done with a ProofsAnswer. */
export type ProofRequest =
  | { readonly set: string }
  /** The newest set of each domain, of all or of these; of no more than `max`. */
  | { readonly newest: { readonly domains: readonly string[]; readonly max: number } };

interface OfSet {
  readonly set: string;
  readonly domain: string;
}

export interface ProofsAnswer {
  readonly proofs: readonly (OfSet & { readonly proof: Proof })[];
  /** Of which nothing can be said: it could not be tried. */
  readonly failed: readonly (OfSet & { readonly error: WireError })[];
  /** Their turn is later. */
  readonly later: readonly (OfSet & { readonly why: string })[];
}
