// A guest moves between two hypervisors with siphon: the host that it leaves takes no set of it, whatever libvirt tells there
// (before 10.5 it gives no reason), and the host where it ends does.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { guestXml } from '../lab/support/guest.ts';
import { until } from '../lab/support/host.ts';

const project = path.join(import.meta.dirname, '../..');
const dir = `/run/siphon-lab/migration-${process.pid}`;
const runFile = promisify(execFile);
const HOSTS = ['h1', 'h2'] as const;
type Host = (typeof HOSTS)[number];

const labSh = (...args: string[]) =>
  runFile('bash', [path.join(project, 'scripts/lab.sh'), ...args], { timeout: 600_000 });

/** A script in a host, which must succeed; gives its standard output. */
async function sh(host: Host, script: string): Promise<string> {
  const argv = ['timeout', '120', 'bash', '-euo', 'pipefail', '-c', script];
  const { stdout } = await labSh('exec', host, '--dir', dir, '--', ...argv);
  return stdout.trim();
}

const POLICY = `[[policy]]
name = "moves"
domains = ["move-*"]
on = ["shutdown", "destroyed", "crashed", "unknown"]
keep_last = 5
`;

let saysWhy = true;

before(async () => {
  await labSh('up', '--dir', dir, '--hosts', '2');
  for (const host of HOSTS) {
    await sh(
      host,
      `bash ${project}/test/lab/support/prepare-host.sh
      bash /usr/lib/siphon/install-hook.sh install
      mkdir -p /etc/siphon/policies.d
      printf %s '${POLICY}' >/etc/siphon/policies.d/moves.toml
      systemctl restart siphond`,
    );
  }
  const [major = 0, minor = 0] = (await sh('h1', 'libvirtd --version | grep -o "[0-9.]*$"'))
    .split('.')
    .map(Number);
  saysWhy = major > 10 || (major === 10 && minor >= 5);
});

after(() => labSh('down', '--dir', dir));

const stateOf = (host: Host, name: string) =>
  sh(host, `virsh domstate ${name} 2>/dev/null | head -n 1 || true`);

interface SetSeen {
  readonly id: string;
  readonly reason?: string;
  readonly quiesced: string;
}

async function setsOf(host: Host, name: string): Promise<readonly SetSeen[]> {
  return JSON.parse(await sh(host, `siphon snapshot list ${name} --json`)) as SetSeen[];
}

const snapshotsOf = (image: string) =>
  sh('h1', `rbd snap ls ${image} --format json | jq -r '.[].name'`);

interface JobSeen {
  readonly state: string;
  readonly subject: string;
  readonly error?: { readonly why?: string };
}

/** Of its sets, the newest first. */
async function jobsOf(host: Host, name: string): Promise<readonly JobSeen[]> {
  const jobs = JSON.parse(await sh(host, 'siphon jobs --json')) as JobSeen[];
  return jobs.filter((job) => job.subject.startsWith(`${name} `));
}

async function put(host: Host, verb: 'define' | 'create', name: string, cmdline = '') {
  await sh('h1', `rbd create --size 32M vms/${name}`);
  const xml = guestXml({ name, cmdline, disks: [{ kind: 'rbd', image: `vms/${name}` }] });
  await sh(host, `cat >/tmp/${name}.xml <<'X'\n${xml}\nX\nvirsh -q ${verb} /tmp/${name}.xml`);
}

/** Moves it. The host that it left takes no set: where libvirt says that it moved without a job, else for this reason. */
async function move(from: Host, to: Host, why: RegExp): Promise<void> {
  // After so many seconds it moves suspended: on a busy machine it may not move otherwise.
  await sh(from, `virsh -q migrate move-live qemu+tcp://${to}/system --live --timeout 30`);
  assert.equal(await stateOf(to, 'move-live'), 'running');
  // libvirtd has called its hook by now, and what siphond begins has begun before the hook ends.
  const released = 'siphon_hook_duration_seconds_count{operation="release"';
  const metrics = 'curl -sf --unix-socket /run/siphon/read.sock http://siphon/metrics';
  assert.notEqual(await sh(from, `${metrics} | grep -F '${released}' || true`), '');
  const jobs = await until(
    `${from} has decided`,
    async () => {
      const found = await jobsOf(from, 'move-live');
      return found.every((job) => job.state !== 'open') && found;
    },
    60,
  );
  assert.equal(jobs.length, saysWhy ? 0 : 1);
  for (const job of jobs) assert.match(job.error?.why ?? '', why);
  assert.equal(await snapshotsOf('vms/move-live'), '');
  for (const host of HOSTS) assert.deepEqual(await setsOf(host, 'move-live'), []);
}

test('a guest that moved is not snapshotted, also where its domain is gone; its end is, where it ends', async () => {
  await put('h1', 'define', 'move-live', 'tiny.mkfs=1');
  await sh('h1', 'virsh -q start move-live');
  await until(
    'the guest writes',
    async () => /lock/.test(await sh('h1', 'rbd lock ls vms/move-live --format json')),
    150,
  );
  // It stays defined on h1, whose libvirt knows that it migrated; on h2 it is transient, and nothing of it stays when it leaves.
  await move('h1', 'h2', /the guest runs on another host/);
  await move('h2', 'h1', /disk vda is (locked by|open at) client/);
  await sh('h1', 'virsh -q destroy move-live');
  const [set] = await until(
    'h1 has a set',
    async () => {
      const sets = await setsOf('h1', 'move-live');
      return sets.length > 0 && sets;
    },
    60,
  );
  assert.deepEqual([set?.reason, set?.quiesced], ['destroyed', 'none']);
  assert.equal(await snapshotsOf('vms/move-live'), `siphon.${set?.id}`);
});

test('a transient domain that ends is snapshotted, if only as one of which nobody says why', async () => {
  await put('h2', 'create', 'move-transient');
  await sh('h2', 'virsh -q destroy move-transient');
  const [set] = await until(
    'h2 has a set',
    async () => {
      const sets = await setsOf('h2', 'move-transient');
      return sets.length > 0 && sets;
    },
    60,
  );
  assert.deepEqual([set?.reason, set?.quiesced], [saysWhy ? 'destroyed' : 'unknown', 'none']);
  assert.equal(await snapshotsOf('vms/move-transient'), `siphon.${set?.id}`);
});
