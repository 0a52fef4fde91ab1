// What an incremental export costs, against `rbd export-diff` of the same two snapshots: in time and in bytes, in one run, in pairs.

import { mkdir, rm, stat } from 'node:fs/promises';
import { defineDomain } from '../test/lab/support/domains.ts';
import { must, sh, timed } from '../test/lab/support/host.ts';
import { type Cleanup, removeImage } from '../test/lab/support/images.ts';
import { siphonJson } from '../test/lab/support/siphon.ts';
import { type BenchRow, pairedRatio, secondsText, shuffled } from './row.ts';

const NAME = 'bench-export';
const IMAGE = `vms/${NAME}`;
const FOLDER = '/var/lib/siphon/bench-export';
const MIB = 2 ** 20;
const BYTES_TARGET = 1.1;

interface Change {
  readonly name: string;
  /** Makes it, and tells how many bytes it is. */
  make(): Promise<number>;
}

/** 5 % of an 8 GiB disk of which 1 GiB was written: whole MiBs, 20 MiB from each other; and as small as a guest writes. */
const CHANGES: readonly Change[] = [
  {
    name: '410 MiB in pieces of 1 MiB',
    async make() {
      await sh(`for i in $(seq 0 409); do echo "write -q -P $((i % 250 + 1)) $((i * 20))M 1M"; done |
        qemu-io -f raw rbd:${IMAGE} >/dev/null`);
      return 410 * MIB;
    },
  },
  {
    name: '16 MiB in pieces of 4 KiB',
    async make() {
      await sh(`for i in $(seq 0 4095); do echo "write -q -P $((i % 250 + 1)) $((i * 2))M 4k"; done |
        qemu-io -f raw rbd:${IMAGE} >/dev/null`);
      return 16 * MIB;
    },
  },
];

/** Runs in a lab host with siphon installed. */
export async function* benchExport({ rounds }: { readonly rounds: number }) {
  const undos: (() => Promise<unknown>)[] = [];
  const cleanup: Cleanup = { after: (undo) => void undos.push(undo) };
  try {
    await mkdir(FOLDER, { recursive: true });
    cleanup.after(() => rm(FOLDER, { recursive: true, force: true }));
    await sh(`rbd create --size 8G ${IMAGE}
      for i in $(seq 0 31); do echo "write -q -P $((i + 1)) $((i * 256))M 32M"; done | qemu-io -f raw rbd:${IMAGE} >/dev/null`);
    cleanup.after(() => removeImage(IMAGE));
    await defineDomain(cleanup, { name: NAME, disks: [{ kind: 'rbd', image: IMAGE }] });
    for (const change of CHANGES) yield* await benchChange(change, rounds);
  } finally {
    for (const undo of undos.toReversed()) await undo();
  }
}

async function take(): Promise<string> {
  const [set] = await siphonJson<{ id: string }[]>('snapshot', 'create', NAME);
  return set?.id ?? '';
}

async function benchChange(change: Change, rounds: number): Promise<BenchRow[]> {
  const before = await take();
  const bytes = await change.make();
  const after = await take();
  const [ours, theirs] = [`${FOLDER}/ours`, `${FOLDER}/theirs`];
  const siphon = () => must('siphon', 'export', after, '--since', before, '--to', ours);
  const rbd = () =>
    sh(`rbd export-diff --no-progress --from-snap siphon.${before} ${IMAGE}@siphon.${after} ${theirs}
      sync ${theirs}`);
  const times = { siphon: [] as number[], rbd: [] as number[] };
  const sizes = { siphon: 0, rbd: 0 };
  for (let round = 0; round < rounds + 1; round += 1) {
    for (const [name, run] of shuffled([['siphon', siphon] as const, ['rbd', rbd] as const])) {
      await sh(`rm -f ${ours} ${theirs}; sync -f ${FOLDER}`);
      const { ms } = await timed(run);
      if (round > 0) times[name].push(ms / 1000); // the first warms caches
      sizes[name] = (await stat(name === 'siphon' ? ours : theirs)).size;
    }
  }
  const ratio = pairedRatio(times.rbd, times.siphon);
  const more = sizes.siphon / bytes;
  const shared = { case: `incremental export, ${change.name}`, n: rounds };
  return [
    {
      ...shared,
      against: 'rbd export-diff',
      ratio,
      target: 1,
      met: ratio >= 1,
      note: `siphon ${secondsText(times.siphon)}, rbd ${secondsText(times.rbd)}; siphon digests all, from the command's start to its fsync`,
    },
    {
      ...shared,
      against: 'the bytes that changed',
      ratio: more,
      target: BYTES_TARGET,
      met: more <= BYTES_TARGET,
      note: `${sizes.siphon} bytes of ${bytes}; rbd export-diff ${sizes.rbd}`,
    },
  ];
}
