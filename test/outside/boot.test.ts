// A hypervisor that boots and is powered off, from its journal: the hooks of domains that start with it, and of guests that go down
// with it, find siphon. Ceph is in h1; h2 is the host that goes and comes.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { guestXml } from '../lab/support/guest.ts';
import { until } from '../lab/support/host.ts';

const project = path.join(import.meta.dirname, '../..');
const dir = `/run/siphon-lab/boot-${process.pid}`;
const runFile = promisify(execFile);

const labSh = (...args: string[]) =>
  runFile('bash', [path.join(project, 'scripts/lab.sh'), ...args], {
    timeout: 120_000,
    maxBuffer: 64 * 1024 * 1024,
  });

/** A script in a host, which must succeed; gives its standard output. */
async function sh(host: 'h1' | 'h2', script: string): Promise<string> {
  const argv = ['bash', '-euo', 'pipefail', '-c', script];
  const { stdout } = await labSh('exec', host, '--dir', dir, '--', ...argv);
  return stdout.trim();
}

/** What libvirt says with `release`: nothing in bookworm. */
const WHY = process.env['SIPHON_LAB_RELEASE'] === 'bookworm' ? '-' : 'shutdown';
const UUID = '0b007000-0000-4000-8000-000000000001';
const BASE = 'rbd:images/tiny@snap';
const OVERLAY = '/var/lib/libvirt/images/autostarted.qcow2';
const GUEST_XML = guestXml({
  name: 'autostarted',
  uuid: UUID,
  disks: [
    { kind: 'file', path: OVERLAY },
    { kind: 'rbd', image: 'vms/data' },
  ],
  cmdline: 'tiny.mkfs=1',
});

/** libvirt registers guests with machined, and so orders their ends, where a controller limits them: the lab's machine may have none. */
const MACHINE_SCOPES = `
  echo 'cgroup_controllers = [ "cpuacct" ]' >>/etc/libvirt/qemu.conf
  cat >/etc/systemd/system/controllers.service <<'U'
[Unit]
Before=libvirtd.service
[Service]
Type=oneshot
ExecStart=sh -c 'echo hugetlb >/run/controllers && mount --bind /run/controllers /sys/fs/cgroup/cgroup.controllers'
[Install]
WantedBy=multi-user.target
U
  systemctl --quiet enable controllers.service`;

/** What libvirt calls, and when, by a hook that is not siphon's. */
const WITNESS = `
  mkdir -p /etc/libvirt/hooks/qemu.d
  printf '%s\\n' '#!/bin/sh' 'logger -t witness "$2 $3 $4"' >/etc/libvirt/hooks/qemu.d/90-witness
  chmod 755 /etc/libvirt/hooks/qemu.d/90-witness`;

const SLOW = `
  mkdir -p /etc/systemd/system/siphond.service.d
  printf '[Service]\\nExecStartPre=sleep 3\\n' >/etc/systemd/system/siphond.service.d/slow.conf`;

const POLICY = `[[policy]]
name = "all"
domains = ["*"]
on = ["shutdown", "destroyed"]
keep_last = 9`;

before(async () => {
  await labSh('up', '--dir', dir, '--hosts', '2');
  await sh(
    'h1',
    `head -c 4M /dev/urandom >/tmp/raw
    rbd import --no-progress /tmp/raw images/tiny
    rbd snap create --no-progress images/tiny@snap
    rbd create --size 32M vms/data`,
  );
  await sh(
    'h2',
    `bash ${project}/test/lab/support/prepare-host.sh
    printf '%s\n' '${POLICY}' >/etc/siphon/policies.d/all.toml
    ${WITNESS}
    ${MACHINE_SCOPES}
    /usr/lib/siphon/install-hook.sh install
    printf 'ON_SHUTDOWN=shutdown\nSHUTDOWN_TIMEOUT=60\n' >/etc/default/libvirt-guests
    qemu-img create -q -u -f qcow2 -F qcow2 -b "$(siphon path ${BASE})" ${OVERLAY} 64M
    cat >/root/domain.xml <<'X'
${GUEST_XML}
X
    test ! -e "$(siphon path ${BASE})"
    virsh -q define /root/domain.xml
    virsh -q autostart autostarted`,
  );
});

after(() => labSh('down', '--dir', dir));

async function powerOff(): Promise<void> {
  // The command may end with its host.
  await sh('h2', 'systemctl poweroff').catch(() => undefined);
  await until(
    'h2 is off',
    async () => /^h2 .* off$/m.test((await labSh('status', '--dir', dir)).stdout),
    120,
  );
}

const boot = () => labSh('boot', 'h2', '--dir', dir);

interface Entry {
  readonly atUs: number;
  /** The unit that an entry of systemd's is about, else whose process wrote it. */
  readonly unit: string;
  readonly from: string;
  readonly text: string;
}

/** The journal of a boot of h2 in the order of its clock: 0 is this one, -1 the one before. */
async function journalOf(number: number): Promise<Entry[]> {
  const lines = (await sh('h2', `journalctl --sync; journalctl -b ${number} -o json`)).split('\n');
  return lines
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .map((fields) => ({
      atUs: Number(fields['__MONOTONIC_TIMESTAMP']),
      unit: String(fields['UNIT'] ?? fields['_SYSTEMD_UNIT']),
      from: String(fields['SYSLOG_IDENTIFIER']),
      text: String(fields['MESSAGE']),
    }))
    .toSorted((one, other) => one.atUs - other.atUs);
}

/** Each is in the journal, and comes after the one before it; gives their times. */
function assertOrder(
  journal: readonly Entry[],
  events: Readonly<Record<string, (entry: Entry) => boolean>>,
): void {
  const times = Object.entries(events).map(([what, isIt]) => ({
    what,
    atUs: journal.find(isIt)?.atUs ?? assert.fail(`not in the journal: ${what}\n${told(journal)}`),
  }));
  const ordered = times.toSorted((one, other) => one.atUs - other.atUs);
  const line = (each: { what: string; atUs: number }) => `${each.atUs} ${each.what}`;
  assert.deepEqual(ordered.map(line), times.map(line));
}

const OF_CONCERN = /^(siphon|libvirt|machine)|witness/;

/** What there is instead. */
const told = (journal: readonly Entry[]) =>
  journal
    .filter(({ unit, from }) => OF_CONCERN.test(unit) || OF_CONCERN.test(from))
    .map(({ atUs, unit, from, text }) => `${atUs} ${unit} ${from}: ${text.slice(0, 200)}`)
    .join('\n');

const systemd = (unit: string, text: RegExp) => (entry: Entry) =>
  entry.from === 'systemd' && entry.unit === unit && text.test(entry.text);
const witnessed = (call: string) => (entry: Entry) =>
  entry.from === 'witness' && entry.text.startsWith(call);
const siphond =
  (...parts: string[]) =>
  (entry: Entry) =>
    entry.unit === 'siphond.service' && parts.every((part) => entry.text.includes(part));

/** What autostart needs, in this order. */
const BOOT = {
  'siphond is ready': systemd('siphond.service', /^Started /),
  'libvirtd begins to start': systemd('libvirtd.service', /^Starting /),
  'siphond answered prepare': siphond('hook answered', '"event":"prepare"', '"verdict":"allow"'),
  'the start went on': witnessed('start begin'),
  'the guest runs': witnessed('started begin'),
};

const isRunning = () =>
  until(
    'the domain runs',
    async () => (await sh('h2', 'virsh domstate autostarted')).startsWith('running'),
    60,
  );

const PING = `virsh qemu-agent-command autostarted '{"execute":"guest-ping"}' --timeout 2 || true`;
/** From then on it obeys the power button. */
const guestAnswers = () =>
  until("the guest's agent answers", async () => (await sh('h2', PING)).includes('return'), 180);

async function setsInCeph(): Promise<string[]> {
  const names = await sh('h1', `rbd snap ls vms/data --format json | jq -r '.[].name'`);
  return names.split('\n').filter((name) => name.startsWith('siphon.'));
}

let atPowerOff: string[] = [];

test('a domain that starts with its host finds siphond, which fills its base first', async () => {
  await powerOff();
  await boot();
  await isRunning();
  const { 'siphond is ready': ready, 'libvirtd begins to start': starting, ...rest } = BOOT;
  assertOrder(await journalOf(0), {
    'siphond is ready': ready,
    'libvirtd begins to start': starting,
    'the base is filled': siphond('"kind":"fill"', '"msg":"done"'),
    ...rest,
  });
});

test('the set of a guest that goes down with its host is in Ceph when the host is off', async () => {
  await guestAnswers();
  assert.deepEqual(await setsInCeph(), []);
  await sh('h2', SLOW);
  await powerOff();
  atPowerOff = await setsInCeph();
  assert.equal(atPowerOff.length, 1);
});

test('at the next boot, libvirtd waits for a siphond that is slow to start', async () => {
  await boot();
  await isRunning();
  assertOrder(await journalOf(0), {
    'siphond is being started': systemd('siphond.service', /^Starting /),
    ...BOOT,
  });
});

test('the hooks of guests that went down with the host were served before siphond was stopped', async () => {
  assertOrder(await journalOf(-1), {
    'the guest is asked': ({ from, text }) =>
      from === 'libvirt-guests.sh' && text.startsWith('Starting shutdown on guest'),
    'it is off': witnessed('stopped end'),
    'siphond answered release': siphond('hook answered', '"event":"release"'),
    'libvirt went on': witnessed(`release end ${WHY}`),
    'libvirtd is stopped': systemd('libvirtd.service', /^Stopped /),
    'siphond is being stopped': systemd('siphond.service', /^Stopping /),
    'siphond is stopped': systemd('siphond.service', /^Stopped /),
  });
  assertOrder(await journalOf(-1), {
    'the set is begun': siphond('"kind":"snapshot"', '"msg":"begun"'),
    'the set is taken': siphond('"kind":"snapshot"', '"msg":"done"'),
    'siphond is stopped': systemd('siphond.service', /^Stopped /),
  });
  const sets = JSON.parse(await sh('h2', 'siphon snapshot list --json')) as {
    id: string;
    quiesced: string;
  }[];
  const told = sets.map(({ id, quiesced }) => `siphon.${id} ${quiesced}`);
  // A libvirtd that goes down at the same time may be asked too late.
  const claim = WHY === 'shutdown' ? WHY : (sets[0]?.quiesced ?? '');
  assert.deepEqual(told, [`${atPowerOff[0]} ${claim}`]);
});
