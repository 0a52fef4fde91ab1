// What a scrub costs: a base read and checked as fast as it goes, against the same file read by dd past the page cache, and by sha256sum; in pairs,
// in a random order each round.

import { mkdtemp, rm } from 'node:fs/promises';
import { parseSource } from '../src/wire/source.ts';
import type { FillResult } from '../src/wire/worker-protocol.ts';
import { CEPH, idsOf } from '../test/lab/export/sources.ts';
import { must, sh, timed } from '../test/lab/support/host.ts';
import { withFillWorker } from './fill-worker.ts';
import { type BenchRow, pairedRatio, quantile, secondsText, shuffled } from './row.ts';

const POOL = 'bench-scrub';
const SOURCE = `${POOL}/raw@s`;
const MIB = 2 ** 20;
const DATA_BYTES = 1024 * MIB;
const deadlineMs = 600_000;

type Contender = 'scrub' | 'dd' | 'sha256sum';

/** Runs in a lab host, against its Ceph. */
export async function* benchScrub({ rounds }: { readonly rounds: number }) {
  const folder = await mkdtemp('/var/lib/siphon/bench-scrub-');
  try {
    await must('ceph', 'osd', 'pool', 'create', POOL, '16');
    await must('rbd', 'pool', 'init', POOL);
    await sh(`head -c ${DATA_BYTES} /dev/urandom | rbd import --no-progress - ${POOL}/raw
      rbd snap create --no-progress ${SOURCE}`);
    yield* await compare(folder, rounds);
  } finally {
    await rm(folder, { recursive: true, force: true });
    await sh(`ceph osd pool rm ${POOL} ${POOL} --yes-i-really-really-mean-it || true`);
  }
}

async function compare(folder: string, rounds: number): Promise<BenchRow[]> {
  const partialPath = `${folder}/base`;
  const filled = await fill(partialPath);
  const { format, sourceFormat, sourceSizeBytes, table, head } = filled;
  if (table === undefined || head === undefined) throw new Error('a fill makes both');
  const of = { subject: SOURCE, format, sourceFormat, sourceSizeBytes, table, head };
  const spec = { ...of, path: partialPath, rateBytes: 0 };
  const contenders: readonly (readonly [Contender, () => Promise<unknown>])[] = [
    ['scrub', () => withFillWorker((port) => port.call('scrub', spec, { deadlineMs }))],
    ['dd', () => must('dd', `if=${partialPath}`, 'of=/dev/null', 'bs=4M', 'iflag=direct')],
    ['sha256sum', () => sh(`echo 1 >/proc/sys/vm/drop_caches || true; sha256sum ${partialPath}`)],
  ];
  const times: Record<Contender, number[]> = { scrub: [], dd: [], sha256sum: [] };
  for (let round = 0; round < rounds + 1; round += 1) {
    for (const [which, run] of shuffled(contenders)) {
      const { ms } = await timed(run);
      if (round > 0) times[which].push(ms / 1000); // the first warms caches
    }
  }
  const rowOf = (against: Exclude<Contender, 'scrub'>, what: string): BenchRow => ({
    case: 'a scrub without a bound, 1 GiB of data',
    against: what,
    ratio: pairedRatio(times[against], times.scrub),
    target: null,
    met: null,
    n: rounds,
    note: `scrub ${told(times.scrub)}, other ${told(times[against])}; the worker's start within`,
  });
  return [rowOf('dd', 'dd iflag=direct'), rowOf('sha256sum', 'sha256sum, which one core hashes')];
}

async function fill(partialPath: string): Promise<FillResult> {
  const ids = await idsOf(SOURCE);
  const source = { ceph: CEPH, ids, name: parseSource(`rbd:${SOURCE}`) };
  const spec = { ...source, plan: { digests: [] }, partialPath, rawBecomes: 'qcow2' } as const;
  return await withFillWorker((port) => port.call('fill', spec, { deadlineMs }));
}

function told(values: readonly number[]): string {
  const rate = DATA_BYTES / MIB / quantile(values, 0.5);
  return `${secondsText(values)}, ${rate.toFixed(0)} MiB/s`;
}
