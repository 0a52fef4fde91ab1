// libvirt's lifecycle events to what a policy may name.

import { LIFECYCLE_NAMES } from '../wire/vocabulary.ts';
import type { LibvirtEvent } from '../wire/worker-protocol.ts';
import type { EventFacts } from './evaluate.ts';

type Lifecycle = Extract<LibvirtEvent, { what: 'lifecycle' }>;

/** undefined: nothing that a policy may name. The guest goes on where a domain moves: that is no start, and no stop. */
export function happenedOf(told: Lifecycle): EventFacts | undefined {
  const { event, reason = 'unknown', isMove = false } = told;
  if (isMove) return undefined;
  if (event === 'started') return { event };
  if (event === 'stopped') return { event, reason };
  const lifecycle = LIFECYCLE_NAMES.find((name) => name === event);
  return lifecycle === undefined ? undefined : { event: 'lifecycle', lifecycle };
}
