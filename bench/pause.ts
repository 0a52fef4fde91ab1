// What a guest itself notices of a set.

import type { SnapshotSet } from '../src/wire/vocabulary.ts';
import { must } from '../test/lab/support/host.ts';
import type { Cleanup } from '../test/lab/support/images.ts';
import { startOrdered } from '../test/lab/support/ordered.ts';
import { consolePath } from '../test/lab/support/shell.ts';
import { siphonJson } from '../test/lab/support/siphon.ts';
import { type BenchRow, quantile } from './row.ts';
import { tickingGuest } from './ticks.ts';

const NAME = 'bench-pause';
const PAUSE_MS_P50_MAX = 200;

/** The longest time without a tick while a set was taken, against the same while none was. */
export async function benchPause(cleanup: Cleanup, rounds: number): Promise<BenchRow> {
  const path = consolePath(NAME);
  await startOrdered(cleanup, NAME, { console: path });
  const longestDuring = await tickingGuest(cleanup, path);
  const pauses: number[] = [];
  const others: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    let sets: SnapshotSet[] = [];
    const take = async () => {
      sets = await siphonJson<SnapshotSet[]>('snapshot', 'create', NAME, '--quiesce', 'none');
    };
    pauses.push(await longestDuring(take));
    const remove = ['snapshot', 'delete', ...sets.map(({ id }) => id)];
    others.push(await longestDuring(() => must('siphon', ...remove)));
  }
  const p50 = quantile(pauses, 0.5);
  return {
    case: 'pause seen in the guest by its ticks, p50',
    against: `${PAUSE_MS_P50_MAX} ms`,
    ratio: p50 / PAUSE_MS_P50_MAX,
    target: 1,
    met: p50 <= PAUSE_MS_P50_MAX,
    n: rounds,
    note: `longest gap ${told(pauses)} while a set of two disks is taken; ${told(others)} while one is removed`,
  };
}

const told = (values: readonly number[]): string =>
  `p50 ${quantile(values, 0.5).toFixed()} ms, p90 ${quantile(values, 0.9).toFixed()} ms`;
