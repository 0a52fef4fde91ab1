// What a fill costs, against the tools that would do the same by hand: all in one run, in pairs, in a random order each round.

import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { parseSource } from '../src/wire/source.ts';
import type { VerificationPlan } from '../src/wire/verification-plan.ts';
import { CEPH, idsOf } from '../test/lab/export/sources.ts';
import { must, sh, timed } from '../test/lab/support/host.ts';
import { type FillPort, withFillWorker } from './fill-worker.ts';
import { type BenchRow, pairedRatio, secondsText, shuffled } from './row.ts';

export interface FillBenchOptions {
  readonly rounds: number;
  /** A folder on a real disk with 20 GiB to spare. */
  readonly scratchDir: string;
  readonly log: (line: string) => void;
}

const POOL = 'bench-fill';
const FILL_SECONDS_MAX = 600;

/** One way to get a source onto this host, timed whole. */
interface Contender {
  readonly name: string;
  run(): Promise<unknown>;
}

interface Comparison {
  readonly against: string;
  /** null: told for information. */
  readonly target: number | null;
  readonly note: string;
}

interface Bench {
  readonly case: string;
  readonly ours: Contender;
  readonly others: readonly (Contender & Comparison)[];
}

/** Runs in a lab host, against its Ceph. The sources are random bytes, made once and removed at the end. */
export async function benchFill(options: FillBenchOptions): Promise<BenchRow[]> {
  const folder = await mkdtemp(path.join(options.scratchDir, 'bench-fill-'));
  try {
    await must('ceph', 'osd', 'pool', 'create', POOL, '16');
    await must('rbd', 'pool', 'init', POOL);
    const digests = await makeSources(folder);
    const rows: BenchRow[] = [];
    for (const bench of [verbatimBench(folder, digests.qcow2), rawBench(folder, digests.raw)]) {
      rows.push(...(await runBench(bench, options)));
    }
    return rows;
  } finally {
    await rm(folder, { recursive: true, force: true });
    await must('ceph', 'osd', 'pool', 'rm', POOL, POOL, '--yes-i-really-really-mean-it');
  }
}

/** `qcow2`: 2 GiB of qcow2 bytes; `raw`: 8 GiB with 32 MiB of data in each 256 MiB. */
async function makeSources(folder: string): Promise<{ qcow2: string; raw: string }> {
  const digests = await sh(`cd '${folder}'
    dd if=/dev/urandom of=data bs=1M count=2047 status=none
    qemu-img convert -f raw -O qcow2 data disk.qcow2
    truncate -s 8G disk.raw
    for i in $(seq 0 31); do dd if=data of=disk.raw bs=1M count=32 skip=$((i*32)) seek=$((i*256)) conv=notrunc status=none; done
    rbd import --no-progress disk.qcow2 ${POOL}/qcow2; rbd snap create --no-progress ${POOL}/qcow2@s
    rbd import --no-progress disk.raw ${POOL}/raw; rbd snap create --no-progress ${POOL}/raw@s
    openssl dgst -r -sha256 disk.qcow2 disk.raw
    rm data disk.qcow2 disk.raw`);
  const [qcow2 = '', raw = ''] = digests.split('\n').map((line) => line.split(' ')[0] ?? '');
  return { qcow2, raw };
}

function verbatimBench(folder: string, sha256: string): Bench {
  const source = `${POOL}/qcow2@s`;
  const exported = `rbd export --no-progress ${source} ${folder}/other && sync ${folder}/other`;
  return {
    case: 'qcow2 2 GiB verbatim, nobody asks for a digest',
    ours: ours(source, folder),
    others: [
      other('rbd export', exported, 1, 'rbd digests nothing, ours all 2 GiB by chunks'),
      other(
        'rbd export + openssl dgst -sha256',
        `${exported} && openssl dgst -sha256 ${folder}/other`,
        2,
        'both digest all 2 GiB',
      ),
      asked(source, folder, sha256),
    ],
  };
}

function rawBench(folder: string, sha256: string): Bench {
  const source = `${POOL}/raw@s`;
  const convert = (from: string) => `qemu-img convert -O qcow2 ${from} ${folder}/other.qcow2`;
  const synced = `sync ${folder}/other.qcow2`;
  return {
    case: 'raw 8 GiB with 1 GiB data to qcow2, nobody asks for a digest',
    ours: ours(source, folder),
    others: [
      other(
        'rbd export + openssl dgst -sha256 + qemu-img convert to qcow2',
        `rbd export --no-progress ${source} ${folder}/other && openssl dgst -sha256 ${folder}/other &&
         ${convert(`-f raw ${folder}/other`)} && ${synced}`,
        1.5,
        'openssl digests all 8 GiB, ours the chunks with data',
      ),
      other(
        'qemu-img convert from rbd: to qcow2',
        `${convert(`-f raw rbd:${source}`)} && ${synced}`,
        null,
        'qemu-img digests nothing, ours the chunks with data',
      ),
      {
        name: 'floor',
        run: () => withFillWorker((port) => digest(port, source)),
        against: 'our own bare table of it (the floor)',
        target: null,
        note: 'floor through ours',
      },
      asked(source, folder, sha256),
    ],
  };
}

function asked(source: string, folder: string, hex: string): Contender & Comparison {
  const digests = [{ algorithm: 'sha256', hex, from: 'operator' }] as const;
  return {
    ...ours(source, folder, { digests }),
    name: 'siphon --sha256',
    against: 'our own, with SHA-256 of the whole asked for',
    target: null,
    note: 'one core has to see every byte, zeros too',
  };
}

/** The others are made safe on disk too, by sync(1) of the one file. */
function other(
  against: string,
  script: string,
  target: number | null,
  note: string,
): Contender & Comparison {
  return { name: against, run: () => sh(script), against, target, note };
}

/** The whole of a fill: the installed worker's process from its start to the result, fsync within. */
function ours(source: string, folder: string, plan: VerificationPlan = { digests: [] }): Contender {
  return {
    name: 'siphon',
    run: () =>
      withFillWorker(async (port) => {
        const ids = await idsOnce(source);
        const partialPath = `${folder}/ours`;
        await port.call(
          'fill',
          {
            ceph: CEPH,
            ids,
            name: nameOf(source),
            plan,
            partialPath,
            rawBecomes: 'qcow2',
          },
          { deadlineMs: FILL_SECONDS_MAX * 1000 },
        );
      }),
  };
}

async function digest(port: FillPort, source: string): Promise<void> {
  const ids = await idsOnce(source);
  const spec = { ceph: CEPH, ids, name: nameOf(source), plan: { digests: [] } };
  await port.call('digest', spec, { deadlineMs: FILL_SECONDS_MAX * 1000 });
}

const nameOf = (source: string) => parseSource(`rbd:${source}`);

const known = new Map<string, ReturnType<typeof idsOf>>();
function idsOnce(source: string): ReturnType<typeof idsOf> {
  const ids = known.get(source) ?? idsOf(source);
  known.set(source, ids);
  return ids;
}

async function runBench(bench: Bench, options: FillBenchOptions): Promise<BenchRow[]> {
  const contenders = [bench.ours, ...bench.others];
  const seconds = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < options.rounds + 1; round += 1) {
    for (const contender of shuffled(contenders)) {
      const took = await runOnce(contender, options.scratchDir);
      const kept = round > 0; // the first round warms caches, of Ceph's and of files
      if (kept) seconds.get(contender.name)?.push(took);
      options.log(`${kept ? round : 'warm-up'} ${contender.name}: ${took.toFixed(2)} s`);
    }
  }
  return bench.others.map((one) => rowOf(bench, one, seconds, options.rounds));
}

/** Begins with nothing of the last one waiting for the disk. */
async function runOnce(contender: Contender, scratchDir: string): Promise<number> {
  await sh(`rm -f ${scratchDir}/bench-fill-*/o*; sync -f ${scratchDir}`);
  return (await timed(() => contender.run())).ms / 1000;
}

function rowOf(
  bench: Bench,
  one: Contender & Comparison,
  seconds: ReadonlyMap<string, number[]>,
  rounds: number,
): BenchRow {
  const [mine = [], theirs = []] = [bench.ours, one].map(({ name }) => seconds.get(name));
  const ratio = pairedRatio(theirs, mine);
  const { against, target } = one;
  const met = target === null ? null : ratio >= target;
  const note = `siphon ${secondsText(mine)}, other ${secondsText(theirs)}; ${one.note}; process start and fsync within`;
  return { case: bench.case, against, ratio, target, met, n: rounds, note };
}
