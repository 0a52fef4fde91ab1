// Domains that were asked for at once are held at once: who is ready waits for the others, until each has come or left.

import { allOf } from '../wire/all-of.ts';
import type { CephPort } from '../wire/ports.ts';
import { type Failed, type Got, type HoldParts, type Member, takeHeld } from './holds.ts';

export interface Seat {
  /** Once. @throws defects alone */
  take(ceph: CephPort, member: Member): Promise<Got | Failed>;
  /** It will not come, or has been. */
  leave(): void;
}

interface Waiting {
  readonly ceph: CephPort;
  readonly member: Member;
  readonly settle: PromiseWithResolvers<Got | Failed>;
}

/** So many seats. Domains on different clusters are held at once, but ride on different commits, each on its own. */
export function holdTogether(parts: HoldParts, count: number): readonly Seat[] {
  const waiting: Waiting[] = [];
  let expected = count;
  const goWhenAllAreHere = () => {
    if (waiting.length < expected || waiting.length === 0) return;
    const all = waiting.splice(0);
    expected -= all.length;
    const clusters = Map.groupBy(all, ({ ceph }) => ceph);
    void allOf([...clusters].map(([ceph, mine]) => takeAll(parts, ceph, mine)));
  };
  return Array.from({ length: count }, () => {
    let isHere = true;
    return {
      take(ceph, member) {
        const settle = Promise.withResolvers<Got | Failed>();
        isHere = false;
        waiting.push({ ceph, member, settle });
        goWhenAllAreHere();
        return settle.promise;
      },
      leave() {
        if (!isHere) return;
        isHere = false;
        expected -= 1;
        goWhenAllAreHere();
      },
    };
  });
}

async function takeAll(parts: HoldParts, ceph: CephPort, all: readonly Waiting[]): Promise<void> {
  const members = all.map(({ member }) => member);
  try {
    const outcomes = await takeHeld(parts, ceph, members);
    for (const [index, { settle }] of all.entries()) settle.resolve(outcomes[index] as Got);
  } catch (defect) {
    for (const { settle } of all) settle.reject(defect);
  }
}

type Limit = <T>(run: () => Promise<T>) => Promise<T>;

/** One turn of `limit` for several: they wait for each other, and so must not wait for each other's turns. */
export function oneTurn(limit: Limit): {
  readonly run: Limit;
  /** It is theirs until all of these have ended. */
  until(all: readonly Promise<unknown>[]): void;
} {
  const begun = Promise.withResolvers<void>();
  return {
    run: (work) => begun.promise.then(work),
    until(all) {
      void limit(async () => {
        begun.resolve();
        await Promise.allSettled(all);
      });
    },
  };
}
