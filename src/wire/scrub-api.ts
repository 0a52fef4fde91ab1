// POST /v1/scrub: are the files of bases still what was read of their sources? And are made so where they are not.

import type { WireError } from './errors.ts';
import type { FileDamage } from './scrub-protocol.ts';

/** POST /v1/scrub -> JobLine…, done with a ScrubAnswer. */
export interface ScrubRequest {
  /** These; else all, those first that were scrubbed the longest ago. */
  readonly bases?: readonly string[];
  /** Only those whose time has come (cache.scrub_every). */
  readonly isDue?: boolean;
  /** What is damaged is only told. */
  readonly isReportOnly?: boolean;
}

export interface ScrubAnswer {
  readonly bases: readonly ScrubbedBase[];
}

export const SCRUB_OUTCOMES = [
  'good',
  'mended',
  'damaged',
  /** Nothing says chunk by chunk what it must be. */
  'unchecked',
  /** It was evicted, lost or filled anew meanwhile. */
  'gone',
  /** It could not be told. */
  'failed',
] as const;
export type ScrubOutcome = (typeof SCRUB_OUTCOMES)[number];

export interface ScrubbedBase {
  readonly base: string;
  readonly name: string;
  readonly outcome: ScrubOutcome;
  /** What is damaged, or was; else why it is not good. */
  readonly why?: string;
  /** Of the disk. */
  readonly readBytes: number;
  /** Its runs of chunks are the first hundred. */
  readonly damage?: FileDamage;
  readonly mend?: MendTold;
  /** Why it was not mended, or could not be read. */
  readonly error?: WireError;
}

export interface MendTold {
  /** `refill`: all of it was read anew. */
  readonly way: 'mend' | 'refill';
  readonly whyRefill?: string;
  readonly chunks: number;
  /** Of Ceph. */
  readonly readBytes: number;
  /** The new file shares with the old what was good. */
  readonly isReflinked?: boolean;
}
