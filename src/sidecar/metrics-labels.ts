// Ended jobs to the labels under which they are counted: pure. What the journal keeps of a job says all of it.

import type { EvictData, FillData } from '../cache/index.ts';
import { HOOK_OPERATIONS } from '../hook/events.ts';
import type { WireError } from '../wire/errors.ts';
import type { JobRecord } from '../wire/journal.ts';
import type { ScrubAnswer } from '../wire/scrub-api.ts';
import type { Proof } from '../wire/verify-api.ts';
import { RELEASE_REASONS, SET_EVENTS } from '../wire/vocabulary.ts';

export const RESULTS = ['done', 'failed', 'cancelled'] as const;
export const FILL_WAYS = ['fill', 'check'] as const;
export const ASKERS = ['hook', 'operator', 'unknown'] as const;
export const EVICT_REASONS = ['asked', 'limit', 'room'] as const;
export const VERIFY_FAILURES = ['digest', 'signature', 'manifest', 'record', 'source'] as const;
export const SET_RESULTS = [...RESULTS, 'skipped'] as const;
export const SET_REASONS = [
  ...SET_EVENTS.filter((event) => event !== 'release'),
  ...RELEASE_REASONS,
] as const;

export const PROOF_RESULTS = ['proven', 'unproven', 'failed', 'cancelled'] as const;

/** `way`: read into a base, or read to check one that is here. `asked_by` of a check is not kept. */
export function fillLabels({ state, data }: JobRecord) {
  const { what, ask } = data as Partial<FillData>;
  return {
    result: state,
    way: what === 'fill' ? 'fill' : 'check',
    asked_by: ask?.priority ?? 'unknown',
  } as const;
}

/** What about the bytes was not as it must be; undefined: the failure was another one. */
export function verifyFailureOf(
  error: WireError | undefined,
): (typeof VERIFY_FAILURES)[number] | undefined {
  if (error?.code !== 'corrupt') return undefined;
  if (error.op === 'check') return 'record';
  if (error.op !== 'verify') return 'source';
  if (error.why?.startsWith('its manifest')) return 'manifest';
  return error.why?.startsWith('its signature') ? 'signature' : 'digest';
}

export function evictionOf({ data, result }: JobRecord) {
  const { evicted = [] } = (result ?? {}) as { readonly evicted?: readonly string[] };
  const { reason = 'limit' } = data as Partial<EvictData>;
  return { reason, bases: evicted.length };
}

/** What the bases of a scrub came to. */
export function scrubbedOf({ result }: JobRecord) {
  const { bases = [] } = (result ?? {}) as Partial<ScrubAnswer>;
  const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);
  return {
    outcomes: bases.map(({ outcome }) => outcome),
    readBytes: sum(bases.map(({ readBytes }) => readBytes)),
    damaged: sum(bases.map(({ damage }) => damage?.chunkCount ?? 0)),
    mended: sum(bases.map(({ mend }) => (mend?.way === 'mend' ? mend.chunks : 0))),
  };
}

interface DraftFacts {
  readonly event?: string;
  readonly reason?: string;
}

/** `reason`: libvirt's for the domain's stop, or the other event. A set that was decided against is `skipped`. */
export function setLabels({ state, data, error }: JobRecord) {
  const { draft } = data as { readonly draft?: DraftFacts };
  const isSkipped = error?.code === 'refused' && error.why?.startsWith('skipped: ') === true;
  return {
    result: isSkipped ? 'skipped' : state,
    reason: reasonOf(draft).replace(' ', '_'),
  };
}

function reasonOf({ event = 'release', reason = 'unknown' }: DraftFacts = {}): string {
  return event === 'release' ? reason : event;
}

/** Whatever else a caller of the hook's socket names is one series. */
export function hookOperation(operation: string): string {
  return HOOK_OPERATIONS.find((each) => each === operation) ?? 'other';
}

/** `failed`: it could not be tried. */
export function proofResult({ state, result }: JobRecord): (typeof PROOF_RESULTS)[number] {
  if (state !== 'done') return state === 'cancelled' ? 'cancelled' : 'failed';
  return (result as Partial<Proof> | undefined)?.isProven === true ? 'proven' : 'unproven';
}
