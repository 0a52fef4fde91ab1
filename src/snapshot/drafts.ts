// What is about to be taken, as the journal first hears of it: by a stop, by another event, by an operator.

import type { Take } from '../wire/evaluation.ts';
import type { Wanted } from '../wire/vocabulary.ts';
import type { EventFacts } from './evaluate.ts';
import type { Draft } from './job-data.ts';
import { WANTED_DEFAULT } from './policy-shape.ts';
import type { Release } from './ports.ts';
import { newSetId } from './set-id.ts';

export function draftOf({ reason, xml, atMs, isLate }: Release): Draft {
  return {
    setId: newSetId(atMs),
    event: 'release',
    wanted: WANTED_DEFAULT,
    ...(reason !== undefined && { reason }),
    domainXml: xml,
    atMs,
    isLate,
    attempt: 0,
  };
}

/** libvirt's `stopped` comes when the domain may have been started again. */
export function eventDraft(
  domainXml: string,
  atMs: number,
  { event, reason, lifecycle }: EventFacts,
  { wanted, policy }: Take,
): Draft {
  return {
    setId: newSetId(atMs),
    event,
    ...(reason !== undefined && { reason }),
    ...(lifecycle !== undefined && { lifecycle }),
    wanted,
    ...(policy && { policy }),
    domainXml,
    atMs,
    isLate: event === 'stopped',
    attempt: 0,
  };
}

/** What the operator says comes before what the policy for that does. */
export function manualDraft(
  domainXml: string,
  atMs: number,
  { wanted, policy }: Omit<Take, 'kind'>,
  asked: Partial<Wanted>,
): Draft {
  return {
    setId: newSetId(atMs),
    event: 'manual',
    wanted: { ...wanted, ...asked },
    ...(policy && { policy }),
    domainXml,
    atMs,
    isLate: false,
    attempt: 0,
  };
}
