// Each call of librados, librbd and libvirt that a running guest's set makes, and its deletion, fails once, or does its work and its answer
// is lost. Whatever comes of it is said in words, nobody stays held, what is claimed is what is there, and the next set is taken.

import assert from 'node:assert/strict';
import { before, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { type Errors, errors, type Fault, restart } from '../support/errors.ts';
import { nothingIsLeft } from '../support/holding.ts';
import { must, until } from '../support/host.ts';
import { fileCleanup } from '../support/images.ts';
import { type Ordered, startOrdered } from '../support/ordered.ts';
import {
  allJobsEnd,
  assertAnswered,
  assertHonest,
  createSet,
  isLetGo,
  recovers,
  settles,
} from '../support/settled.ts';
import { answering, siphon, siphondPid, siphonJson } from '../support/siphon.ts';

const IS_SOAK = process.env['SIPHON_SOAK'] === '1';
const SEED = Number(process.env['SIPHON_SEED'] ?? Date.now() % 1_000_000);
/** A sample here: so many of each kind. */
const SAMPLE = { ceph: 3, libvirt: 2, start: 1 } as const;
const FREE_SECONDS = 6;

/** EIO and ETIMEDOUT; VIR_ERR_SYSTEM_ERROR and VIR_ERR_OPERATION_TIMEOUT. */
const CODES = { ceph: [5, 110], libvirt: [38, 68] } as const;
/** What they do may be done although they say that it is not. */
const CHANGES = new Set([
  'rados_write_op_operate2',
  'rbd_snap_create',
  'rbd_snap_remove_by_id',
  'virDomainAgentSetResponseTimeout',
  'virDomainFSFreeze',
  'virDomainFSThaw',
  'virDomainResume',
  'virDomainSuspend',
]);

type Asked = Pick<Fault, 'symbol' | 'number'>;
interface Case extends Fault {
  /** It is siphond's start that makes the call, and the set after it. */
  readonly isAtStart: boolean;
}

const cleanup = fileCleanup();
let guest: Ordered;
let uuid = '';
let faults: Errors;

before(async () => {
  await answering();
  guest = await startOrdered(cleanup, 'errors');
  uuid = (await must('virsh', 'domuuid', guest.name)).trim();
  faults = await errors(cleanup);
});

/** What is asked of siphon while a call fails; gives the sets of which it said that it could not delete them. */
async function takeAndDelete({ isAtStart }: Pick<Case, 'isAtStart'>): Promise<readonly string[]> {
  if (isAtStart) await restart();
  const pid = await siphondPid();
  const created = await createSet(guest);
  assertAnswered(created);
  const sets = created.code === 0 ? (JSON.parse(created.stdout) as { id: string }[]) : [];
  const kept: string[] = [];
  for (const { id } of sets) {
    const deleted = await siphon('snapshot', 'delete', id, '--json');
    assertAnswered(deleted);
    if (deleted.code !== 0) kept.push(id);
  }
  assert.equal(await siphondPid(), pid, 'siphond died of it');
  return kept;
}

/** The calls of an undisturbed one. */
async function learn(isAtStart: boolean): Promise<readonly Asked[]> {
  await faults.plan();
  await takeAndDelete({ isAtStart });
  const asked = await faults.withdraw();
  assert.deepEqual(await settles(guest), []);
  return asked;
}

const isOfLibvirt = ({ symbol }: Asked) => symbol.startsWith('vir');

/** Of the calls at siphond's start those that no other set makes. */
function casesOf(warm: readonly Asked[], start: readonly Asked[]): readonly Case[] {
  const known = new Set(warm.map(({ symbol }) => symbol));
  const seeded = fc.sample(fc.nat(), { seed: SEED, numRuns: warm.length + start.length });
  const all = [
    ...warm.map((each) => ({ ...each, isAtStart: false })),
    ...start
      .filter(({ symbol }) => !known.has(symbol))
      .map((each) => ({ ...each, isAtStart: true })),
  ];
  return all.flatMap((each, index): Case[] => {
    const codes = CODES[isOfLibvirt(each) ? 'libvirt' : 'ceph'];
    const chance = seeded[index] ?? 0;
    const code = codes[chance % 2] ?? 0;
    const ways = CHANGES.has(each.symbol) ? [false, true] : [false];
    return ways.map((isLost) => ({ ...each, code, isLost }));
  });
}

/** Of each kind as many, of different functions. */
function sampleOf(cases: readonly Case[]): readonly Case[] {
  const some = (count: number, isOne: (each: Case) => boolean) => {
    const bySymbol = [...Map.groupBy(cases.filter(isOne), ({ symbol }) => symbol).values()];
    const chosen = fc.shuffledSubarray(bySymbol, { minLength: count, maxLength: count });
    const [symbols = []] = fc.sample(chosen, { seed: SEED, numRuns: 1 });
    return symbols.flatMap((of) => fc.sample(fc.constantFrom(...of), { seed: SEED, numRuns: 1 }));
  };
  return [
    ...some(SAMPLE.ceph, (each) => !isOfLibvirt(each) && !each.isAtStart),
    ...some(SAMPLE.libvirt, (each) => isOfLibvirt(each) && !each.isAtStart),
    ...some(SAMPLE.start, ({ isAtStart }) => isAtStart),
  ];
}

/** Whether the call was made, and so failed. */
async function check(t: TestContext, fault: Case): Promise<boolean> {
  await faults.plan(fault);
  const kept = await takeAndDelete(fault);
  await until('the guest runs, thawed', () => isLetGo(guest.name, uuid), FREE_SECONDS);
  const asked = await faults.withdraw();
  const isMade = asked.some((each) => {
    return each.symbol === fault.symbol && each.number === fault.number;
  });
  if (!isMade) t.diagnostic('it was not made this time');
  await nothingIsLeft();
  const { code, stderr } = await createSet(guest);
  assert.equal(code, 0, `the next one: ${stderr}`);
  const sets = await recovers(guest);
  await assertHonest(guest, sets);
  assert.equal(sets.filter(({ id }) => !kept.includes(id)).length, 1, 'the next one');
  return isMade;
}

const told = ({ symbol, number, code, isLost, isAtStart }: Case) =>
  `${symbol} ${number}${isAtStart ? ' of a start' : ''}: ${isLost ? 'its answer is lost' : 'it fails'} (${code})`;

test('whichever call fails', { timeout: IS_SOAK ? 7_200_000 : 600_000 }, async (t) => {
  const [warm, start] = [await learn(false), await learn(true)];
  const all = casesOf(warm, start);
  t.diagnostic(`seed ${SEED}; ${warm.length} calls of a set, ${all.length} cases`);
  const chosen = IS_SOAK ? all : sampleOf(all);
  let made = 0;
  for (const each of chosen) {
    await t.test(told(each), async (t) => {
      if (await check(t, each)) made += 1;
    });
  }
  // A commit that is missed, on a busy machine, makes for more calls than there are the next time.
  assert.ok(made > 0, 'none of these calls was made');
});

test('afterwards no job is open', async () => {
  await allJobsEnd();
  assert.deepEqual(await siphonJson('snapshot', 'list', guest.name), []);
});
