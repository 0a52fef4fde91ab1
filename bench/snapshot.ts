// What a set costs a running guest: how long it is held, armed against the same at any time, and what does and does not add to it.

import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { HoldLeads } from '../src/snapshot/hold-plan.ts';
import { type Member, takeHeld } from '../src/snapshot/holds.ts';
import type { CephPort } from '../src/wire/ports.ts';
import type { SnapshotSet } from '../src/wire/vocabulary.ts';
import { buttonDisk, buttonWorks } from '../test/lab/support/button.ts';
import { guestXml } from '../test/lab/support/guest.ts';
import { holdingWorker } from '../test/lab/support/holding.ts';
import { must, sh, timed } from '../test/lab/support/host.ts';
import type { Cleanup } from '../test/lab/support/images.ts';
import { otherCommits } from '../test/lab/support/meanwhile.ts';
import {
  areOfOneInstant,
  numbersAt,
  type Ordered,
  startOrdered,
} from '../test/lab/support/ordered.ts';
import { siphonJson } from '../test/lab/support/siphon.ts';
import { cephWorker } from '../test/lab/worker/ceph-worker.ts';
import { benchPause } from './pause.ts';
import { type BenchRow, quantile, shuffled } from './row.ts';

const ARMED_TARGET = 0.25;
const ARMED_MS_P99_MAX = 400;
const FROZEN_TARGET = 0.5;
const TOGETHER = 20;
const TOGETHER_TARGET = 2;
const ORDERED_SETS = 60;
/** Of the lab's configuration (test/lab/support/prepare-host.sh). */
const USERS = {
  fill: { name: 'siphon-fill' },
  snapshot: { name: 'siphon-snapshot' },
  publish: { name: 'siphon-publish' },
};

type Way = 'armed' | 'unarmed';

export async function* benchSnapshot(options: {
  readonly rounds: number;
}): AsyncGenerator<BenchRow> {
  const undos: (() => Promise<unknown>)[] = [];
  const cleanup: Cleanup = { after: (undo) => void undos.push(undo) };
  try {
    const guest = await startOrdered(cleanup, 'bench-held');
    await using site = await openSite(guest);
    yield await benchHold(site, options.rounds, 'quiet');
    yield await benchHold(site, options.rounds, 'noisy');
    yield await benchFrozen(site, options.rounds);
    yield await benchPause(cleanup, options.rounds);
    yield await benchOrder(guest);
    yield* await benchSizes(cleanup);
    yield await benchTogether(cleanup);
  } finally {
    for (const undo of undos.toReversed()) await undo();
  }
}

interface Site extends AsyncDisposable {
  /** Takes and removes a set of the guest's disks; gives for how long it was held, in ms, and the misses before. */
  hold(way: Way, quiesce: 'none' | 'require'): Promise<{ holdMs: number; misses: number }>;
}

/** siphon's own workers and code, but for the journal; the way that is not armed asks for its snapshots at any time. */
async function openSite(guest: Ordered): Promise<Site> {
  await using stack = new AsyncDisposableStack();
  const log = { info: () => undefined, warn: () => undefined };
  const ceph = stack.use(cephWorker(USERS));
  const libvirt = stack.use(await holdingWorker());
  const domainUuid = (await must('virsh', 'domuuid', guest.name)).trim();
  const wait = (ms: number, signal: AbortSignal) =>
    delay(ms, undefined, { signal }).catch(() => undefined);
  const counts = { commitMissed: () => undefined, guestHeld: () => undefined };
  const parts = { libvirt, wait, log, counts };
  const leads = { armed: new HoldLeads(), unarmed: new HoldLeads() };
  let count = 0;
  const open = stack.move();
  return {
    async hold(way, quiesce) {
      count += 1;
      const snap = `siphon.bench-${count}`;
      const disks = guest.images.map((image) => {
        return { pool: 'vms', namespace: '', image: image.slice('vms/'.length), snap };
      });
      const remove = async () => {
        for (const image of guest.images)
          await sh(`rbd snap rm --no-progress ${image}@${snap} || true`);
      };
      const plan = { kind: 'hold', quiesce, suspends: true } as const;
      const member: Member = { domainUuid, disks, plan, discard: remove };
      await delay(Math.random() * 1000);
      const port = way === 'armed' ? ceph : unarmed(ceph);
      const [outcome] = await takeHeld({ ...parts, leads: leads[way] }, port, [member]);
      if (outcome?.kind !== 'got') throw outcome?.error ?? new Error('no outcome');
      await remove();
      const { let: gone, misses } = outcome;
      return { holdMs: gone?.holdMs ?? Number.NaN, misses };
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** As if nobody foresaw a commit. */
function unarmed(ceph: CephPort): CephPort {
  const call = (method: string, params: never, how: never): Promise<unknown> => {
    if (method === 'arm') return Promise.resolve({ unforeseen: 'nobody looks' });
    return ceph.call(method as 'arm', params, how);
  };
  return { call: call as CephPort['call'] };
}

async function holds(site: Site, rounds: number, quiesce: 'none' | 'require') {
  const taken = { armed: [] as number[], unarmed: [] as number[] };
  let misses = 0;
  for (let round = 0; round < rounds + 1; round += 1) {
    for (const way of shuffled(['armed', 'unarmed'] as const)) {
      const { holdMs, misses: missed } = await site.hold(way, quiesce);
      if (round === 0) continue;
      taken[way].push(holdMs);
      if (way === 'armed') misses += missed;
    }
  }
  return { ...taken, misses };
}

async function benchHold(site: Site, rounds: number, how: 'quiet' | 'noisy'): Promise<BenchRow> {
  await using _ = how === 'noisy' ? await otherCommits() : undefined;
  const { armed, unarmed: plain, misses } = await holds(site, rounds, 'none');
  const ratio = quantile(armed, 0.5) / quantile(plain, 0.5);
  const p99 = quantile(armed, 0.99);
  return {
    case: `hold of a running domain with two disks, armed, ${how} monitors`,
    against: 'the same, asked for at any time',
    ratio,
    target: ARMED_TARGET,
    met: ratio <= ARMED_TARGET && p99 <= ARMED_MS_P99_MAX,
    n: rounds,
    note: `armed ${told(armed)}, unarmed ${told(plain)}; p99 target ${ARMED_MS_P99_MAX} ms; ${misses} commits missed, each let go and tried again`,
  };
}

async function benchFrozen(site: Site, rounds: number): Promise<BenchRow> {
  const { armed, unarmed: plain, misses } = await holds(site, rounds, 'require');
  const ratio = quantile(armed, 0.9) / quantile(plain, 0.9);
  return {
    case: 'hold with a freeze, armed, p90',
    against: 'the same, asked for at any time',
    ratio,
    target: FROZEN_TARGET,
    met: ratio <= FROZEN_TARGET,
    n: rounds,
    note: `armed ${told(armed)}, unarmed ${told(plain)}; ${misses} commits missed`,
  };
}

const create = (...args: string[]) => siphonJson<SnapshotSet[]>('snapshot', 'create', ...args);
const remove = (sets: readonly SnapshotSet[]) =>
  must('siphon', 'snapshot', 'delete', ...sets.map(({ id }) => id));

/** The guest writes a number to one disk, then to the other; `rbd export` reads them back. */
async function benchOrder({ name, images }: Ordered): Promise<BenchRow> {
  let violations = 0;
  for (let each = 0; each < ORDERED_SETS; each += 1) {
    const sets = await create(name, '--quiesce', 'none');
    const numbers = await numbersAt(images, `siphon.${sets[0]?.id}`);
    if (!areOfOneInstant(numbers)) violations += 1;
    await remove(sets);
  }
  return {
    case: 'sets of an ordered writer that are of no one instant',
    against: 'none',
    ratio: violations,
    target: 0,
    met: violations === 0,
    n: ORDERED_SETS,
    note: `${violations} of ${ORDERED_SETS} sets of two disks, read by rbd export`,
  };
}

/** Guests of a boot sector, with empty disks of these sizes beside it. */
async function startSmall(cleanup: Cleanup, name: string, sizes: readonly string[]): Promise<void> {
  const file = await must('mktemp', '-p', '/var/lib/siphon');
  const boot = `vms/${name}`;
  await must('rbd', 'import', '--no-progress', await buttonDisk(file), boot);
  const data = sizes.map((_, index) => `vms/${name}-${index}`);
  for (const [index, image] of data.entries()) {
    await must('rbd', 'create', '--size', sizes[index] ?? '1G', image);
  }
  await writeFile(
    file,
    guestXml({
      name,
      memoryMiB: 16,
      boots: 'vda',
      disks: [boot, ...data].map((image) => ({ kind: 'rbd' as const, image })),
    }),
  );
  await must('virsh', '-q', 'create', file);
  await must('rm', file);
  cleanup.after(async () => {
    await sh(`virsh -q destroy ${name} || true`);
    for (const image of [boot, ...data])
      await sh(
        `rbd snap purge --no-progress ${image} || true; rbd rm --no-progress ${image} || true`,
      );
  });
  await buttonWorks(name);
}

const SHAPES = {
  '1 GiB': ['1G'],
  '1 TiB': ['1T'],
  '2 disks': ['1G'],
  '8 disks': Array.from({ length: 7 }, () => '1G'),
} as const;

/** By disk size, and by how many disks there are: each pair as one row. */
async function benchSizes(cleanup: Cleanup): Promise<BenchRow[]> {
  const names = Object.fromEntries(
    Object.keys(SHAPES).map((shape, index) => [shape, `bench-shape-${index}`]),
  );
  for (const [shape, sizes] of Object.entries(SHAPES)) {
    await startSmall(cleanup, names[shape] ?? '', sizes);
  }
  const pairs = [
    ['1 TiB', '1 GiB'],
    ['8 disks', '2 disks'],
  ] as const;
  const rows: BenchRow[] = [];
  for (const pair of pairs) {
    const times: Record<string, number[]> = { [pair[0]]: [], [pair[1]]: [] };
    for (let round = 0; round < 10; round += 1) {
      for (const shape of shuffled(pair)) {
        const { result, ms } = await timed(() => create(names[shape] ?? '', '--quiesce', 'none'));
        if (round > 0) times[shape]?.push(ms);
        await remove(result);
      }
    }
    const [large = [], small = []] = pair.map((shape) => times[shape]);
    const ratio = quantile(large, 0.5) / quantile(small, 0.5);
    rows.push({
      case: `a set's time, ${pair[0]}`,
      against: pair[1],
      ratio,
      target: 1.2,
      met: ratio <= 1.2,
      n: large.length,
      note: `${pair[0]} ${told(large)}, ${pair[1]} ${told(small)}; the whole command`,
    });
  }
  return rows;
}

async function benchTogether(cleanup: Cleanup): Promise<BenchRow> {
  const names = Array.from({ length: TOGETHER }, (_, index) => `bench-many-${index}`);
  for (const name of names) await startSmall(cleanup, name, ['1G']);
  const times = { one: [] as number[], all: [] as number[] };
  for (let round = 0; round < 4; round += 1) {
    for (const which of shuffled(['one', 'all'] as const)) {
      const domains = which === 'one' ? names.slice(0, 1) : names;
      const { result, ms } = await timed(() => create(...domains, '--quiesce', 'none'));
      if (round > 0) times[which].push(ms);
      await remove(result);
    }
  }
  const ratio = quantile(times.all, 0.5) / quantile(times.one, 0.5);
  return {
    case: `${TOGETHER} domains at once`,
    against: 'one',
    ratio,
    target: TOGETHER_TARGET,
    met: ratio <= TOGETHER_TARGET,
    n: times.all.length,
    note: `${TOGETHER} ${told(times.all)}, one ${told(times.one)}; the whole command`,
  };
}

function told(values: readonly number[]): string {
  const at = (q: number) => quantile(values, q).toFixed();
  return `p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, p99 ${at(0.99)} ms`;
}
