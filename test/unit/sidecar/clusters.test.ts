// Which cluster a source, or a disk, is in: an unknown fsid is refused only when every cluster is known.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openClusters } from '../../../src/sidecar/clusters.ts';
import type { ClusterConfig } from '../../../src/sidecar/config/load.ts';
import type { CephSettings } from '../../../src/wire/worker-protocol.ts';
import { keptLog, temporaryFolder } from './support/quiet.ts';

const EAST = 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee';
const WEST = 'bbbbbbbb-bbbb-cccc-dddd-eeeeeeeeeeee';
const user = { name: 'siphon' };

const configOf = (name: string, settings: CephSettings): ClusterConfig => {
  return { name, isDefault: name === 'west', isTickPoolStated: false, settings };
};

function open(confs: { east: string; west: string } = { east: '/e.conf', west: '/w.conf' }) {
  const settings = { timeoutMs: 1000, users: { fill: user, snapshot: user, publish: user } };
  return openClusters({
    clusters: [
      configOf('east', { ...settings, conf: confs.east, fsid: EAST }),
      configOf('west', { ...settings, conf: confs.west, fsid: WEST }),
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
    namespace: '',
    image: 'x',
    hosts: hosts.map((each) => {
      const [name = '', port] = each.split(' ');
      return port === undefined ? { name } : { name, port: Number(port) };
    }),
    ...(configFile === undefined ? {} : { configFile }),
  });

  /** East and west share an address; `mon` lines as given. */
  async function withConfs(east: string, west: string) {
    const folder = await temporaryFolder();
    const confs = { east: join(folder.path, 'e.conf'), west: join(folder.path, 'w.conf') };
    await writeFile(confs.east, `[global]\nmon host = ${east}\n`);
    await writeFile(confs.west, `[global]\nmon_host = ${west}\n`);
    const clusters = open(confs);
    const nameOf = async (asked: ReturnType<typeof disk>) => (await clusters.ofDisk(asked)).name;
    const close = async () => {
      await clusters[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    };
    return { confs, nameOf, [Symbol.asyncDispose]: close };
  }

  it('is the one whose conf or monitors the XML names, by their ports', async () => {
    await using two = await withConfs(
      '[v2:10.0.0.1:3310/0,v1:10.0.0.1:6799/0]',
      '[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]',
    );
    const { nameOf, confs } = two;
    assert.equal(await nameOf(disk([], confs.east)), 'east');
    assert.equal(await nameOf(disk(['10.0.0.1 6789'])), 'west');
    assert.equal(await nameOf(disk(['10.0.0.1 6799'])), 'east');
    assert.equal(await nameOf(disk(['10.0.0.1'])), 'west');
    const error = { code: 'not-found', message: /vms\/x: .* monitors 10\.0\.0\.9:1; .*east.*west/ };
    await assert.rejects(nameOf(disk(['10.0.0.9 1'])), error);
    await assert.rejects(nameOf(disk([], '/nonexistent.conf')), { code: 'not-found' });
  });

  it('could not be told where the monitors are those of two', async () => {
    await using two = await withConfs('10.0.0.1', '10.0.0.1:6789 10.0.0.2');
    const error = { code: 'refused', message: /could not tell which cluster .*east, west/ };
    await assert.rejects(two.nameOf(disk(['10.0.0.1'])), error);
    assert.equal(await two.nameOf(disk(['10.0.0.2'])), 'west');
  });

  it('is found where one says a name and the other its address', async () => {
    await using two = await withConfs('localhost', '10.0.0.1');
    assert.equal(await two.nameOf(disk(['127.0.0.1 6789'])), 'east');
  });
});
