// Which sets stay: by their policy's counts; those on disks of Nova or Cinder by age as well. An operator's "keep" wins over all.

import { parseDomain } from '../domain/domain.ts';
import type { DomainWish } from '../domain/wish.ts';
import type { SetState } from '../wire/api.ts';
import { OperatingError } from '../wire/errors.ts';
import type { Retained } from '../wire/evaluation.ts';
import { formatKeep } from '../wire/keep.ts';
import type { DiskOwner, Policy, SnapshotSet } from '../wire/vocabulary.ts';
import { keepOf } from './evaluate.ts';
import { keptBy } from './keep.ts';
import { isInTheirWay } from './neighbours.ts';

export type KeptSet = SnapshotSet & { readonly state: SetState };

export interface RetentionFacts {
  /** All that are known of the domains in question. */
  readonly sets: readonly KeptSet[];
  /** In force now: a set whose policy is not among them is not counted out. */
  readonly policies: readonly Policy[];
  readonly nowMs: number;
}

/** On disks of Nova and Cinder, where no policy says otherwise: what is left there keeps them from deleting the disk. */
export const MAX_AGE_MS = 24 * 3_600_000;

/** One verdict for each set, in their order. */
export function decideRetention(facts: RetentionFacts): readonly Retained[] {
  const verdicts = new Map<string, Verdict>();
  const counted: KeptSet[] = [];
  for (const set of facts.sets) {
    const verdict = apartFromCounts(set, facts);
    if (verdict === undefined) counted.push(set);
    else verdicts.set(set.id, verdict);
  }
  for (const group of Object.values(Object.groupBy(counted, groupOf))) {
    for (const [id, verdict] of byCount(group ?? [], facts.policies)) verdicts.set(id, verdict);
  }
  return facts.sets.map((set) => {
    return { set: set.id, ...(verdicts.get(set.id) ?? keep('nothing is said of it')) };
  });
}

/** Sets of an undefined domain that stand in the way of whoever deletes its disks. An operator's "keep" wins here, too. */
export function setsInTheirWay(sets: readonly KeptSet[]): readonly KeptSet[] {
  return sets.filter((set) => set.isProtected !== true && isInTheirWay(set));
}

type Verdict = Omit<Retained, 'set'>;

/** undefined: it is one of its policy's, and their number decides. */
function apartFromCounts(set: KeptSet, { policies, nowMs }: RetentionFacts): Verdict | undefined {
  if (set.isProtected === true) return keep('it is protected');
  if (set.state !== 'complete') return keep('it is being removed already');
  const policy = policies.find(({ name }) => name === set.policy);
  const owner = set.disks.find((disk) => disk.owner !== undefined)?.owner;
  const maxAgeMs = policy?.maxAgeMs ?? MAX_AGE_MS;
  // One that seems to come from the future, after the clock was set back, is not old.
  if (owner !== undefined && nowMs - set.createdAtMs >= maxAgeMs)
    return prune(`it holds a disk of ${NAMES[owner]}'s, and is older than ${hours(maxAgeMs)}`);
  if (set.policy === undefined) return keep("an operator's, of no policy");
  if (policy === undefined) return keep(`its policy '${set.policy}' is not in force`);
  return undefined;
}

const NAMES: Readonly<Record<DiskOwner, string>> = { nova: 'Nova', cinder: 'Cinder' };

function hours(ms: number): string {
  return `${Math.round(ms / 360_000) / 10} h`;
}

/** Sets that an operator asked for, those of a schedule, and those of events are counted apart. */
function groupOf({ domainUuid, policy, event }: KeptSet): string {
  return [domainUuid, policy, event === 'manual' || event === 'scheduled' ? event : 'event'].join(
    ' ',
  );
}

/** Of one group, which is not empty. */
function byCount(group: readonly KeptSet[], policies: readonly Policy[]): [string, Verdict][] {
  const sorted = newestFirst(group);
  const policy = policies.find(({ name }) => name === sorted[0]?.policy);
  const [newest] = sorted;
  if (policy === undefined || newest === undefined) return [];
  const counts = keepOf(policy, wishIn(newest));
  const kept = keptBy(sorted, counts);
  const beyond = prune(`beyond what policy '${policy.name}' keeps: ${formatKeep(counts)}`);
  return sorted.map(({ id }) => {
    const rule = kept.get(id);
    return [id, rule === undefined ? beyond : keep(`${rule} of policy '${policy.name}'`)];
  });
}

/**
 * By their snapshots' ids where all have one in the same pool: Ceph counts those up, whatever a clock does. Else by the time at which
 * they were made.
 */
function newestFirst(group: readonly KeptSet[]): readonly KeptSet[] {
  const pool = group[0]?.disks.find(({ poolId }) => group.every((set) => snapIn(set, poolId) > 0));
  const rank = (set: KeptSet) => (pool === undefined ? set.createdAtMs : snapIn(set, pool.poolId));
  return group.toSorted((a, b) => rank(b) - rank(a) || (a.id < b.id ? 1 : -1));
}

/** 0: none. */
function snapIn({ disks }: KeptSet, poolId: number): number {
  return Math.max(0, ...disks.filter((disk) => disk.poolId === poolId).map(({ snapId }) => snapId));
}

/** What the domain's own metadata said when the set was taken. */
function wishIn({ domainXml }: KeptSet): DomainWish {
  try {
    return parseDomain(domainXml).wish;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { kind: 'none' }; // another version of siphon kept it
  }
}

function keep(reason: string): Verdict {
  return { decision: 'keep', reason };
}

function prune(reason: string): Verdict {
  return { decision: 'prune', reason };
}
