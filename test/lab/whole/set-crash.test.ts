// kill -9 of siphond and of its workers while a running guest's set is taken: at each step of the journal, and at random moments, most
// of them while the guest is held. It is free in time, and what is claimed is what is there.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { libvirtWorkers } from '../support/holding.ts';
import { must, run, until } from '../support/host.ts';
import { fileCleanup } from '../support/images.ts';
import { type Ordered, startOrdered } from '../support/ordered.ts';
import {
  allJobsEnd,
  assertAnswered,
  assertHonest,
  createSet,
  isLetGo,
  recovers,
} from '../support/settled.ts';
import { answering, siphondPid } from '../support/siphon.ts';

const STEPS = ['begun', 'taking', 'taken'] as const;
const VICTIMS = ['the ceph worker', 'siphond', 'the libvirt worker'] as const;
const IS_SOAK = process.env['SIPHON_SOAK'] === '1';
const SEED = Number(process.env['SIPHON_SEED'] ?? Date.now() % 1_000_000);
/** The guard's deadline, and a second. */
const FREE_MS = 6000;

/** A share of how long the last hold was, from the guest's freeze; or of the whole set, from the journal's first step. */
type Moment =
  | { readonly step: (typeof STEPS)[number] }
  | { readonly from: 'freeze' | 'begin'; readonly share: number };
interface Kill {
  readonly who: (typeof VICTIMS)[number];
  readonly at: Moment;
}

const victim = fc.constantFrom(...VICTIMS);
const share = fc.noBias(fc.integer({ min: 0, max: 100 })).map((percent) => percent / 100);
const randomKill = (from: 'freeze' | 'begin') =>
  fc.record({ who: victim, at: share.map((share): Moment => ({ from, share })) });
const sample = <T>(arbitrary: fc.Arbitrary<T>, numRuns: number) =>
  fc.sample(arbitrary, { seed: SEED, numRuns });

/** Here each victim at one of the steps, and once while the guest is held; in a soak at all of them, and often. */
function plan(): readonly Kill[] {
  const atSteps = VICTIMS.flatMap((who) => STEPS.map((step): Kill => ({ who, at: { step } })));
  if (IS_SOAK) {
    return [...atSteps, ...sample(randomKill('freeze'), 32), ...sample(randomKill('begin'), 9)];
  }
  const [order = []] = sample(fc.shuffledSubarray([...STEPS], { minLength: 3 }), 1);
  const shares = sample(share, VICTIMS.length);
  return VICTIMS.flatMap((who, index): Kill[] => [
    { who, at: { step: order[index] ?? 'begun' } },
    { who, at: { from: 'freeze', share: shares[index] ?? 0 } },
  ]);
}

const told = (at: Moment) =>
  'step' in at ? `at "${at.step}"` : `${at.share.toFixed(2)} after its ${at.from}`;

const cleanup = fileCleanup();
let guest: Ordered;
let uuid = '';
/** Of a set that nobody disturbs. */
const tookMs = { freeze: 0, begin: 0 };

before(async () => {
  await answering();
  // A dead client's watch is waited for: not for half a minute each time.
  await must('ceph', 'config', 'set', 'osd', 'osd_client_watch_timeout', '10');
  cleanup.after(() => run('ceph', ['config', 'rm', 'osd', 'osd_client_watch_timeout']));
  guest = await startOrdered(cleanup, 'crash');
  uuid = (await must('virsh', 'domuuid', guest.name)).trim();
  const from = performance.now();
  assertAnswered(await createSet(guest));
  tookMs.begin = performance.now() - from;
  const sets = await recovers(guest);
  tookMs.freeze = sets[0]?.holdMs ?? assert.fail('no set without a kill');
  await assertHonest(guest, sets);
});

/** What siphon has written down of the set that is being taken. */
class Watch implements Disposable {
  readonly #journal = new Database('/var/lib/siphon/siphon.db', { readonly: true });
  readonly #step = this.#journal.prepare<[number], { readonly step: string }>(
    "SELECT step FROM jobs WHERE kind = 'snapshot' AND created_at_ms >= ? ORDER BY created_at_ms DESC LIMIT 1",
  );
  readonly #fromMs = Date.now();

  get step(): string | undefined {
    return this.#step.get(this.#fromMs)?.step;
  }

  get isHeld(): boolean {
    try {
      return readFileSync(`/run/siphon/held/${uuid}.json`, 'utf8').includes('freezingMs');
    } catch {
      return false; // there is no note
    }
  }

  /** Returns at that moment, or when there will be none. */
  async comes(at: Moment, over: AbortSignal): Promise<void> {
    const isHere = () => {
      if ('step' in at) return this.step === at.step;
      return at.from === 'freeze' ? this.isHeld : this.step !== undefined;
    };
    while (!isHere() && !over.aborted) await delay(1);
    if (!('step' in at)) await delay(at.share * tookMs[at.from]);
  }

  [Symbol.dispose](): void {
    this.#journal.close();
  }
}

async function pidsOf(who: Kill['who']): Promise<readonly number[]> {
  if (who === 'siphond') return [await siphondPid()];
  if (who === 'the libvirt worker') return libvirtWorkers();
  const { stdout } = await run('pgrep', ['-u', 'siphon', '-f', 'worker.mjs ceph']);
  return stdout.split('\n').filter(Boolean).map(Number);
}

for (const [index, { who, at }] of plan().entries()) {
  test(`kill ${index} of seed ${SEED}: ${who} dies ${told(at)}`, async (t) => {
    const [pids, before] = [await pidsOf(who), await siphondPid()];
    assert.equal(pids.length, 1);
    using watch = new Watch();
    const over = new AbortController();
    const asked = createSet(guest).finally(() => over.abort());
    await watch.comes(at, over.signal);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    const freeAtMs = performance.now() + FREE_MS;
    t.diagnostic(`killed at "${watch.step}", ${watch.isHeld ? '' : 'not '}held`);
    const isFree = () => isLetGo(guest.name, uuid);
    await until('the guest runs, thawed', isFree, (freeAtMs - performance.now()) / 1000);
    await answering();
    assertAnswered(await asked);
    if (who !== 'siphond') assert.equal(await siphondPid(), before, 'siphond died of it');
    await assertHonest(guest, await recovers(guest));
  });
}

test('afterwards no job is open, and a set is taken as before', async () => {
  await allJobsEnd();
  const { code, stderr } = await createSet(guest);
  assert.equal(code, 0, stderr);
  const sets = await recovers(guest);
  assert.deepEqual(
    sets.map(({ instant, quiesced }) => [instant, quiesced]),
    [['barrier', 'filesystem']],
  );
  await assertHonest(guest, sets);
});
