// Calls of librados, librbd and libvirt that a restore and its undo make fail once, or do their work and the answer is lost. Whatever comes of
// it is said in words; then all disks are restored or none, and the pool holds exactly what siphon claims.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { type Errors, errors, type Fault } from '../support/errors.ts';
import { must } from '../support/host.ts';
import { fileCleanup } from '../support/images.ts';
import { type Restorable, restorable } from '../support/restored.ts';
import { assertAnswered } from '../support/settled.ts';
import { answering, siphon, siphondPid } from '../support/siphon.ts';

const IS_SOAK = process.env['SIPHON_SOAK'] === '1';
const SEED = Number(process.env['SIPHON_SEED'] ?? Date.now() % 1_000_000);
/** So many of the functions that change something; in a soak every call of every function. */
const SAMPLE = 2;
/** EIO and ETIMEDOUT; VIR_ERR_SYSTEM_ERROR and VIR_ERR_OPERATION_TIMEOUT. */
const CODES = { ceph: [5, 110], libvirt: [38, 68] } as const;
const CHANGES = new Set([
  'rados_write_op_operate2',
  'rbd_clone3',
  'rbd_rename',
  'rbd_trash_move',
  'rbd_trash_remove_with_progress',
  'rbd_trash_restore',
]);

const cleanup = fileCleanup();
let disks: Restorable;
let faults: Errors;

before(async () => {
  await answering();
  disks = await restorable(cleanup, 'restore-errors');
  faults = await errors(cleanup);
});

/** What is asked of siphon while a call fails. */
async function restoreAndUndo(): Promise<void> {
  const pid = await siphondPid();
  const restored = await siphon('restore', disks.set.id, '--json');
  assertAnswered(restored);
  if (restored.code === 0) {
    assertAnswered(await siphon('restore', '--undo', disks.set.id, '--json'));
  }
  assert.equal(await siphondPid(), pid, 'siphond died of it');
}

type Asked = Pick<Fault, 'symbol' | 'number'>;

function casesOf(asked: readonly Asked[]): readonly Fault[] {
  const seeded = fc.sample(fc.nat(), { seed: SEED, numRuns: asked.length });
  const all = asked.flatMap((each, index): Fault[] => {
    const chance = seeded[index] ?? 0;
    const code = CODES[each.symbol.startsWith('vir') ? 'libvirt' : 'ceph'][chance % 2] ?? 0;
    const ways = CHANGES.has(each.symbol) ? [false, true] : [false];
    return ways.map((isLost) => ({ ...each, code, isLost }));
  });
  if (IS_SOAK) return all;
  const changing = all.filter(({ symbol }) => CHANGES.has(symbol));
  const bySymbol = [...Map.groupBy(changing, ({ symbol }) => symbol).values()];
  const chosen = fc.shuffledSubarray(bySymbol, { minLength: SAMPLE, maxLength: SAMPLE });
  const [symbols = []] = fc.sample(chosen, { seed: SEED, numRuns: 1 });
  return symbols.flatMap((of) => fc.sample(fc.constantFrom(...of), { seed: SEED, numRuns: 1 }));
}

test('whichever call fails', { timeout: IS_SOAK ? 7_200_000 : 600_000 }, async (t) => {
  await faults.plan();
  await restoreAndUndo();
  const asked = await faults.withdraw();
  assert.equal(await disks.whole(), 'as before');
  t.diagnostic(`seed ${SEED}; ${asked.length} calls of a restore and its undo`);
  for (const fault of casesOf(asked)) {
    const { symbol, number, code, isLost } = fault;
    await t.test(`${symbol} ${number} ${isLost ? 'is lost' : 'fails'} (${code})`, async () => {
      await faults.plan(fault);
      await restoreAndUndo();
      await faults.withdraw();
      if ((await disks.whole()) === 'restored') {
        await must('siphon', 'restore', '--undo', disks.set.id);
      }
      assert.equal(await disks.whole(), 'as before');
    });
  }
});
