// One hypervisor, two clusters whose monitors share an address, the same names in both: a set is in the cluster of its disk.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { guestXml } from '../lab/support/guest.ts';

const project = path.join(import.meta.dirname, '../..');
const dir = `/run/siphon-lab/two-clusters-${process.pid}`;
const runFile = promisify(execFile);

const labSh = (...args: string[]) =>
  runFile('bash', [path.join(project, 'scripts/lab.sh'), ...args], { timeout: 120_000 });

/** A script in the host, which must succeed; gives its standard output. */
async function sh(script: string): Promise<string> {
  const argv = ['bash', '-euo', 'pipefail', '-c', script];
  const { stdout } = await labSh('exec', 'h1', '--dir', dir, '--', ...argv);
  return stdout.trim();
}

/** The second is in front, and neither names its fsid. */
const CONFIG = `
[clusters.second]
conf = "/etc/ceph/ceph2.conf"
users = { fill = "siphon-fill", snapshot = "siphon-snapshot", publish = "siphon-publish", restore = "siphon-restore" }
[clusters.first]
conf = "/etc/ceph/ceph.conf"
default = true
users = { fill = "siphon-fill", snapshot = "siphon-snapshot", publish = "siphon-publish", restore = "siphon-restore" }
`;

before(async () => {
  await labSh('up', '--dir', dir, '--clusters', '2');
  await sh(`bash ${project}/test/lab/support/prepare-host.sh`);
  await sh(`for user in fill snapshot publish restore; do
      ceph -c /etc/ceph/ceph2.conf auth get-or-create client.siphon-$user mon 'profile rbd' osd 'profile rbd' \
        -o /etc/ceph/ceph2.client.siphon-$user.keyring
    done
    for conf in ceph ceph2; do rbd -c /etc/ceph/$conf.conf create --size 16M vms/both; done
    printf %s '${CONFIG}' >/etc/siphon/siphon.toml
    systemctl restart siphond`);
});

after(() => labSh('down', '--dir', dir));

/** Asks for a set of a domain whose disk names these ports; gives what siphon said. */
async function takeSet(name: string, ...ports: readonly number[]): Promise<string> {
  const monitors = ports.map((port) => ({ host: '10.77.0.1', port }));
  const xml = guestXml({ name, disks: [{ kind: 'rbd', image: 'vms/both', monitors }] });
  await sh(`cat >/tmp/${name}.xml <<'X'\n${xml}\nX\nvirsh -q define /tmp/${name}.xml`);
  return sh(`siphon snapshot create ${name} --json 2>&1 || true`);
}

const snapshotsIn = (conf: string) =>
  sh(`rbd -c /etc/ceph/${conf}.conf snap ls vms/both --format json | jq -r '.[].name'`);

test('a set is in the cluster whose monitor, with its port, the disk names', async () => {
  for (const [name, port, conf, other] of [
    ['first', 6789, 'ceph', 'ceph2'],
    ['second', 6799, 'ceph2', 'ceph'],
  ] as const) {
    const others = await snapshotsIn(other);
    const [set] = JSON.parse(await takeSet(name, port)) as [{ id: string; fsid: string }];
    assert.equal(set.fsid, await sh(`ceph -c /etc/ceph/${conf}.conf fsid`));
    assert.equal(await snapshotsIn(conf), `siphon.${set.id}`);
    assert.equal(await snapshotsIn(other), others);
  }
});

test('where that cannot be told, or is neither, nothing is taken, and that is said', async () => {
  const both = async () => [await snapshotsIn('ceph'), await snapshotsIn('ceph2')];
  const taken = await both();
  assert.match(await takeSet('either', 6789, 6799), /could not tell which cluster it is in/);
  assert.match(await takeSet('neither', 6809), /in no configured cluster.*10\.77\.0\.1:6809/);
  assert.deepEqual(await both(), taken);
});

test('published into the other it is a full copy, and said to be one', async () => {
  const [set] = JSON.parse(await takeSet('published', 6789)) as [{ id: string }];
  const to = `--to vms --cluster second --name copy`;
  const told = JSON.parse(await sh(`siphon publish ${set.id} ${to} --json`)) as {
    fsid: string;
    images: { way: string; whyCopied: string }[];
  };
  assert.equal(told.fsid, await sh('ceph -c /etc/ceph/ceph2.conf fsid'));
  assert.equal(told.images[0]?.way, 'copied');
  assert.match(told.images[0]?.whyCopied ?? '', /another cluster/);
  await sh(`cmp <(rbd export --no-progress vms/both@siphon.${set.id} -) \
    <(rbd -c /etc/ceph/ceph2.conf export --no-progress vms/copy@snap -)`);
  const left = await sh('rados -c /etc/ceph/ceph2.conf -p vms listomapkeys siphon.publishing');
  assert.equal(left, '');
});

test('a set goes from one to the other and is the same there, and so is what changed after it', async () => {
  const [set] = JSON.parse(await takeSet('moves', 6789)) as [{ id: string }];
  await sh(`head -c 1M /dev/urandom >/tmp/new
    qemu-io -f raw -c 'write -q -s /tmp/new 3M 1M' rbd:vms/both`);
  const [later] = JSON.parse(await sh('siphon snapshot create moves --json')) as [{ id: string }];
  const digest = (conf: string, image: string) =>
    sh(`rbd -c /etc/ceph/${conf}.conf export --no-progress ${image} - | sha256sum`);
  for (const [id, since] of [[set.id], [later.id, set.id]]) {
    const more = since === undefined ? '' : `--since ${since}`;
    const file = `siphon export ${id} ${more} --to -`;
    const into = 'siphon import - --to vms --cluster second --name away --json';
    // Of another id: this host has that set already.
    const copy = JSON.parse(await sh(`${file} | ${into}`)) as { id: string };
    const away = await digest('ceph2', `vms/away@siphon.${copy.id}`);
    assert.equal(away, await digest('ceph', `vms/both@siphon.${id}`));
  }
});
