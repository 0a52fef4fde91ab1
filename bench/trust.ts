// What checks cost: a fill that keeps to a manifest, against the same fill with nothing to check, on a disk with fsync and on tmpfs; all in one
// run, in pairs, in a random order each round.

import { mkdtemp, rm } from 'node:fs/promises';
import { parseSource } from '../src/wire/source.ts';
import type { VerificationPlan } from '../src/wire/verification-plan.ts';
import { CEPH, idsOf } from '../test/lab/export/sources.ts';
import { must, sh, timed } from '../test/lab/support/host.ts';
import { withFillWorker } from './fill-worker.ts';
import { type BenchRow, pairedRatio, secondsText, shuffled } from './row.ts';

const POOL = 'bench-trust';
const SOURCE = `${POOL}/raw@s`;
const deadlineMs = 600_000;

type Contender = 'manifest' | 'nothing' | 'no hash';

interface Place {
  readonly name: string;
  readonly folder: string;
  readonly target: number;
}

/** Runs in a lab host, against its Ceph. */
export async function* benchTrust({ rounds }: { readonly rounds: number }) {
  const disk = await mkdtemp('/var/lib/siphon/bench-trust-');
  const memory = await mkdtemp('/run/bench-trust-');
  try {
    await must('mount', '-t', 'tmpfs', '-o', 'size=4g', 'tmpfs', memory);
    await must('ceph', 'osd', 'pool', 'create', POOL, '16');
    await must('rbd', 'pool', 'init', POOL);
    await makeSource(disk);
    const places: readonly Place[] = [
      { name: 'a disk, with fsync', folder: disk, target: 1.15 },
      { name: 'tmpfs', folder: memory, target: 1.4 },
    ];
    for (const place of places) yield* await benchPlace(place, rounds);
  } finally {
    await sh(`umount '${memory}' || true`);
    for (const folder of [disk, memory]) await rm(folder, { recursive: true, force: true });
    await sh(`ceph osd pool rm ${POOL} ${POOL} --yes-i-really-really-mean-it || true`);
  }
}

/** 8 GiB with 32 MiB of random bytes in each 256 MiB. */
async function makeSource(folder: string): Promise<void> {
  await sh(`cd '${folder}'
    truncate -s 8G disk.raw
    for i in $(seq 0 31); do dd if=/dev/urandom of=disk.raw bs=1M count=32 seek=$((i*256)) conv=notrunc status=none; done
    rbd import --no-progress disk.raw ${POOL}/raw; rbd snap create --no-progress ${SOURCE}
    rm disk.raw`);
}

async function benchPlace({ name, folder, target }: Place, rounds: number): Promise<BenchRow[]> {
  const ids = await idsOf(SOURCE);
  const source = { ceph: CEPH, ids, name: parseSource(`rbd:${SOURCE}`) };
  const partialPath = `${folder}/partial`;
  const { table } = await withFillWorker((port) => port.call('table', source, { deadlineMs }));
  const manifest = { keyId: 'bench', dataBytes: 0, table };
  const fill = (plan: VerificationPlan) =>
    withFillWorker((port) =>
      port.call('fill', { ...source, plan, partialPath, rawBecomes: 'qcow2' }, { deadlineMs }),
    );
  const save = () =>
    withFillWorker((port) =>
      port.call('saveDisk', { ...source, partialPath, format: 'qcow2' }, { deadlineMs }),
    );
  const contenders: readonly (readonly [Contender, () => Promise<unknown>])[] = [
    ['manifest', () => fill({ digests: [], manifest })],
    ['nothing', () => fill({ digests: [] })],
    ['no hash', save],
  ];
  const times: Record<Contender, number[]> = { manifest: [], nothing: [], 'no hash': [] };
  for (let round = 0; round < rounds + 1; round += 1) {
    for (const [which, run] of shuffled(contenders)) {
      await sh(`rm -f ${partialPath}; sync -f ${folder}`);
      const { ms } = await timed(run);
      if (round > 0) times[which].push(ms / 1000); // the first warms caches
    }
  }
  const rowOf = (against: Exclude<Contender, 'manifest'>, what: string): BenchRow => {
    const ratio = pairedRatio(times.manifest, times[against]);
    const note = `with it ${secondsText(times.manifest)}, other ${secondsText(times[against])}; process start and fsync within`;
    const which = `fill by a manifest, ${name}`;
    return { case: which, against: what, ratio, target, met: ratio <= target, n: rounds, note };
  };
  return [
    rowOf('nothing', 'a fill with nothing to check, which makes the table'),
    rowOf('no hash', 'a copy that hashes nothing'),
  ];
}
