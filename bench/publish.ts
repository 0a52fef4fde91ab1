// What it takes until an image of a running guest's disk can be used, against what Nova does where it has no native way: the guest stands,
// its disk is copied to a file, and the file is written back into the cluster. And a full copy, against the tools that make one.

import { rm } from 'node:fs/promises';
import type { CloneAt, PublishEntry } from '../src/wire/publish-protocol.ts';
import type { SnapshotSet } from '../src/wire/vocabulary.ts';
import type { CephMethods, SnapshotAt } from '../src/wire/worker-protocol.ts';
import type { Worker } from '../src/worker/supervisor/index.ts';
import { defineDomain } from '../test/lab/support/domains.ts';
import { must, run, sh, timed, until } from '../test/lab/support/host.ts';
import { type Cleanup, removeImage } from '../test/lab/support/images.ts';
import { openJobs } from '../test/lab/support/restored.ts';
import { consolePath } from '../test/lab/support/shell.ts';
import { siphonJson } from '../test/lab/support/siphon.ts';
import { cephWorker } from '../test/lab/worker/ceph-worker.ts';
import { type BenchRow, median, pairedRatio, quantile, shuffled } from './row.ts';
import { type LongestDuring, tickingGuest } from './ticks.ts';

const NAME = 'bench-publish';
const DISK = `vms/${NAME}`;
const FILE = `/var/lib/siphon/${NAME}.raw`;
const CLONE_TARGET = 20;
const USABLE_TARGET = 5;
const COPY_TARGET = 1;
const deadline = { deadlineMs: 600_000 };

interface Site {
  readonly set: SnapshotSet;
  readonly worker: Worker<CephMethods>;
  readonly longestDuring: LongestDuring;
}

export async function* benchPublish(options: { readonly rounds: number }) {
  const undos: (() => Promise<unknown>)[] = [];
  const cleanup: Cleanup = { after: (undo) => void undos.push(undo) };
  try {
    const site = await siteOf(cleanup);
    yield* await benchNative(site, options.rounds);
    yield await benchCopy(site, options.rounds);
  } finally {
    for (const undo of undos.toReversed()) await undo();
  }
}

/** A guest with one disk of 8 GiB, of which 1 GiB was written, and a set of it. */
async function siteOf(cleanup: Cleanup): Promise<Site> {
  await sh(`rbd create --size 8G ${DISK}
    for i in $(seq 0 31); do echo "write -q -P $((i + 1)) $((i * 256))M 32M"; done | qemu-io -f raw rbd:${DISK} >/dev/null`);
  cleanup.after(() => removeImage(DISK));
  const console = consolePath(NAME);
  await defineDomain(cleanup, { name: NAME, console, disks: [{ kind: 'rbd', image: DISK }] });
  await must('virsh', '-q', 'start', NAME);
  const longestDuring = await tickingGuest(cleanup, console);
  const [set] = await siphonJson<SnapshotSet[]>('snapshot', 'create', NAME, '--quiesce', 'none');
  if (set === undefined) throw new Error(`no set of ${NAME}`);
  cleanup.after(() => run('siphon', ['snapshot', 'delete', set.id]));
  // The users of the lab's configuration (test/lab/support/prepare-host.sh).
  const named = (job: string) => ({ name: `siphon-${job}` });
  const users = { fill: named('fill'), snapshot: named('snapshot'), publish: named('publish') };
  const worker = cephWorker(users);
  cleanup.after(async () => await worker[Symbol.asyncDispose]());
  cleanup.after(() => rm(FILE, { force: true }));
  return { set, worker, longestDuring };
}

const TIMES = ['clone', 'usable', 'nova'] as const;
type Timed = Record<(typeof TIMES)[number], number[]>;

async function benchNative(site: Site, rounds: number): Promise<BenchRow[]> {
  const times: Timed = { clone: [], usable: [], nova: [] };
  const gaps = { published: [] as number[], nova: [] as number[], idle: [] as number[] };
  for (let round = 0; round < rounds + 1; round += 1) {
    const isWarm = round > 0;
    for (const name of shuffled(TIMES)) {
      const took = await WAYS[name](site);
      if (isWarm) times[name].push(took.ms);
      if (isWarm && name === 'usable') gaps.published.push(took.gapMs);
      if (isWarm && name === 'nova') gaps.nova.push(took.gapMs);
    }
    const second = () => new Promise((resolve) => setTimeout(resolve, 1000));
    if (isWarm) gaps.idle.push(await site.longestDuring(second));
  }
  const row = (what: string, ours: readonly number[], target: number): BenchRow => {
    const ratio = pairedRatio(times.nova, ours);
    const note = `siphon ${told(ours)}; suspend, qemu-img convert to a file, resume, rbd import ${told(times.nova)}; 8 GiB with 1 GiB of data`;
    const against = 'a copy to a file and back';
    return { case: what, against, ratio, target, met: ratio >= target, n: rounds, note };
  };
  const outage = pairedRatio(gaps.published, gaps.idle);
  return [
    row('the clone alone', times.clone, CLONE_TARGET),
    row('published and usable, the whole command', times.usable, USABLE_TARGET),
    {
      case: 'longest gap in the guest while its set is published and flattened',
      against: 'a second of nothing',
      ratio: outage,
      target: null,
      met: null,
      n: rounds,
      note: `${told(gaps.published)}; while nothing happens ${told(gaps.idle)}; with a copy to a file ${told(gaps.nova)}`,
    },
  ];
}

interface Took {
  readonly ms: number;
  readonly gapMs: number;
}

const WAYS: Readonly<Record<(typeof TIMES)[number], (site: Site) => Promise<Took>>> = {
  async clone({ set, worker }) {
    const made = await placeOf(set, 'clone');
    const { ms } = await timed(() => worker.call('makeClone', made, deadline));
    await worker.call('removeClone', { at: made.to }, deadline);
    return { ms, gapMs: 0 };
  },
  async usable({ set, longestDuring }) {
    let ms = 0;
    const publish = ['publish', set.id, '--to', 'images', '--name', NAME];
    const gapMs = await longestDuring(async () => {
      ({ ms } = await timed(() => must('siphon', ...publish)));
      // A flatten that is under way belongs to what the guest may notice.
      await until('it is independent', async () => (await openJobs()) === 0, 600);
    });
    await removeImage(`images/${NAME}`);
    return { ms, gapMs };
  },
  async nova({ longestDuring }) {
    let ms = 0;
    const copy = `virsh -q suspend ${NAME}
      qemu-img convert -f raw -O raw rbd:${DISK} ${FILE}
      virsh -q resume ${NAME}
      rbd import --no-progress ${FILE} images/${NAME}-nova
      rbd snap create --no-progress images/${NAME}-nova@snap`;
    const gapMs = await longestDuring(async () => ({ ms } = await timed(() => sh(copy))));
    await removeImage(`images/${NAME}-nova`);
    await rm(FILE);
    return { ms, gapMs };
  },
};

/** What makes an image of the set's disk in the pool `images`, under siphon's mark. */
async function placeOf(
  set: SnapshotSet,
  what: string,
): Promise<{ readonly to: CloneAt; readonly entry: PublishEntry }> {
  const [disk] = set.disks;
  if (disk === undefined) throw new Error('a set without disks');
  const pools = await sh('ceph osd lspools --format json');
  const all = JSON.parse(pools) as { poolnum: number; poolname: string }[];
  const poolId = all.find(({ poolname }) => poolname === 'images')?.poolnum ?? -1;
  const { namespace, imageId, snapId } = disk;
  const snap = `siphon.${set.id}`;
  const source: SnapshotAt = { poolId: disk.poolId, namespace, imageId, snapId, snap };
  return {
    to: { poolId, namespace: '', marked: `siphon.${NAME}.${what}` },
    entry: { schema: 1, host: 'bench', set: set.id, source, format: 2, image: `${NAME}-${what}` },
  };
}

async function benchCopy({ set, worker }: Site, rounds: number): Promise<BenchRow> {
  const spec = `${DISK}@siphon.${set.id}`;
  const to = `images/${NAME}-tool`;
  const ways = {
    siphon: async () => {
      const made = await placeOf(set, 'copy');
      const { ms } = await timed(() => worker.call('makeCopy', made, deadline));
      await worker.call('removeClone', { at: made.to }, deadline);
      return ms;
    },
    convert: () => byTool(`qemu-img convert -f raw -O raw rbd:${spec} rbd:${to}`, to),
    export: () =>
      byTool(`rbd export --no-progress ${spec} - | rbd import --no-progress - ${to}`, to),
  };
  const names = ['siphon', 'convert', 'export'] as const;
  const times: Record<(typeof names)[number], number[]> = { siphon: [], convert: [], export: [] };
  for (let round = 0; round < rounds; round += 1)
    for (const name of shuffled(names)) times[name].push(await ways[name]());
  const best = times.convert.map((ms, round) => Math.min(ms, times.export[round] ?? ms));
  const ratio = pairedRatio(best, times.siphon);
  return {
    case: 'a full copy, where no clone can be made',
    against: 'the faster of qemu-img convert and rbd export | rbd import',
    ratio,
    target: COPY_TARGET,
    met: ratio >= COPY_TARGET,
    n: rounds,
    note: `siphon ${told(times.siphon)}, qemu-img convert ${told(times.convert)}, rbd export | rbd import ${told(times.export)}`,
  };
}

async function byTool(script: string, image: string): Promise<number> {
  const { ms } = await timed(() => sh(script));
  await removeImage(image);
  return ms;
}

const told = (values: readonly number[]): string => {
  const [low, high] = [quantile(values, 0), quantile(values, 1)];
  return `${(median(values) / 1000).toFixed(2)} s (${(low / 1000).toFixed(2)} to ${(high / 1000).toFixed(2)})`;
};
