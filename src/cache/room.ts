// The space that fills ask for: what is free, what is promised, and what goes to make room.

import { admit, type RoomFacts } from './admit.ts';
import type { Evictor } from './evict-run.ts';
import type { CacheParts } from './parts.ts';
import { noRoom } from './refusals.ts';

/** Space that a fill was promised, until its base is counted or it is given up. */
export interface SpacePromise {
  promisedBytes: number;
  writtenBytes: number;
}

export type Rooms = Pick<CacheParts, 'settings' | 'readFreeBytes' | 'catalogue'>;

const ADMISSIONS_MAX = 3;
const EVERYTHING = { kind: 'regain', bytes: Number.POSITIVE_INFINITY } as const;

/** What is free, used and promised now. */
export function roomFacts(parts: Rooms, promises: Iterable<SpacePromise>): RoomFacts {
  const { settings, readFreeBytes, catalogue } = parts;
  const all = [...promises];
  return {
    freeBytes: readFreeBytes(),
    reserveBytes: settings.reserveBytes,
    limitBytes: settings.limitBytes,
    usedBytes: sum(catalogue.bases.all().map((row) => row.allocatedBytes)),
    promisedBytes: sum(all.map((each) => each.promisedBytes)),
    writtenBytes: sum(all.map((each) => Math.min(each.promisedBytes, each.writtenBytes))),
  };
}

/**
 * Makes room for one fill, evicting what may go, and calls `begin` in the same tick in which the room was there.
 * @throws OperatingError `exhausted`
 */
export async function withRoom<T>(
  request: { readonly subject: string; readonly neededBytes: number },
  evictor: Evictor,
  readRoom: () => RoomFacts,
  begin: () => T,
): Promise<T> {
  const { subject, neededBytes } = request;
  for (let left = ADMISSIONS_MAX; left > 0; left--) {
    if (admit(readRoom(), neededBytes, []).kind === 'admit') return begin();
    const going = (await evictor.plan(EVERYTHING)).filter(({ decision }) => decision === 'evict');
    const admission = admit(readRoom(), neededBytes, going);
    if (admission.kind === 'admit') return begin();
    if (admission.kind === 'refuse') throw noRoom(subject, admission.why);
    const chosen = new Set(admission.bases);
    const decisions = going.filter(({ id }) => chosen.has(id));
    await evictor.run(decisions, { reason: 'room', subject });
  }
  throw noRoom(subject, 'others took the space that was made for it');
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
