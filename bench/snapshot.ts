// What a guest is held for by a set of two disks: armed against at any time, with nothing else going on and with other commits.

import type { ImageAt } from '../src/wire/worker-protocol.ts';
import { type Ceph, type TakenArmed, takeArmed, takeUnarmed } from '../test/lab/armed/sets.ts';
import { must } from '../test/lab/support/host.ts';
import { otherCommits } from '../test/lab/support/meanwhile.ts';
import { cephWorker } from '../test/lab/worker/ceph-worker.ts';
import { type BenchRow, median, pairedRatio, quantile } from './row.ts';

const HOLD_TARGET = 0.25;
const DISKS: readonly ImageAt[] = ['bench-a', 'bench-b'].map((image) => {
  return { pool: 'vms', namespace: '', image };
});
/** Of the lab's configuration (test/lab/support/prepare-host.sh). */
const USERS = {
  fill: { name: 'siphon-fill' },
  snapshot: { name: 'siphon-snapshot' },
  publish: { name: 'siphon-publish' },
};

export async function benchSnapshot({ rounds }: { readonly rounds: number }): Promise<BenchRow[]> {
  for (const { pool, image } of DISKS)
    await must('rbd', 'create', '--size', '1G', `${pool}/${image}`);
  await using ceph = cephWorker(USERS);
  const quiet = await benchSets('quiet', ceph, rounds);
  await using _ = await otherCommits();
  return [quiet, await benchSets('other commits, 3 a second', ceph, rounds)];
}

/** No guest: what is timed is the part of the hold that is Ceph's. */
async function benchSets(label: string, ceph: Ceph, rounds: number): Promise<BenchRow> {
  const [armed, unarmed]: [TakenArmed[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    const free = await takeUnarmed(ceph, DISKS);
    const tied = await takeArmed(ceph, DISKS);
    unarmed.push(free.tookMs);
    armed.push(tied);
  }
  const holds = armed.map((each) => each.holdMs);
  const missed = armed.filter((each) => each.isMissed).length;
  const ratio = pairedRatio(holds, unarmed);
  const of = (ms: readonly number[]) =>
    `${median(ms).toFixed(0)} ms (p90 ${quantile(ms, 0.9).toFixed(0)}, p99 ${quantile(ms, 0.99).toFixed(0)})`;
  return {
    case: `snapshots of two disks, armed, ${label}`,
    against: 'at any time',
    ratio,
    target: HOLD_TARGET,
    met: ratio <= HOLD_TARGET,
    n: rounds,
    note: `armed ${of(holds)}, ${missed} missed; at any time ${of(unarmed)}`,
  };
}
