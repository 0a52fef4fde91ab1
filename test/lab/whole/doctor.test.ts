// siphon doctor on a real host: healthy, it finds nothing; then one fault after the other, each found by its code.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { defineDomain, installHook } from '../support/domains.ts';
import { becomes, must, run, sh, until } from '../support/host.ts';
import { fileCleanup, freshPool } from '../support/images.ts';
import { answering, siphon, siphondPid } from '../support/siphon.ts';

const FURTHER = '/etc/siphon/conf.d/95-doctor.toml';
const HOOK = '/etc/libvirt/hooks/qemu.d/50-siphon';
const KEYRING = '/etc/ceph/ceph.client.siphon-fill.keyring';
const MOUNT = '/var/lib/siphon/bases';
const RULE = '/usr/share/polkit-1/rules.d/50-siphon.rules';
const SPOOL = '/var/spool/siphon/hook';
const context = fileCleanup();
let pool = '';

interface Answer {
  readonly findings: readonly {
    readonly code: string;
    readonly what: string;
    readonly type: readonly string[];
  }[];
}

async function examine(...args: readonly string[]): Promise<Answer & { readonly code: number }> {
  const named = args.length > 0 ? args : ['--images', pool, '--vms', pool];
  const { code, stdout, stderr } = await siphon('doctor', '--json', ...named);
  assert.ok(code === 0 || code === 1, `${code}: ${stderr}`);
  return { code, ...(JSON.parse(stdout) as Answer) };
}

/** Once siphond has taken up what was changed. */
async function isHealthy(): Promise<void> {
  const seen = async () => {
    const { code, findings } = await examine();
    return { code, findings };
  };
  await becomes(seen, { code: 0, findings: [] }, 60);
}

const codes = async () => (await examine()).findings.map((each) => each.code);

before(async () => {
  await answering();
  await must('systemctl', 'start', 'libvirtd');
  await installHook();
  pool = await freshPool(context);
  await must('rbd', 'create', '--size', '4M', `${pool}/disk`);
  const disks = [{ kind: 'rbd', image: `${pool}/disk` }] as const;
  await defineDomain(context, { name: 'doctored', disks: [...disks] });
});

after(async () => {
  await run('rm', ['-f', FURTHER]);
  // Not where it runs: systemd would look for the mount's disk, which no lab host has as a unit.
  await sh('systemctl -q is-active siphond || systemctl start siphond');
  await answering();
});

test('on a healthy host it finds nothing, and leaves nothing', async () => {
  const objects = await must('rados', '-p', pool, 'ls');
  const blocklist = await must('ceph', 'osd', 'blocklist', 'ls');
  await isHealthy();
  assert.equal(await must('rados', '-p', pool, 'ls'), objects);
  assert.equal(await must('ceph', 'osd', 'blocklist', 'ls'), blocklist);
  assert.match((await siphon('doctor', '--images', pool)).stdout, /Nothing is wrong\.$/m);
  // As a user who may not look, it says so.
  assert.equal((await run('runuser', ['-u', 'nobody', '--', 'siphon', 'doctor'])).code, 12);
});

interface Fault {
  readonly make: string;
  readonly undo: string;
  readonly args?: readonly string[];
}

/** A file of config that goes with its undoing. */
const further = (toml: string): Fault => ({
  make: `mkdir -p /etc/siphon/conf.d; printf '%s\\n' '${toml}' >${FURTHER}`,
  undo: `rm ${FURTHER}`,
});
const capsOf = (user: string, mon: string, osd: string) =>
  `ceph auth caps client.${user} mon '${mon}' osd '${osd}'`;
/** As prepare-host.sh gives them: of all pools, and what monitors of Ceph 16 want. */
const MON_CAPS = 'allow r, allow command "osd pool op unmanaged-snap"';
const SNAPSHOT_CAPS =
  'profile rbd-read-only, allow rwx object_prefix rbd_header., allow wx object_prefix rbd_object_map., allow w object_prefix siphon.sets';
const keyring = (make: string): Fault => ({
  make: `mv ${KEYRING} /root/kept; ${make}`,
  undo: `rm -rf ${KEYRING}; mv /root/kept ${KEYRING}`,
});
/** `TYPE` as a key's first bytes: 1 is AES, 2 is Ceph 20's. */
const madeKey = (type: number) =>
  `printf '[client.siphon-fill]\\n\\tkey = %s\\n' "$({ printf '\\x0${type}\\0\\0\\0\\0\\0\\0\\0\\0\\0\\x10\\0'; head -c 16 /dev/urandom; } | base64)" >${KEYRING}`;

const stranger = '11111111-2222-4333-8444-555555555555';

const FAULTS: Readonly<Record<string, Fault>> = {
  'config-mistake': further('cache.limitt = 1'),
  'policies-mistake': {
    make: "printf '[[policy]]\\nnam = 1\\n' >/etc/siphon/policies.d/doctor.toml",
    undo: 'rm /etc/siphon/policies.d/doctor.toml',
  },
  'key-missing': keyring(':'),
  'keyring-unreadable': keyring(`mkdir ${KEYRING}`),
  'ceph-file-closed': {
    make: `chgrp root ${KEYRING}; chmod 600 ${KEYRING}`,
    undo: `chgrp siphon ${KEYRING}; chmod 640 ${KEYRING}`,
  },
  'libvirt-closed': {
    make: 'gpasswd -d siphon-libvirt libvirt',
    undo: 'gpasswd -a siphon-libvirt libvirt',
  },
  // polkitd sees a changed folder by itself, but not at once.
  'guard-rule-missing': {
    make: `mv ${RULE} /root/siphon.rules; systemctl restart polkit`,
    undo: `mv /root/siphon.rules ${RULE}; systemctl restart polkit`,
  },
  'guard-refused': {
    make: 'systemctl --quiet mask --runtime --now polkit',
    undo: 'systemctl --quiet unmask --runtime polkit; systemctl start polkit',
  },
  'tick-pool-missing': further('clusters.ceph.tick_pool = "no-such-pool"'),
  'tick-pool-closed': {
    make: `ceph osd pool create doctor-ticks 1; ${further('clusters.ceph.tick_pool = "doctor-ticks"').make}`,
    undo: `rm ${FURTHER}; ceph osd pool rm doctor-ticks doctor-ticks --yes-i-really-really-mean-it`,
  },
  'key-wrong': keyring(madeKey(1)),
  'key-type': keyring(madeKey(2)),
  'conf-missing': further('clusters.ceph.conf = "/etc/ceph/none.conf"'),
  'fsid-wrong': further(`clusters.ceph.fsid = "${stranger}"`),
  'monitors-silent': {
    make: `sed 's/^mon host.*/mon host = 10.77.0.99/' /etc/ceph/ceph.conf >/root/silent.conf
      ${further('clusters.ceph.conf = "/root/silent.conf"').make}`,
    undo: `rm ${FURTHER} /root/silent.conf`,
  },
  'caps-missing': {
    make: capsOf('siphon-snapshot', 'allow r', 'profile rbd-read-only'),
    undo: capsOf('siphon-snapshot', MON_CAPS, SNAPSHOT_CAPS),
  },
  'may-blocklist': {
    make: capsOf('siphon-fill', 'profile rbd', 'profile rbd-read-only'),
    undo: capsOf('siphon-fill', MON_CAPS, 'profile rbd-read-only'),
  },
  'vm-key-cannot-break-locks': {
    make: `ceph auth get client.libvirt -o /root/libvirt.caps
      ${capsOf('libvirt', 'allow r', 'profile rbd')}`,
    undo: 'ceph auth import -i /root/libvirt.caps; rm /root/libvirt.caps',
  },
  'pool-missing': { make: ':', undo: ':', args: ['--vms', 'no-such-pool'] },
  'hook-missing': { make: `mv ${HOOK} /root/hook`, undo: `mv /root/hook ${HOOK}` },
  'hook-not-executable': { make: `chmod -x ${HOOK}`, undo: `chmod +x ${HOOK}` },
  'hook-other-version': {
    make: `cp -p ${HOOK} /root/hook; echo '# mine' >>${HOOK}`,
    undo: `mv /root/hook ${HOOK}`,
  },
  'hook-copy': { make: `cp -p ${HOOK} ${HOOK}~`, undo: `rm ${HOOK}~` },
  'hook-bypassed': { make: 'touch /run/siphon/bypass', undo: 'rm /run/siphon/bypass' },
  'mount-missing': { make: `umount ${MOUNT}`, undo: 'systemctl start var-lib-siphon-bases.mount' },
  'mount-writable': {
    make: `mount -o remount,bind,rw ${MOUNT}`,
    undo: `mount -o remount,bind,ro ${MOUNT}`,
  },
  'bases-closed': { make: `chmod o-x ${MOUNT}-rw`, undo: `chmod o+x ${MOUNT}-rw` },
  'disk-reserve': further('cache.reserve = "4000TiB"'),
  'disk-limit': further('cache.limit = "4000TiB"'),
  'unit-disabled': {
    make: 'systemctl --quiet disable siphon-evict.timer',
    undo: 'systemctl --quiet enable siphon-evict.timer',
  },
  'socket-mode': {
    make: 'chmod 666 /run/siphon/read.sock',
    undo: 'chmod 660 /run/siphon/read.sock',
  },
  'libvirt-down': {
    // The sockets first: siphond comes at once to one that listens, which starts the service.
    make: 'systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket; systemctl stop libvirtd.service',
    undo: 'systemctl start libvirtd.service',
  },
};

for (const [code, { make, undo, args = [] }] of Object.entries(FAULTS)) {
  test(`${code} is found`, async () => {
    try {
      await sh(make);
      const answer = await examine(...args);
      const found = answer.findings.map((each) => each.code);
      assert.ok(found.includes(code), `found: ${found.join(', ')}`);
      assert.equal(answer.code, 1);
      for (const { type } of answer.findings) assert.ok(type.length > 0);
    } finally {
      await sh(undo);
    }
  });
}

test('a disk without a lock, and one that is not there', async () => {
  await must('rbd', 'rm', '--no-progress', `${pool}/disk`);
  await becomes(codes, ['disk-missing']);
  await must('rbd', 'create', '--size', '4M', '--image-feature', 'layering', `${pool}/disk`);
  await becomes(codes, ['disk-without-lock']);
  await must('rbd', 'feature', 'enable', `${pool}/disk`, 'exclusive-lock');
});

test('a disk that is a clone of what the snapshot user may not read', async () => {
  const parent = await freshPool(context);
  await sh(`rbd create --size 4M ${parent}/parent; rbd snap create --no-progress ${parent}/parent@snap
    rbd rm --no-progress ${pool}/disk
    rbd clone --rbd-default-clone-format 2 ${parent}/parent@snap ${pool}/disk`);
  await sh(
    capsOf('siphon-snapshot', MON_CAPS, SNAPSHOT_CAPS.replace('only,', `only pool=${pool},`)),
  );
  try {
    const { findings } = await examine();
    const told = findings.find(({ what }) => what.includes('a clone of'));
    assert.equal(told?.code, 'caps-missing', JSON.stringify(findings));
  } finally {
    await sh(capsOf('siphon-snapshot', MON_CAPS, SNAPSHOT_CAPS));
  }
  await isHealthy();
  await sh(`rbd rm --no-progress ${pool}/disk; rbd create --size 4M ${pool}/disk`);
});

test('siphond that hangs, or is down; what waits for it, and what nobody can read', async () => {
  const pid = await siphondPid();
  process.kill(pid, 'SIGSTOP');
  try {
    assert.deepEqual(await codes(), ['siphond-silent']);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await must('systemctl', 'stop', 'siphond.service');
  await sh(`touch ${SPOOL}/1700000000000000000-1-prepare.begin.none.xml`);
  const found = await codes();
  assert.ok(found.includes('siphond-down'), found.join(', '));
  assert.ok(found.includes('spool-backlog'), found.join(', '));
  await must('systemctl', 'start', 'siphond.service');
  await answering();
  await until(
    'it was set aside',
    async () => (await run('test', ['-d', `${SPOOL}/bad`])).code === 0,
  );
  await becomes(codes, ['spool-bad']);
  await must('rm', '-r', `${SPOOL}/bad`);
});

test('after all of it the host is healthy again', async () => {
  await isHealthy();
});

test('--caps prints commands that give each user what it needs, and no more', async () => {
  const { code, stdout } = await siphon('doctor', '--caps', '--images', pool, '--vms', pool);
  assert.equal(code, 0);
  const commands = stdout.split('\n').filter((line) => line.startsWith('ceph auth get-or-create'));
  // As users that were never there, whose keyrings come where the config says.
  const users = ['fill', 'snapshot', 'publish', 'restore'];
  assert.equal(commands.length, users.length);
  const toml = users.map((each) => `clusters.ceph.users.${each} = "least-${each}"`).join('\n');
  try {
    await sh(further(toml).make);
    await sh(commands.join('\n').replaceAll('client.siphon-', 'client.least-'));
    await isHealthy();
  } finally {
    await sh(further(toml).undo);
    for (const each of users) {
      await must('ceph', 'auth', 'rm', `client.least-${each}`);
      await must('rm', '-f', `/etc/ceph/ceph.client.least-${each}.keyring`);
    }
  }
});
