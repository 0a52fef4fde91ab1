// Sets of snapshots as they are taken of a guest, but for the guest: armed, or at any time.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Arm } from '../../../src/wire/hold-protocol.ts';
import type { CephMethods, ImageAt } from '../../../src/wire/worker-protocol.ts';
import type { Worker } from '../../../src/worker/supervisor/index.ts';
import { soon } from '../worker/ceph-worker.ts';

export type Ceph = Worker<CephMethods>;

export interface Taken {
  /** From asking for the snapshots to the last that came. */
  readonly tookMs: number;
  readonly made: CephMethods['describePrepared']['result'];
}

export interface TakenArmed extends Taken {
  readonly arm: Arm;
  /** When the foreseen commit came, by the test's clock. */
  readonly commitAtMs: number;
  /** The last came more than half an interval after the foreseen commit: with another. */
  readonly isMissed: boolean;
  /** `armEnd` was there before the last snapshot. */
  readonly isSeen: boolean;
  /** From asking for the snapshots to the first of the two. */
  readonly holdMs: number;
}

export async function prepare(
  ceph: Ceph,
  disks: readonly ImageAt[],
  snap = `siphon.${randomUUID()}`,
): Promise<string> {
  const named = disks.map((at) => ({ ...at, snap }));
  return (await ceph.call('prepareSnapshots', { disks: named }, soon)).prepared;
}

async function make(ceph: Ceph, prepared: string): Promise<number> {
  const fromMs = performance.now();
  for (const each of await ceph.call('createPrepared', { prepared }, soon)) {
    assert.equal(each.kind, 'made', JSON.stringify(each));
  }
  return performance.now() - fromMs;
}

const describe = (ceph: Ceph, prepared: string) =>
  ceph.call('describePrepared', { prepared }, soon);

/** At any time between two commits. */
export async function takeUnarmed(ceph: Ceph, disks: readonly ImageAt[]): Promise<Taken> {
  await delay(Math.random() * 1000);
  const prepared = await prepare(ceph, disks);
  const tookMs = await make(ceph, prepared);
  return { tookMs, made: await describe(ceph, prepared) };
}

/** Rejects if the monitors are not well. */
export async function armed(ceph: Ceph, leadMs: number) {
  const { board } = await ceph.call('board', {}, soon);
  return await ceph.call('arm', { board, leadMs }, soon);
}

export interface How {
  readonly leadMs?: number;
  /** What is done between the arm and the snapshots. */
  readonly hold?: (leftMs: number) => Promise<unknown>;
}

export async function takeArmed(
  ceph: Ceph,
  disks: readonly ImageAt[],
  { leadMs = 0, hold }: How = {},
): Promise<TakenArmed> {
  const prepared = await prepare(ceph, disks);
  const arm = await armed(ceph, leadMs);
  assert.ok('arm' in arm, 'no commit was foreseen');
  const armedAtMs = performance.now();
  const ending = ceph.call('armEnd', { arm: arm.arm }, soon);
  const ended = ending.then((end) => ({ ...end, atMs: performance.now() }));
  await hold?.(arm.leftMs);
  const askedAtMs = performance.now();
  const tookMs = await make(ceph, prepared);
  const madeAtMs = askedAtMs + tookMs;
  const end = await ended;
  const commitAtMs = armedAtMs + end.tookMs;
  return {
    tookMs,
    made: await describe(ceph, prepared),
    arm,
    commitAtMs,
    isMissed: madeAtMs > commitAtMs + arm.intervalMs / 2,
    isSeen: end.atMs < madeAtMs,
    holdMs: Math.min(madeAtMs, end.atMs) - askedAtMs,
  };
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? assert.fail('none');

/**
 * Takes sets until `count` rode on the commit that was foreseen: one more for each that missed it, which must be seen. How long a guest
 * would have been held goes by what came first, the snapshots or the news that they missed; it is written for who looks at the log.
 */
export async function takeMany(
  label: string,
  count: number,
  ceph: Ceph,
  disks: readonly ImageAt[],
): Promise<{ readonly holdMs: number; readonly intervalMs: number }> {
  const taken: TakenArmed[] = [];
  const rode = () => taken.filter((each) => !each.isMissed).length;
  while (rode() < count && taken.length < 4 * count) taken.push(await takeArmed(ceph, disks));
  const missed = taken.length - rode();
  const holdsMs = taken.map((each) => Math.round(each.holdMs));
  const rounds = taken.map(({ arm }) => arm.rounds);
  console.log(`${label}: ${holdsMs.join(' ')} ms, ${missed} missed, rounds ${rounds.join(' ')}`);
  assert.equal(rode(), count, `only ${rode()} of ${taken.length} rode on their commits`);
  const unseen = taken.filter((each) => each.isMissed && !each.isSeen);
  assert.deepEqual(unseen, [], 'a missed commit was not seen');
  return { holdMs: median(holdsMs), intervalMs: median(taken.map(({ arm }) => arm.intervalMs)) };
}
