// Armed snapshots with three monitors, in a lab of its own (test/outside/armed.test.ts): they ride there too, and without a quorum
// nothing is armed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatingError } from '../../../src/wire/errors.ts';
import { must, timed, until } from '../support/host.ts';
import { fileCleanup, freshPool } from '../support/images.ts';
import { cephWorker, failing, json, makeUsers, soon } from '../worker/ceph-worker.ts';
import { armed, prepare, takeMany } from './sets.ts';

const cleanup = fileCleanup();
const COUNT = process.env['SIPHON_SOAK'] ? 40 : 3;
const OTHERS = ['ceph-mon-b', 'ceph-mon-c'];
const tell = (signal: string) => must('systemctl', 'kill', '-s', signal, ...OTHERS);

function unlessUnavailable(error: unknown): false {
  if (error instanceof OperatingError && error.code === 'unavailable') return false;
  throw error;
}

test('with three monitors in quorum they ride; without a quorum nothing is armed', async () => {
  const { quorum } = await json<{ quorum: number[] }>('ceph', 'quorum_status');
  assert.equal(quorum.length, 3);
  const pool = await freshPool(cleanup);
  await using ceph = cephWorker(await makeUsers(cleanup, pool));
  const disks = ['a', 'b'].map((image) => ({ pool, namespace: '', image }));
  for (const { image } of disks) await must('rbd', 'create', '--size', '8M', `${pool}/${image}`);
  const { holdMs, intervalMs } = await takeMany('three monitors', COUNT, ceph, disks);
  assert.ok(holdMs < 0.4 * intervalMs, `${holdMs} of ${intervalMs} ms`);

  const prepared = await prepare(ceph, disks);
  await tell('STOP');
  try {
    const { ms } = await timed(() => failing(ceph.call('board', {}, soon), 'unavailable', /./));
    assert.ok(ms < 8000, `it said so after ${ms} ms`);
  } finally {
    await tell('CONT');
  }
  // A tick of before may still be on its way to its timeout, and fail who joins it.
  const arms = () => armed(ceph, 0).then(() => true, unlessUnavailable);
  await until('it arms again', arms, 60);
  await ceph.call('dropPrepared', { prepared }, soon);
  await takeMany('with a quorum again', 1, ceph, disks);
});
