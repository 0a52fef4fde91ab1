// Imports that ended before their time: what the journal holds of them, and what becomes of them.

import { z } from 'zod';
import type { JobRecord } from '../../wire/journal.ts';

/** Of a job `import`, from the moment on at which something of it may be in Ceph. */
const Written = z.object({
  fsid: z.string(),
  pool: z.string(),
  namespace: z.string(),
  exportId: z.string(),
  setId: z.string(),
  /** An operator cancelled it. */
  isGivenUp: z.boolean(),
});
export type Written = z.infer<typeof Written>;

/** undefined: it has written nothing. */
export function readWritten(data: unknown): Written | undefined {
  return Written.safeParse(data).data;
}

/** So long an interrupted import waits to be gone on with. */
export const LEFT_MS_MAX = 24 * 3_600_000;

export type LeftDecision =
  | { readonly kind: 'end'; readonly why: string }
  /** Finish it if it is whole; `isGivenUp`: else undo it. */
  | { readonly kind: 'settle'; readonly written: Written; readonly isGivenUp: boolean };

/** What to do with an open job that nobody works on. */
export function decideLeft(
  { data, updatedAtMs }: Pick<JobRecord, 'data' | 'updatedAtMs'>,
  nowMs: number,
): LeftDecision {
  const written = readWritten(data);
  if (written === undefined) return { kind: 'end', why: 'it ended before anything was written' };
  const isGivenUp = written.isGivenUp || nowMs - updatedAtMs > LEFT_MS_MAX;
  return { kind: 'settle', written, isGivenUp };
}

/** Whether both write the same export into the same place. */
export function isSameImport(a: Written, b: Written): boolean {
  const [one, other] = [a, b].map(({ fsid, pool, namespace, exportId }) => {
    return [fsid, pool, namespace, exportId].join(' ');
  });
  return one === other;
}
