// Paused snapshot sets: a stop is recorded as skipped, an operator is refused, deleting goes on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { domainXml, UUIDS } from '../hook/domains.ts';
import { Life, releaseOf, World } from './world.ts';

const [UUID] = UUIDS;
const XML = domainXml(UUID, ['root']);

function world(): World {
  const made = new World(['root']);
  made.domainXml = XML;
  return made;
}

test('a stop is recorded as skipped, with the reason, and no snapshot is taken', async () => {
  const made = world();
  made.pauses = [{ work: 'snapshots', sinceMs: 0, claimedBy: 'alice' }];
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  const [job, ...more] = made.jobs.values();
  assert.equal(more.length, 0);
  assert.deepEqual([job?.state, job?.error?.code], ['failed', 'refused']);
  assert.match(job?.error?.why ?? '', /^skipped: paused: snapshots .* by alice since 1970/);
  assert.deepEqual([made.snapshots(), [...made.catalogue.keys()]], [[], []]);
  made.pauses = [];
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  assert.equal(made.catalogue.size, 1);
});

test('an operator is refused before anything is begun; what there is can be deleted', async () => {
  const made = world();
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  made.pauses = [{ work: 'snapshots', sinceMs: 0 }];
  const jobs = made.jobs.size;
  await assert.rejects(life.room.create([UUID]), {
    code: 'refused',
    hint: /siphon resume snapshots/,
  });
  assert.equal(made.jobs.size, jobs);
  const [set] = made.catalogue.keys();
  await life.room.remove(set ?? '').finished;
  assert.deepEqual([made.snapshots(), made.catalogue.size], [[], 0]);
});

test('paused fills do not keep a set from being taken', async () => {
  const made = world();
  made.pauses = [{ work: 'fills', sinceMs: 0 }];
  const life = new Life(made);
  life.room.onRelease(releaseOf(XML));
  await life.settle();
  assert.equal(made.catalogue.size, 1);
});
