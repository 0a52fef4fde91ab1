// kill -9 of siphond and of its ceph worker while disks are put back and while that is undone: at each step of the journal, and at random
// moments after it. Then the pool holds exactly what siphon claims, and the disks are all restored, or none is.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { must, type Ran, run, until } from '../support/host.ts';
import { fileCleanup } from '../support/images.ts';
import { type Restorable, restorable } from '../support/restored.ts';
import { answering, siphon, siphondPid } from '../support/siphon.ts';

const VICTIMS = ['siphond', 'the ceph worker'] as const;
const STEPS = ['begun', 'cloning', 'placing', 'taking back'] as const;
const IS_SOAK = process.env['SIPHON_SOAK'] === '1';
const SEED = Number(process.env['SIPHON_SEED'] ?? Date.now() % 1_000_000);

interface Kill {
  readonly who: (typeof VICTIMS)[number];
  readonly step: (typeof STEPS)[number];
  /** From when the journal has the step. */
  readonly afterMs: number;
}

/** Each step with one of the victims; in a soak with both, and often. */
function plan(): readonly Kill[] {
  const moments = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 64, maxLength: 64 });
  const [afterMs = []] = fc.sample(moments, { seed: SEED, numRuns: 1 });
  const rounds = IS_SOAK ? 12 : 1;
  const all = Array.from({ length: rounds }, (_, round) =>
    STEPS.map((step, index) => ({ step, who: VICTIMS[(index + round + SEED) % 2] ?? 'siphond' })),
  );
  return all.flat().map((kill, index) => ({ ...kill, afterMs: afterMs[index % 64] ?? 0 }));
}

const cleanup = fileCleanup();
let disks: Restorable;

before(async () => {
  await answering();
  // A dead client's watch is waited for: not for half a minute each time.
  await must('ceph', 'config', 'set', 'osd', 'osd_client_watch_timeout', '10');
  cleanup.after(() => run('ceph', ['config', 'rm', 'osd', 'osd_client_watch_timeout']));
  disks = await restorable(cleanup, 'restore-crash');
});

/** Returns when the journal has the step, or the command has ended. */
async function comes(step: Kill['step'], over: AbortSignal): Promise<void> {
  const journal = new Database('/var/lib/siphon/siphon.db', { readonly: true });
  const query = journal.prepare<[number], { readonly step: string }>(
    "SELECT step FROM jobs WHERE kind IN ('restore', 'undo-restore') AND created_at_ms >= ? ORDER BY created_at_ms DESC LIMIT 1",
  );
  const fromMs = Date.now() - 50;
  while (query.get(fromMs)?.step !== step && !over.aborted) await delay(1);
  journal.close();
}

async function pidOf(who: Kill['who']): Promise<number> {
  if (who === 'siphond') return siphondPid();
  const { stdout } = await run('pgrep', ['-u', 'siphon', '-f', 'worker.mjs ceph']);
  return Number(stdout.split('\n')[0]);
}

/** The command, in whose middle somebody dies. */
async function disturbed({ who, step, afterMs }: Kill, ...args: string[]): Promise<Ran> {
  const pid = await pidOf(who);
  const over = new AbortController();
  const asked = siphon('restore', ...args).finally(() => over.abort());
  await comes(step, over.signal);
  await delay(afterMs);
  process.kill(pid, 'SIGKILL');
  return await asked;
}

/** A worker that was killed has a disk open until its watch is forgotten: busy, so long. */
async function restore(): Promise<void> {
  await until('the disks are replaced', async () => {
    const { code, stderr } = await siphon('restore', disks.set.id);
    assert.ok(code === 0 || code === 6, stderr);
    return code === 0;
  });
}

for (const [index, kill] of plan().entries()) {
  const { who, step, afterMs } = kill;
  test(`kill ${index} of seed ${SEED}: ${who} dies ${afterMs} ms after "${step}"`, async (t) => {
    const isUndo = step === 'taking back';
    if (isUndo) await restore();
    const { code } = await disturbed(kill, ...(isUndo ? ['--undo', disks.set.id] : [disks.set.id]));
    const found = await disks.whole();
    t.diagnostic(`exit code ${code}: ${found}`);
    if (code === 0) assert.equal(found, isUndo ? 'as before' : 'restored');
    if (found === 'restored') await must('siphon', 'restore', '--undo', disks.set.id);
    assert.equal(await disks.whole(), 'as before');
  });
}
