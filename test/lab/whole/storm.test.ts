// A storm: many domains start and stop at once, each with a base in the cache and a disk to be snapshotted. All start, libvirt
// answers all the while, and every stop has its set, or a word why not.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import fc from 'fast-check';
import type { JobsAnswer, StatusAnswer } from '../../../src/wire/api.ts';
import type { Base } from '../../../src/wire/vocabulary.ts';
import { buttonDisk, buttonWorks } from '../support/button.ts';
import { defineDomain, installHook, isOff, overlayOn } from '../support/domains.ts';
import { must, run, sh, timed, until } from '../support/host.ts';
import { fileCleanup, freshPool, importSource, scratchFolder } from '../support/images.ts';
import { answering, siphonJson } from '../support/siphon.ts';

/** A sample here; the whole storm in a soak run. */
const DOMAINS = process.env['SIPHON_SOAK'] === undefined ? 12 : 50;
/** What `virsh list` may take: it waits for one domain's hook after the other, and the machine is full. */
const LIST_MS_MAX = 2000 * DOMAINS;
const POLICY = '/etc/siphon/policies.d/storm.toml';
const NAMES = Array.from({ length: DOMAINS }, (_, index) => `storm-${index}`);
const IMAGES = NAMES.join(' ');
const cleanup = fileCleanup();
let source = '';

before(async () => {
  await answering();
  await installHook();
  const pool = await freshPool(cleanup);
  const scratch = await scratchFolder(cleanup);
  source = await importSource(await buttonDisk(`${scratch}/button`), `${pool}/button`);
  await must('siphon', 'warm', source);
  await writeFile(
    POLICY,
    '[[policy]]\nname = "storm"\ndomains = ["storm-*"]\non = ["shutdown", "destroyed"]\nkeep_last = 2\n',
  );
  cleanup.after(() => run('rm', ['-f', POLICY]));
  await sh(`printf '%s\\n' ${IMAGES} | xargs -P 4 -I{} rbd create --size 4M vms/{}`);
  cleanup.after(() =>
    sh(`printf '%s\\n' ${IMAGES} | xargs -P 4 -I{} sh -c '
      rbd snap purge --no-progress vms/{} && rbd rm --no-progress vms/{}'`),
  );
  const overlay = await overlayOn(source, `${scratch}/overlay.qcow2`, '1M');
  for (const name of NAMES) {
    const path = `${scratch}/${name}.qcow2`;
    await must('cp', overlay, path);
    const disks = [
      { kind: 'file', path },
      { kind: 'rbd', image: `vms/${name}` },
    ] as const;
    await defineDomain(cleanup, { name, memoryMiB: 16, boots: 'vda', disks: [...disks] });
  }
  await must('systemctl', 'restart', 'siphond');
  await answering();
});

/** The longest `virsh list` while the work goes on. */
async function slowestListDuring(work: Promise<unknown>): Promise<number> {
  const ended = work.then(() => 'ended' as const);
  let slowestMs = 0;
  for (;;) {
    const list = timed(() => must('virsh', 'list', '--all'));
    slowestMs = Math.max(slowestMs, (await list).ms);
    if ((await Promise.race([ended, Promise.resolve('goes on')])) === 'ended') return slowestMs;
  }
}

const running = async () =>
  (await must('virsh', 'list', '--name')).split('\n').filter((name) => NAMES.includes(name));

const leased = async () =>
  (await siphonJson<Base>('get', source)).leases.filter(({ kind }) => kind === 'running');

/** The storm's stops that the journal knows, from the newest. */
async function stops(): Promise<JobsAnswer['jobs']> {
  const jobs = await siphonJson<JobsAnswer['jobs']>('jobs', '--limit', '1000');
  return jobs.filter(({ kind, subject }) => kind === 'snapshot' && subject.startsWith('storm-'));
}

const ways = fc.array(fc.constantFrom('shutdown', 'destroy'), {
  minLength: DOMAINS,
  maxLength: DOMAINS,
});

test(`${DOMAINS} domains start and stop at once`, { timeout: 600_000 }, async (t) => {
  await fc.assert(
    fc.asyncProperty(ways, async (stopWays) => {
      const all = (act: (name: string, index: number) => Promise<unknown>) =>
        Promise.all(NAMES.map(act));
      const startPhase = await timed(() =>
        slowestListDuring(all((name) => must('virsh', '-q', 'start', name))),
      );
      assert.equal((await running()).length, DOMAINS);
      await until('each is known to run', async () => (await leased()).length === DOMAINS);
      await all(buttonWorks);
      const stopPhase = await timed(() =>
        slowestListDuring(
          all(async (name, index) => {
            await must('virsh', '-q', stopWays[index] ?? '', name);
            await isOff(name);
          }),
        ),
      );
      for (const { ms, result } of [startPhase, stopPhase]) {
        t.diagnostic(`${ms.toFixed()} ms, of which the slowest virsh list ${result.toFixed()} ms`);
        assert.ok(result < LIST_MS_MAX, `${result} ms`);
      }
    }),
    { numRuns: 1, verbose: true },
  );
  const ended = await until(
    'every stop has come to its end',
    async () => {
      const found = await stops();
      const isEnded = found.every(({ state }) => state !== 'open');
      return found.length >= DOMAINS && isEnded ? found : undefined;
    },
    240,
  );
  t.diagnostic(`${ended.filter(({ state }) => state === 'done').length} sets`);
  for (const { subject, state, error } of ended) {
    const isSaid = state === 'done' || error?.why?.startsWith('skipped: ') === true;
    assert.ok(isSaid, `${subject}: ${state} ${error?.why}`);
  }
  const stopped = new Set(ended.map(({ subject }) => subject.split(' ')[0]));
  assert.deepEqual([stopped.size, ended.length], [DOMAINS, DOMAINS]);
  const status = await siphonJson<StatusAnswer>('status');
  assert.deepEqual([status.jobsOpen, status.spooled], [0, 0]);
  assert.deepEqual(await leased(), []);
});

test('the backlog of the hook’s socket holds two calls of each of a hundred domains', async () => {
  const [, queue = '0'] = /^u_str +LISTEN +\d+ +(\d+)/m.exec(
    await must('ss', '-xlH', 'src', '/run/siphon/hook.sock'),
  ) ?? [''];
  assert.ok(Number(queue) >= 200, `it holds ${queue}`);
});
