// libvirt's lifecycle events to what a policy may name.

import { LIFECYCLE_NAMES, type ReleaseReason } from '../wire/vocabulary.ts';
import type { EventFacts } from './evaluate.ts';

/** virDomainEventStoppedDetailType, in its order (libvirt-domain.h). */
const STOPPED: readonly ReleaseReason[] = [
  'shutdown',
  'destroyed',
  'crashed',
  'migrated',
  'saved',
  'failed',
  'from snapshot',
];

/** undefined: nothing that a policy may name. */
export function happenedOf(event: string, detail: number): EventFacts | undefined {
  if (event === 'started') return { event };
  if (event === 'stopped') return { event, reason: STOPPED[detail] ?? 'unknown' };
  const lifecycle = LIFECYCLE_NAMES.find((name) => name === event);
  return lifecycle === undefined ? undefined : { event: 'lifecycle', lifecycle };
}
