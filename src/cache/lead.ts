// One piece of work on a base, and what those who ask for the base share of it.

import type { Job, JobProgress } from '../wire/journal.ts';
import type { MendTold } from '../wire/scrub-api.ts';
import type { Base } from '../wire/vocabulary.ts';
import type { Want, WarmAsk } from './fill-work.ts';
import type { SpacePromise } from './room.ts';

/** A fill or a mend (or a check of a base that is here) that waits or runs; all who ask for its base share it. */
export class Lead implements SpacePromise {
  readonly want: Want;
  readonly mode: 'fill' | 'check' | 'mend';
  readonly demand: string;
  readonly admitted = Promise.withResolvers<Job>();
  readonly done = Promise.withResolvers<Base>();
  priority: WarmAsk['priority'];
  job: Job | undefined;
  progress: JobProgress | undefined;
  promisedBytes = 0;
  writtenBytes = 0;
  mended: MendTold | undefined;

  constructor(want: Want, mode: Lead['mode']) {
    this.want = want;
    this.mode = mode;
    this.demand = demandOf(want);
    this.priority = want.ask.priority;
  }
}

/** What makes two asks for one base different. A table is large, and its digest says it all. */
export function demandOf({ plan, ask }: Want): string {
  const { manifest, ...rest } = plan;
  const by = manifest && [manifest.keyId, manifest.table.sha256];
  return JSON.stringify([rest, by ?? null, ask.format ?? null, ask.again ?? false]);
}
