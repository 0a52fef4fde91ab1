// What a restore in place takes, by the disk's size: clones and names, no data. And its undo, which removes the clone, object by object
// of its map.

import type { SnapshotSet } from '../src/wire/vocabulary.ts';
import { defineDomain } from '../test/lab/support/domains.ts';
import { must, run, timed } from '../test/lab/support/host.ts';
import type { Cleanup } from '../test/lab/support/images.ts';
import { removeAll, writeTo } from '../test/lab/support/restored.ts';
import { siphonJson } from '../test/lab/support/siphon.ts';
import { type BenchRow, median, pairedRatio, quantile, shuffled } from './row.ts';

const SIZES = ['1G', '1T'] as const;
const FLAT = 1.2;
const MS_MAX = 3000;

export async function* benchRestore(options: {
  readonly rounds: number;
}): AsyncGenerator<BenchRow> {
  const undos: (() => Promise<unknown>)[] = [];
  const cleanup: Cleanup = { after: (undo) => void undos.push(undo) };
  try {
    const sets = await Promise.all(SIZES.map((size) => setOf(cleanup, size)));
    yield* await measure(sets, options.rounds);
  } finally {
    for (const undo of undos.toReversed()) await undo();
  }
}

/** Of a domain with a sparse disk of this size that holds 16 MiB. */
async function setOf(cleanup: Cleanup, size: (typeof SIZES)[number]): Promise<SnapshotSet> {
  const name = `bench-restore-${size.toLowerCase()}`;
  const image = `vms/${name}`;
  await must('rbd', 'create', '--size', size, image);
  cleanup.after(() => removeAll(image));
  await writeTo(image, 1, '0 16M');
  await defineDomain(cleanup, { name, disks: [{ kind: 'rbd', image }] });
  const [set] = await siphonJson<SnapshotSet[]>('snapshot', 'create', name);
  if (set === undefined) throw new Error(`no set of ${name}`);
  cleanup.after(() => run('siphon', ['snapshot', 'delete', set.id]));
  return set;
}

async function measure(sets: readonly SnapshotSet[], rounds: number): Promise<BenchRow[]> {
  const restores = sets.map((): number[] => []);
  const undos = sets.map((): number[] => []);
  for (let round = 0; round < rounds + 1; round += 1) {
    for (const at of shuffled([...sets.keys()])) {
      const id = sets[at]?.id ?? '';
      const restore = await timed(() => must('siphon', 'restore', id));
      const undo = await timed(() => must('siphon', 'restore', '--undo', id));
      if (round === 0) continue;
      restores[at]?.push(restore.ms);
      undos[at]?.push(undo.ms);
    }
  }
  const restored = rowOf('restore in place', restores, rounds);
  return [restored, { ...rowOf('its undo', undos, rounds), target: null, met: null }];
}

function rowOf(what: string, [small = [], large = []]: number[][], n: number): BenchRow {
  const ratio = pairedRatio(large, small);
  const p90 = quantile(large, 0.9);
  return {
    case: `${what}, a sparse disk of 1 TiB`,
    against: 'one of 1 GiB',
    ratio,
    target: FLAT,
    met: ratio <= FLAT && p90 <= MS_MAX,
    n,
    note: `1 TiB ${told(large)}, 1 GiB ${told(small)}; the whole command; target ${MS_MAX} ms`,
  };
}

const told = (values: readonly number[]): string =>
  `p50 ${median(values).toFixed()} ms, p90 ${quantile(values, 0.9).toFixed()} ms`;
