// Stops while Ceph does not answer, or lets nobody in: nothing is lost that can still be done, and nothing is left behind.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { domainXml, UUIDS } from '../hook/domains.ts';
import { assertTidy, isError, until } from './tidy.ts';
import { failure, Life, releaseOf, World } from './world.ts';

const [UUID] = UUIDS;
const XML = domainXml(UUID, ['root', 'data']);

function world(): World {
  const made = new World(['root', 'data', 'other']);
  made.domainXml = XML;
  return made;
}

test('while Ceph is down what was taken stays on record, and goes when it is back', async () => {
  const made = world();
  let isDown = false;
  made.beforeCeph = (method) => {
    if (method === 'putSet') isDown = true;
    if (isDown) throw failure('unavailable');
  };
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  await until(() => made.openJobs().length === 2);
  assert.equal(made.snapshots().length, 2);
  await new Promise((resolve) => setTimeout(resolve, 150)); // the second look, which fails too
  assert.deepEqual(await life.room.recover(), { ended: 0, left: 2 });
  isDown = false;
  made.beforeCeph = () => undefined;
  made.nowMs += 60_000;
  assert.deepEqual(await life.room.recover(), { ended: 2, left: 0 });
  assertTidy(made);
  assert.equal(made.catalogue.size, 1, 'the stop has its set');
});

/** A stop while Ceph does not answer. */
async function stopWhileDown(made: World): Promise<Life> {
  made.beforeCeph = () => {
    throw failure('unavailable');
  };
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  return life;
}

test('a stop while Ceph is down waits, and has its set when it is back; also after kill -9', async () => {
  for (const isKilled of [false, true]) {
    const made = world();
    const before = await stopWhileDown(made);
    assert.deepEqual(
      made.openJobs().map((job) => job.step),
      ['waiting'],
    );
    const life = isKilled ? new Life(made) : before;
    for (let each = 0; each < 5; each += 1) {
      made.nowMs += 60_000;
      assert.deepEqual(await life.room.recover(), { ended: 0, left: 1 });
    }
    const warnings = isKilled ? [...before.warnings, ...life.warnings] : life.warnings;
    assert.deepEqual(warnings, ['it waits until this can be told'], 'said once');
    made.beforeCeph = () => undefined;
    assert.deepEqual(await life.room.recover(), { ended: 1, left: 0 });
    assertTidy(made);
    const [set] = made.catalogue.values();
    assert.deepEqual([set?.reason, set?.policy], ['shutdown', 'daily']);
    assert.equal(made.jobs.size, 1);
  }
});

test('kill -9 at every effect of the retry: the stop still has exactly one set', async () => {
  for (let endsAt = 1; ; endsAt += 1) {
    const made = world();
    await stopWhileDown(made);
    made.beforeCeph = () => undefined;
    made.nowMs += 60_000;
    const killed = new Life(made, endsAt);
    await killed.recover();
    made.nowMs += 60_000;
    const last = new Life(made);
    await last.recover();
    assertTidy(made);
    assert.equal(made.catalogue.size, 1, `killed at effect ${endsAt}`);
    if (!killed.isDead) break;
  }
});

test('a set that waits is discarded by the next start, and said to be', async () => {
  for (const isNewLife of [false, true]) {
    const made = world();
    const before = await stopWhileDown(made);
    const life = isNewLife ? new Life(made) : before;
    made.nowMs += 1000;
    assert.equal(await life.room.onPrepare(UUID, made.nowMs + 5000), 'overtaken');
    assert.match(made.lastJob()?.error?.why ?? '', /^discarded: the domain started before it/);
    made.beforeCeph = () => undefined;
    assert.deepEqual(await life.room.recover(), { ended: 0, left: 0 });
    assertTidy(made);
    assert.equal(made.catalogue.size, 0);
  }
});

test('an older start that is heard of late, and another domain’s, leave it waiting', async () => {
  const made = world();
  const life = await stopWhileDown(made);
  assert.equal(await life.room.onPrepare(UUID, 0), 'none');
  assert.equal(await life.room.onPrepare(UUIDS[1], made.nowMs + 5000), 'none');
  assert.equal(made.openJobs().length, 1);
});

test('the next stop, where its start was not heard of, takes the place of a set that waits', async () => {
  const made = world();
  const life = await stopWhileDown(made);
  made.beforeCeph = () => undefined;
  made.nowMs += 60_000;
  life.room.onRelease({ ...releaseOf(XML), atMs: made.nowMs });
  await life.settle();
  assertTidy(made);
  assert.equal(made.catalogue.size, 1);
  assert.deepEqual(
    [...made.jobs.values()].map((job) => job.state),
    ['cancelled', 'done'],
  );
});

test('after a day a set that waits is given up, and said to be', async () => {
  const made = world();
  const life = await stopWhileDown(made);
  made.nowMs += 24 * 3_600_000 + 1;
  await life.room.recover();
  assert.deepEqual(made.openJobs(), []);
  assert.match(made.lastJob()?.error?.why ?? '', /given up after 24 h/);
});

test('a set that waits can be cancelled, and an operator’s never waits', async () => {
  const made = world();
  const life = await stopWhileDown(made);
  const [begun] = await life.room.create(['vm']);
  await assert.rejects(begun?.finished as Promise<unknown>, isError('unavailable'));
  assert.deepEqual(
    [...made.jobs.values()].map((job) => job.state),
    ['open', 'failed'],
  );
  life.journal.cancel(made.openJobs()[0]?.id ?? '');
  await life.room.recover();
  assert.deepEqual(made.openJobs(), []);
});

test('no key during recovery: what was taken stays on record, said once, and goes with the key', async () => {
  const made = world();
  // Ends as soon as all snapshots are there.
  made.beforeCeph = (method) => (method === 'putSet' ? new Promise(() => undefined) : undefined);
  new Life(made).room.onRelease(releaseOf(XML));
  await until(() => made.lastJob()?.step === 'taken');
  made.image({ image: 'root' }).snaps.clear();
  made.beforeCeph = () => {
    throw failure('denied');
  };
  const life = new Life(made);
  for (let each = 0; each < 3; each += 1) {
    assert.deepEqual(await life.room.recover(), { ended: 0, left: 1 });
  }
  assert.deepEqual(life.warnings, ['it stays open until this is put right']);
  made.beforeCeph = () => undefined;
  made.nowMs += 60_000;
  await life.recover();
  assertTidy(made);
});
