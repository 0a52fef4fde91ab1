// The words in which the cache says no.

import { OperatingError } from '../wire/errors.ts';
import { type PauseDecision, refusedByPause } from '../wire/pause.ts';
import { formatSource } from '../wire/source.ts';
import type { Base, SourceFacts, SourceName } from '../wire/vocabulary.ts';

const OP = 'warm';

export function noRoom(subject: string, why: string): OperatingError {
  const hint = 'Evict or unpin bases, or give the cache more room (cache.limit, cache.reserve).';
  return new OperatingError({ code: 'exhausted', op: OP, subject, why, hint });
}

export function pausedFills(
  subject: string,
  decision: PauseDecision & { readonly kind: 'refuse' },
): OperatingError {
  return new OperatingError(refusedByPause(decision, OP, subject));
}

export function restless(name: SourceName): OperatingError {
  const why = 'others filled and evicted it, or asked otherwise, time and again';
  return new OperatingError({ code: 'busy', op: OP, subject: formatSource(name), why });
}

export function unnameable({ ids, name }: SourceFacts): OperatingError {
  const why = `its ids cannot be a path: ${JSON.stringify(ids)}`;
  return new OperatingError({ code: 'refused', op: OP, subject: formatSource(name), why });
}

export function wrongFormat(name: SourceName, base: Base, asked: string): OperatingError {
  const why = `the base is a ${base.format} file, and was asked for as ${asked}`;
  const hint = `Make the overlay anew on the path that ends in .${base.format}.`;
  return new OperatingError({ code: 'mismatch', op: OP, subject: formatSource(name), why, hint });
}

/** `isOwnRecord`: any new fill would be refused for the same reason. */
export function contradicted(name: SourceName, why: string, isOwnRecord: boolean): OperatingError {
  const hint = isOwnRecord
    ? 'The base is suspect now: no domain starts on it until its source and its record agree (siphon describe).'
    : 'The base was left as it is: it equals its source.';
  const subject = formatSource(name);
  return new OperatingError({ code: 'corrupt', op: 'check', subject, why, hint });
}

export function severalBases(
  name: string,
  ids: readonly string[],
  cause?: OperatingError,
): OperatingError {
  const why = `several bases are known by this name: ${ids.join(', ')}`;
  const hint = 'Name the base by its id.';
  return new OperatingError({ code: 'refused', op: 'find base', subject: name, why, hint, cause });
}

export function noBase(base: string): OperatingError {
  const why = 'this host has no such base';
  const hint = '`siphon list` tells what is there; `siphon warm SOURCE` makes one.';
  return new OperatingError({ code: 'not-found', op: 'find base', subject: base, why, hint });
}
