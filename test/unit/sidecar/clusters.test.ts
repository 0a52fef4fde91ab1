// Which cluster a source, or a disk, is in: an unknown fsid is refused only when every cluster is known.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openClusters } from '../../../src/sidecar/clusters.ts';
import { clusterOfDisk } from '../../../src/sidecar/disk-cluster.ts';
import { keptLog, temporaryFolder } from './support/quiet.ts';

const EAST = 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee';
const WEST = 'bbbbbbbb-bbbb-cccc-dddd-eeeeeeeeeeee';
const user = { name: 'siphon' };

function open(confs: { east: string; west: string } = { east: '/e.conf', west: '/w.conf' }) {
  const settings = { timeoutMs: 1000, users: { fill: user, snapshot: user, publish: user } };
  return openClusters({
    clusters: [
      { name: 'east', isDefault: false, settings: { ...settings, conf: confs.east, fsid: EAST } },
      { name: 'west', isDefault: true, settings: { ...settings, conf: confs.west, fsid: WEST } },
    ],
    program: { execPath: '/nonexistent/node', args: [] },
    log: keptLog().log,
  });
}

describe('the cluster of a source', () => {
  it('is the one of its fsid, else the default one', async () => {
    await using clusters = open();
    assert.equal((await clusters.ofSource({ fsid: EAST })).name, 'east');
    assert.equal((await clusters.ofSource({})).name, 'west');
    assert.equal((await clusters.byFsid(WEST)).name, 'west');
  });

  it('is not found for an fsid that is nobody’s, and the error names those that are', async () => {
    await using clusters = open();
    await assert.rejects(clusters.ofSource({ fsid: 'cccccccc-bbbb-cccc-dddd-eeeeeeeeeeee' }), {
      code: 'not-found',
      message: new RegExp(`east \\(${EAST}\\), west \\(${WEST}\\)`),
    });
  });
});

describe('the cluster of a disk', () => {
  const disk = (hosts: string[], configFile?: string) => ({
    pool: 'vms',
    image: 'x',
    hosts: hosts.map((name) => ({ name })),
    ...(configFile === undefined ? {} : { configFile }),
  });

  it('is the one whose conf or monitors the XML names', async () => {
    await using folder = await temporaryFolder();
    const confs = { east: join(folder.path, 'e.conf'), west: join(folder.path, 'w.conf') };
    await writeFile(
      confs.east,
      '[global]\nmon host = [v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0] mon-b.east\n',
    );
    await writeFile(
      confs.west,
      '[global]\nmon_host = 10.0.1.1:6789, [v2:[fd00::1]:3300,v1:[fd00::1]:6789]\n',
    );
    await using clusters = open(confs);
    const nameOf = async (asked: ReturnType<typeof disk>) =>
      (await clusterOfDisk(clusters.all, asked)).name;
    assert.equal(await nameOf(disk([], confs.east)), 'east');
    assert.equal(await nameOf(disk(['10.0.0.1'])), 'east');
    assert.equal(await nameOf(disk(['down', 'mon-b.east'])), 'east');
    assert.equal(await nameOf(disk(['10.0.1.1'])), 'west');
    assert.equal(await nameOf(disk(['fd00::1'])), 'west');
    assert.equal(await nameOf(disk([])), 'west');
    await assert.rejects(nameOf(disk(['10.0.0.9'])), {
      code: 'not-found',
      message: /monitor 10\.0\.0\.9/,
    });
  });

  it('is the only one there is, whatever the XML says', async () => {
    await using clusters = open();
    const [only] = clusters.all;
    assert.ok(only);
    assert.equal(await clusterOfDisk([only], disk(['10.9.9.9'])), only);
  });
});
