// Sets that Ceph knows: of all clusters, and those that the catalogue has lost taken up once for each cluster that answers.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createAdoption, findSets } from '../../../src/sidecar/found-sets.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { CephPort } from '../../../src/wire/ports.ts';
import type { SnapshotSet } from '../../../src/wire/vocabulary.ts';

const setOf = (id: string, createdAtMs: number) => ({ id, createdAtMs }) as SnapshotSet;

function clusterOf(name: string, sets: readonly SnapshotSet[]) {
  const cluster = { name, isUp: true, asked: 0, ceph: {} as CephPort };
  const call = async () => {
    cluster.asked += 1;
    if (cluster.isUp) return { sets, closed: [`${name}/closed`] };
    throw new OperatingError({ code: 'unavailable', op: 'call', subject: name });
  };
  cluster.ceph = { call } as unknown as CephPort;
  return cluster;
}

it('finds the sets of all clusters, the newest first, and says what it could not look into', async () => {
  const clusters = [
    clusterOf('east', [setOf('a', 1), setOf('c', 3)]),
    clusterOf('west', [setOf('b', 2)]),
  ];
  const { sets, closed } = await findSets(clusters);
  assert.deepEqual(
    sets.map(({ id }) => id),
    ['c', 'b', 'a'],
  );
  assert.deepEqual(closed, ['east/closed', 'west/closed']);
  for (const cluster of clusters) cluster.isUp = false;
  await assert.rejects(findSets(clusters), { code: 'unavailable' });
});

it('takes up lost sets of each cluster once, and asks again the one that did not answer', async () => {
  const [east, west] = [clusterOf('east', [setOf('a', 1)]), clusterOf('west', [setOf('b', 2)])];
  const adopted: string[] = [];
  const said: unknown[] = [];
  const work = createAdoption({
    clusters: () => [east, west],
    adopt: (sets) => {
      adopted.push(...sets.map(({ id }) => id));
      return sets.map(({ id }) => id);
    },
    log: { info: (fields) => void said.push(fields) },
  });
  west.isUp = false;
  await assert.rejects(work(), { code: 'unavailable' });
  west.isUp = true;
  await work();
  await work();
  assert.deepEqual([adopted, east.asked, west.asked], [['a', 'b'], 1, 2]);
  assert.deepEqual(said, [{ sets: ['a'] }, { sets: ['b'] }]);
});
