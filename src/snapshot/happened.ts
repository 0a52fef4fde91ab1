// libvirt's lifecycle events to what a policy may name.

import { LIFECYCLE_NAMES } from '../wire/vocabulary.ts';
import type { LibvirtEvent } from '../wire/worker-protocol.ts';
import type { EventFacts } from './evaluate.ts';

type Lifecycle = Extract<LibvirtEvent, { what: 'lifecycle' }>;

/** undefined: nothing that a policy may name. */
export function happenedOf({ event, reason = 'unknown' }: Lifecycle): EventFacts | undefined {
  if (event === 'started') return { event };
  if (event === 'stopped') return { event, reason };
  const lifecycle = LIFECYCLE_NAMES.find((name) => name === event);
  return lifecycle === undefined ? undefined : { event: 'lifecycle', lifecycle };
}
