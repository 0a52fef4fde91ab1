// Whether what another host has left may be removed by this one: pure. Only what is surely nobody's any more: it carries siphon's mark, nothing
// refers to it, nobody has it open, and its host has said nothing of it for long.

import type { FoundEntry } from '../../wire/publish-protocol.ts';
import type { FoundImport } from '../../wire/transfer-protocol.ts';

/** A host that is only cut off, or down for the night, comes back and goes on by itself. */
export const GONE_MS = 24 * 3_600_000;

export type LeftoverDecision = {
  readonly kind: 'remove' | 'stays';
  readonly why: string;
};

/** `users`: who has its image open. */
export function decideEntry(
  { state, atMs }: Pick<FoundEntry, 'state' | 'atMs'>,
  users: readonly string[],
  nowMs: number,
): LeftoverDecision {
  if (state === 'named') {
    return stays('it is an image in use: siphon flatten parts it from its set');
  }
  return decideAge(atMs, users, nowMs) ?? { kind: 'remove', why: 'it was never finished' };
}

export function decideImport(
  { atMs, isWhole }: Pick<FoundImport, 'atMs' | 'isWhole'>,
  users: readonly string[],
  nowMs: number,
): LeftoverDecision {
  // Its set is its host's: whoever imports the same again finishes it, as a set of its own.
  if (isWhole) return stays('all of it is there: the same siphon import finishes it');
  return decideAge(atMs, users, nowMs) ?? { kind: 'remove', why: 'it was never finished' };
}

function decideAge(
  atMs: number | undefined,
  users: readonly string[],
  nowMs: number,
): LeftoverDecision | undefined {
  if (users.length > 0) return stays(`${users.join(', ')} has it open`);
  if (atMs === undefined) return stays('an older siphon noted it, without a time');
  const left = atMs + GONE_MS - nowMs;
  if (left <= 0) return undefined;
  return stays(`noted ${hours(nowMs - atMs)} ago: it may be removed after ${hours(GONE_MS)}`);
}

const hours = (ms: number) => `${Math.floor(Math.max(0, ms) / 3_600_000)} h`;
const stays = (why: string): LeftoverDecision => ({ kind: 'stays', why });
