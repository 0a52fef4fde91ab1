// What siphond's parts tell of what happened, for the metrics. Whatever can be read at a scrape is not told here.

import type { JobRecord } from '../wire/journal.ts';

export type HookVerdict = 'allow' | 'refuse' | 'none';

export interface Counts {
  /** A job ended for good. `readBytes`: what it read from Ceph. */
  readonly jobEnded: (record: JobRecord, readBytes: number) => void;
  /** `none`: no verdict came, and the hook spools its call. */
  hookAnswered(operation: string, verdict: HookVerdict, seconds: number): void;
  /** A base that was here already served a request or a domain's start. */
  baseHeld(allocatedBytes: number): void;
  /** The commit that so many guests were held for. */
  commitMissed(guests: number): void;
  /** A guest was let go after so long, in ms. */
  guestHeld(ms: number): void;
}
