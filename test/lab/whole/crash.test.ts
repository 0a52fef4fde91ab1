// kill -9 of a fill's worker and of siphond in mid-fill, at random times: nothing half made is ever visible.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import type { JobsAnswer } from '../../../src/wire/api.ts';
import { must, run, sh, until } from '../support/host.ts';
import { bigSource, fileCleanup, freshPool } from '../support/images.ts';
import {
  answering,
  filesOfBases,
  fillWorkers,
  siphon,
  siphondPid,
  siphonJson,
} from '../support/siphon.ts';

/** A seeded sample here; the large count in a soak run. */
const RUNS = process.env['SIPHON_SOAK'] === undefined ? 3 : 60;
const context = fileCleanup();
let source = '';
let want = '';

before(async () => {
  const pool = await freshPool(context);
  source = await bigSource(`${pool}/victim`, 256);
  want = await sh(`rbd export --no-progress ${source.slice(4)} - | openssl dgst -sha256 -r`);
});

/** Whatever is under a base's name now is whole: its content is the source's. */
async function onlyWholeBases(): Promise<void> {
  const path = await must('siphon', 'path', source);
  if ((await run('test', ['-e', path])).code !== 0) return;
  const have = await sh(
    `qemu-img convert -f qcow2 -O raw ${path} /var/lib/siphon/victim.raw; openssl dgst -sha256 -r </var/lib/siphon/victim.raw; rm /var/lib/siphon/victim.raw`,
  );
  assert.equal(have.split(' ')[0], want.split(' ')[0]);
}

async function evicted(): Promise<void> {
  const ran = await siphon('evict', source);
  // 5: it is being filled, which siphond asked for again.
  assert.ok([0, 4, 5].includes(ran.code), ran.stderr);
}

/** Starts a fill and gives a promise of its end; resolves when its worker is there. */
async function fillUnderWay() {
  const warm = siphon('warm', source);
  await until('a fill runs', async () => (await fillWorkers()).length > 0 || undefined);
  return { warm };
}

const delays = fc.integer({ min: 0, max: 500 });

test('kill -9 of the worker', async () => {
  await fc.assert(
    fc.asyncProperty(delays, async (ms) => {
      await evicted();
      const { warm } = await fillUnderWay();
      await sh(`sleep ${ms / 1000}`);
      for (const pid of await fillWorkers()) await run('kill', ['-9', String(pid)]);
      await warm;
      await onlyWholeBases();
      const again = await siphon('warm', source);
      assert.equal(again.code, 0, again.stderr);
      await onlyWholeBases();
    }),
    { numRuns: RUNS, verbose: true },
  );
});

test('kill -9 of siphond', async () => {
  await fc.assert(
    fc.asyncProperty(delays, async (ms) => {
      await evicted();
      const { warm } = await fillUnderWay();
      await sh(`sleep ${ms / 1000}`);
      await must('kill', '-9', String(await siphondPid()));
      await warm;
      await answering();
      await onlyWholeBases();
      const again = await siphon('warm', source);
      assert.equal(again.code, 0, again.stderr);
      await onlyWholeBases();
    }),
    { numRuns: RUNS, verbose: true },
  );
});

test('afterwards no job is open, no partial file is there, no worker is left', async () => {
  await until('all jobs ended', async () => {
    const jobs = await siphonJson<JobsAnswer['jobs']>('jobs', '--limit', '1000');
    return jobs.every((job) => job.state !== 'open') || undefined;
  });
  assert.deepEqual(
    (await filesOfBases()).filter((file) => file.startsWith('.')),
    [],
  );
  assert.deepEqual(await fillWorkers(), []);
});
