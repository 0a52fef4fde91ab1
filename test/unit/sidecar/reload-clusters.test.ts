// Clusters that a reload changes, with real child processes: what is under way ends as it began, and nothing is left behind.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openClusters } from '../../../src/sidecar/clusters.ts';
import type { ClusterConfig } from '../../../src/sidecar/config/load.ts';
import type { CephPort } from '../../../src/wire/ports.ts';
import { keptLog, until } from './support/quiet.ts';

const CHILD = fileURLToPath(import.meta.resolve('../worker/fixtures/child.ts'));
const FSID = 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee';

function configOf(name: string, user: string, fsid?: string): ClusterConfig {
  const users = { fill: { name: user }, snapshot: { name: user }, publish: { name: user } };
  const settings = { conf: `/${name}.conf`, timeoutMs: 1000, users };
  return {
    name,
    isDefault: name === 'east',
    isTickPoolStated: false,
    settings: fsid === undefined ? settings : { ...settings, fsid },
  };
}

function open(...clusters: ClusterConfig[]) {
  const { log, lines } = keptLog();
  const program = { execPath: process.execPath, args: [CHILD] };
  const opened = openClusters({ clusters, program, log });
  const exited = () => lines.filter((line) => line.includes('worker exited')).length;
  return { clusters: opened, exited, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() };
}

/** The child's own methods. */
const ask = (ceph: CephPort, method: string, deadlineMs = 10_000) =>
  (ceph.call as (method: string, params: unknown, options: object) => Promise<unknown>)(
    method,
    method,
    { deadlineMs },
  );

describe('clusters that are replaced', () => {
  it('keep their worker where they are the same, and have another where they changed', async () => {
    await using world = open(configOf('east', 'a'), configOf('west', 'a'));
    const { clusters, exited } = world;
    const [east, west] = clusters.all;
    assert.ok(east && west);
    await Promise.all([ask(east.ceph, 'echo'), ask(west.ceph, 'echo')]);
    clusters.replace([configOf('east', 'b'), configOf('west', 'a'), configOf('north', 'a')]);
    assert.deepEqual(
      clusters.all.map(({ name, settings }) => [name, settings.users.fill.name]),
      [
        ['east', 'b'],
        ['west', 'a'],
        ['north', 'a'],
      ],
    );
    assert.equal(clusters.all[1], west);
    assert.equal((await clusters.ofSource({})).settings.users.fill.name, 'b');
    await until(() => exited() === 1);
    await ask(west.ceph, 'echo');
    assert.equal(exited(), 1);
  });

  it('let a running call end: its worker goes after it, at its deadline at the latest', async () => {
    await using world = open(configOf('east', 'a'));
    const { clusters, exited } = world;
    const [old] = clusters.all;
    assert.ok(old);
    await ask(old.ceph, 'echo');
    // Longer than the next worker needs to come up, on a busy machine too.
    const running = ask(old.ceph, 'hangUntilCancelled', 5000);
    const late = assert.rejects(running, { code: 'unavailable' });
    clusters.replace([configOf('east', 'b')]);
    const [now] = clusters.all;
    assert.ok(now);
    assert.equal(await ask(now.ceph, 'echo'), 'echo');
    assert.equal(exited(), 0);
    await late;
    await until(() => exited() === 1);
    assert.equal(await ask(now.ceph, 'echo'), 'echo');
  });

  it('serve work that began with them to its end, with a worker that ends with each call', async () => {
    await using world = open(configOf('east', 'a'));
    const { clusters, exited } = world;
    const [old] = clusters.all;
    assert.ok(old);
    clusters.replace([configOf('west', 'a')]);
    for (const round of [1, 2]) {
      assert.equal(await ask(old.ceph, 'echo'), 'echo');
      await until(() => exited() === round);
    }
  });

  it('are no longer found by the fsid of one that went', async () => {
    await using world = open(configOf('east', 'a', FSID));
    assert.equal((await world.clusters.byFsid(FSID)).name, 'east');
    world.clusters.replace([configOf('west', 'a', FSID.replaceAll('a', 'c'))]);
    await assert.rejects(world.clusters.byFsid(FSID), { code: 'not-found', message: /west/ });
  });

  it('leave no worker when siphond ends in the middle of it', async () => {
    await using world = open(configOf('east', 'a'));
    const { clusters, exited } = world;
    const [old] = clusters.all;
    assert.ok(old);
    await ask(old.ceph, 'echo');
    const lost = assert.rejects(ask(old.ceph, 'hangUntilCancelled'), { code: 'unavailable' });
    clusters.replace([configOf('east', 'b')]);
    await clusters[Symbol.asyncDispose]();
    await lost;
    assert.equal(exited(), 1);
  });
});
