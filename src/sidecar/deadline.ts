// Ends of waiting that are told as what they are.

import { OperatingError, type OperatingErrorFields } from '../wire/errors.ts';

/** Aborted with `unavailable` after so many ms, or with the other signal's reason before. Dispose frees its timer. */
export function deadline(
  ms: number,
  work: Pick<OperatingErrorFields, 'op' | 'subject'>,
  ...others: readonly AbortSignal[]
): { readonly signal: AbortSignal } & Disposable {
  const late = new AbortController();
  const error = new OperatingError({ ...work, code: 'unavailable', why: `no answer in ${ms} ms` });
  const timer = setTimeout(() => late.abort(error), ms);
  return {
    signal: AbortSignal.any([late.signal, ...others]),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

/** The promise's outcome, or a rejection with the signal's reason; what is left behind must end by itself. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
