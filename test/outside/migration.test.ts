// A guest moves between two hypervisors with siphon: the host that it leaves takes no set of it, whatever libvirt tells there
// (before 10.5 it gives no reason), nor does the one where it arrives; the host where it started has one, and the one where it ends.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { guestXml, serialLogPath } from '../lab/support/guest.ts';
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

[[policy]]
name = "events"
domains = ["move-*"]
on = ["prepare", "started", "stopped", "lifecycle:suspended"]
quiesce = "none"
keep_last = 9

[[policy]]
name = "marks"
domains = ["mark-*"]
on = ["lifecycle:defined"]
keep_last = 9
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
  readonly event: string;
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

/** Of its sets, the newest first, when all have ended. */
function jobsOf(host: Host, name: string): Promise<readonly JobSeen[]> {
  return until(`${host} has decided`, async () => {
    const jobs = JSON.parse(await sh(host, 'siphon jobs --limit 100 --json')) as JobSeen[];
    const found = jobs.filter((job) => job.subject.startsWith(`${name} `));
    return found.every((job) => job.state !== 'open') && found;
  });
}

const setsCome = (host: Host, name: string, count: number) =>
  until(
    `${host} has ${count} sets of ${name}`,
    async () => {
      const sets = await setsOf(host, name);
      return sets.length >= count && sets;
    },
    60,
  );

async function put(host: Host, verb: 'define' | 'create', name: string, cmdline = '') {
  await sh('h1', `rbd create --size 32M vms/${name}`);
  const xml = guestXml({ name, cmdline, disks: [{ kind: 'rbd', image: `vms/${name}` }] });
  await sh(host, `cat >/tmp/${name}.xml <<'X'\n${xml}\nX\nvirsh -q ${verb} /tmp/${name}.xml`);
}

let marks = 0;

/** libvirt tells its events in their order: siphond has heard those from before, and begun what they ask for. */
async function hasHeard(host: Host): Promise<void> {
  marks += 1;
  const name = `mark-${marks}`;
  await put(host, 'define', name);
  await setsCome(host, name, 1);
}

/** How often siphon has decided on each host so far. */
const counts = async () => {
  const all = await Promise.all(HOSTS.map((host) => jobsOf(host, 'move-live')));
  return { h1: all[0]?.length ?? 0, h2: all[1]?.length ?? 0 };
};

const OPEN = /disk vda is (locked by|open at) client/;

/** Moves it, and no set is taken: on the host that it left without a job where libvirt says that it moved, else for this reason. */
async function move(from: Host, to: Host, why: RegExp): Promise<void> {
  const before_ = await counts();
  const sets = await Promise.all(HOSTS.map((host) => setsOf(host, 'move-live')));
  const snapshots = await snapshotsOf('vms/move-live');
  // After so many seconds it moves suspended: on a busy machine it may not move otherwise.
  await sh(from, `virsh -q migrate move-live qemu+tcp://${to}/system --live --timeout 30`);
  assert.equal(await stateOf(to, 'move-live'), 'running');
  // libvirtd has called its hook by now, and what siphond begins has begun before the hook ends.
  const released = 'siphon_hook_duration_seconds_count{operation="release"';
  const metrics = 'curl -sf --unix-socket /run/siphon/read.sock http://siphon/metrics';
  assert.notEqual(await sh(from, `${metrics} | grep -F '${released}' || true`), '');
  await Promise.all(HOSTS.map(hasHeard));
  const left = (await jobsOf(from, 'move-live')).slice(0, -before_[from] || undefined);
  assert.equal(left.length, saysWhy ? 0 : 1);
  for (const job of left) assert.match(job.error?.why ?? '', why);
  // What `prepare` asks for is looked at: somebody else has the disk.
  const came = (await jobsOf(to, 'move-live')).slice(0, -before_[to] || undefined);
  assert.equal(came.length, 1);
  for (const job of came) assert.match(job.error?.why ?? '', OPEN);
  assert.equal(await snapshotsOf('vms/move-live'), snapshots);
  assert.deepEqual(await Promise.all(HOSTS.map((host) => setsOf(host, 'move-live'))), sets);
}

test('a guest that moves is snapshotted by neither host for that; by each as it starts and ends there', async () => {
  await put('h1', 'define', 'move-live', 'tiny.mkfs=1');
  await sh('h1', 'virsh -q start move-live');
  await setsCome('h1', 'move-live', 2);
  await until(
    'the guest is up',
    async () => /GUEST-READY/.test(await sh('h1', `cat ${serialLogPath('move-live')}`)),
    150,
  );
  // It stays defined on h1, whose libvirt knows that it migrated; on h2 it is transient, and nothing of it stays when it leaves.
  await move('h1', 'h2', /the guest runs on another host/);
  await move('h2', 'h1', OPEN);
  await sh('h1', 'virsh -q shutdown move-live');
  await setsCome('h1', 'move-live', 3);
  await hasHeard('h1');
  await jobsOf('h1', 'move-live');
  const sets = await setsOf('h1', 'move-live');
  const events = sets.map(({ event, reason, quiesced }) => [event, reason, quiesced].join(' '));
  const want = ['prepare  none', 'release shutdown shutdown', 'started  none'];
  assert.deepEqual(events.toSorted(), want);
  assert.deepEqual(await setsOf('h2', 'move-live'), []);
  const names = (await snapshotsOf('vms/move-live')).split('\n').toSorted();
  assert.deepEqual(names, sets.map(({ id }) => `siphon.${id}`).toSorted());
});

test('a transient domain that ends is snapshotted, if only as one of which nobody says why', async () => {
  await put('h2', 'create', 'move-transient');
  await setsCome('h2', 'move-transient', 2);
  await sh('h2', 'virsh -q destroy move-transient');
  const sets = await setsCome('h2', 'move-transient', 3);
  const set = sets.find(({ event }) => event === 'release');
  assert.deepEqual([set?.reason, set?.quiesced], [saysWhy ? 'destroyed' : 'unknown', 'none']);
  const names = (await snapshotsOf('vms/move-transient')).split('\n').toSorted();
  assert.deepEqual(names, sets.map(({ id }) => `siphon.${id}`).toSorted());
});
