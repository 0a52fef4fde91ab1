// What the room of proofs needs of the rest.

import type { SetCatalogue } from '../../wire/ports.ts';
import type { Proof, ProofLevel } from '../../wire/verify-api.ts';
import type { SnapshotParts } from '../ports.ts';
import type { RestoreParts } from '../restore/ports.ts';

export interface VerifyLimits {
  readonly memoryBytesMax: number;
  readonly vcpusMax: number;
  /** For the agent's first answer. */
  readonly bootMs: number;
  /** What counts as proven. */
  readonly level: ProofLevel;
}

export interface ProofParts
  extends Pick<
      SnapshotParts,
      'journal' | 'byFsid' | 'libvirt' | 'limits' | 'log' | 'now' | 'wait' | 'onDefect'
    >,
    Pick<RestoreParts, 'nvram'> {
  readonly drawUuid: () => string;
  readonly catalogue: Pick<SetCatalogue, 'get' | 'list'>;
  /** As an operator has them now. */
  readonly verify: () => VerifyLimits;
  /** Memory that the host can give now. */
  readonly freeBytes: () => number;
  /** Whether it has control groups that share processors. */
  readonly hasShares: () => boolean;
  /** Keeps it with the set, in Ceph and here. @throws OperatingError not-found, busy, unavailable */
  readonly record: (setId: string, proof: Proof) => Promise<void>;
}
