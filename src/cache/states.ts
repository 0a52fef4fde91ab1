// The states of a base and what may happen in each: the one table. `absent` is a base without a row in the catalogue.

import type { BaseState } from '../wire/vocabulary.ts';

export type StateOrAbsent = BaseState | 'absent';

export type BaseEvent =
  /** A fill has its space and begins. */
  | 'reserve'
  /** Its file stands complete under the base's name. */
  | 'published'
  /** The fill left nothing. */
  | 'failed'
  /** The refill of a suspect base left the old file. */
  | 'refill-failed'
  /** A complete file was found that no row tells of. */
  | 'adopted'
  /** The file is not what it was, or its source is not what it must be. */
  | 'damaged'
  /** Nothing that is trusted vouches for it any more; that is so no longer. Its bytes are as they were. */
  | 'doubted'
  | 'absolved'
  /** Its file, which was in doubt, is what was read of its source. */
  | 'sound'
  /** The file is gone, and not by siphon. */
  | 'lost'
  | 'evict-begun'
  | 'evicted'
  /** The eviction left the file of a base that was ready, or that was suspect. */
  | 'kept'
  | 'kept-suspect';

export type Transition =
  | { readonly kind: 'to'; readonly state: StateOrAbsent }
  | { readonly kind: 'refused'; readonly reason: string };

export const TRANSITIONS: Readonly<
  Record<StateOrAbsent, Readonly<Partial<Record<BaseEvent, StateOrAbsent>>>>
> = {
  absent: { reserve: 'filling', adopted: 'ready' },
  filling: { published: 'ready', failed: 'absent', 'refill-failed': 'suspect' },
  ready: { damaged: 'suspect', doubted: 'suspect', lost: 'absent', 'evict-begun': 'evicting' },
  suspect: {
    reserve: 'filling',
    damaged: 'suspect',
    doubted: 'suspect',
    absolved: 'ready',
    sound: 'ready',
    lost: 'absent',
    'evict-begun': 'evicting',
  },
  evicting: { evicted: 'absent', kept: 'ready', 'kept-suspect': 'suspect' },
};

/** What `event` makes of a base in `state`. */
export function transition(state: StateOrAbsent, event: BaseEvent): Transition {
  const to = TRANSITIONS[state][event];
  if (to !== undefined) return { kind: 'to', state: to };
  return { kind: 'refused', reason: `${event} means nothing to a base that is ${state}` };
}
