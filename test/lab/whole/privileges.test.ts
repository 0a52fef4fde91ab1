// Who siphon is on a booted host: what docs/privileges.md says of its processes, sockets and units is what the kernel and systemd say.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { StatusAnswer } from '../../../src/wire/api.ts';
import type { Base } from '../../../src/wire/vocabulary.ts';
import { WORKER_LIMITS } from '../../../src/worker/supervisor/index.ts';
import { defineDomain, installHook, overlayOn } from '../support/domains.ts';
import { must, run, sh, timed, until } from '../support/host.ts';
import {
  bigSource,
  fileCleanup,
  freshPool,
  importSource,
  rawFile,
  scratchFolder,
} from '../support/images.ts';
import { answering, fillWorkers, siphon, siphondPid, siphonJson } from '../support/siphon.ts';

const DOC = path.join(import.meta.dirname, '../../../docs/privileges.md');
const cleanup = fileCleanup();
let pool = '';
let scratch = '';
let source = '';

before(async () => {
  await answering();
  await installHook();
  pool = await freshPool(cleanup);
  scratch = await scratchFolder(cleanup);
  source = await importSource(await rawFile(`${scratch}/root`, 8, [0]), `${pool}/root`);
  await siphonJson('warm', source);
});

/** A drop-in until the next boot, or until it is removed. */
async function dropIn(unit: string, text: string): Promise<void> {
  const folder = `/run/systemd/system/${unit}.d`;
  await must('mkdir', '-p', folder);
  await writeFile(`${folder}/test.conf`, text);
  await must('systemctl', 'daemon-reload');
}

after(async () => {
  await sh(
    'rm -rf /run/systemd/system/siphon*.d; systemctl daemon-reload; systemctl restart siphond',
  );
  await answering();
});

const as = (user: string, ...argv: readonly string[]) =>
  run('runuser', ['-u', user, '--', ...argv]);

/** The cells of the rows of a table in the page, by their first. */
async function tableOf(heading: string): Promise<Map<string, readonly string[]>> {
  const [, section = ''] = (await readFile(DOC, 'utf8')).split(`\n## ${heading}\n`);
  const rows = (section.split('\n## ')[0] ?? '')
    .split('\n')
    .filter((line) => line.startsWith('| '));
  const cells = rows.map((row) =>
    row
      .split('|')
      .map((cell) => cell.trim())
      .slice(1, -1),
  );
  return new Map(cells.slice(2).map(([first = '', ...rest]) => [first, rest]));
}

interface Privileges {
  readonly user: string;
  readonly groups: readonly string[];
  readonly effective: string;
  readonly inheritable: string;
}

async function privilegesOf(pid: number): Promise<Privileges> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
  const named = async (database: string, ids: readonly string[]) =>
    Promise.all(
      [...new Set(ids)].map(async (id) => (await must('getent', database, id)).split(':')[0] ?? ''),
    );
  const groups = [field('Gid').split('\t')[0] ?? '', ...field('Groups').split(' ').filter(Boolean)];
  const caps = (name: string) => {
    const bits = BigInt(`0x${field(name)}`);
    return bits === 0n ? '-' : bits === 4n ? 'dac_read_search' : field(name);
  };
  assert.equal(field('NoNewPrivs'), '1');
  assert.equal(field('Seccomp'), '2');
  assert.equal(caps('CapAmb'), '-');
  assert.equal(field('CapPrm'), field('CapEff'));
  const [user = ''] = await named('passwd', field('Uid').split('\t').slice(0, 1));
  return {
    user,
    groups: (await named('group', groups)).toSorted(),
    effective: caps('CapEff'),
    inheritable: caps('CapInh'),
  };
}

/** It may be on its way: the test before may have ended siphond. */
const pidOf = (user: string, what: string): Promise<number> =>
  until(`${what} runs`, async () => {
    const { stdout } = await run('pgrep', ['-u', user, '-f', what]);
    return Number(stdout.split('\n')[0]) || undefined;
  });

test('each process has the user, the groups and the capabilities that the page states', async () => {
  const big = await bigSource(`${pool}/big`, 256);
  const warming = siphon('warm', big);
  const fill = await until('a fill runs', async () => (await fillWorkers())[0]);
  process.kill(fill, 'SIGSTOP');
  try {
    const pids = new Map([
      ['siphond', await siphondPid()],
      ['ceph worker', await pidOf('siphon', 'worker.mjs ceph')],
      ['fill worker', fill],
      ['libvirt worker', await pidOf('siphon-libvirt', 'worker.mjs libvirt')],
    ]);
    const stated = await tableOf('Processes');
    for (const [process, pid] of pids) {
      const [user, groups = '', effective, inheritable] = stated.get(process) ?? [];
      const sorted = groups.split(', ').toSorted();
      const want = { user, groups: sorted, effective, inheritable };
      assert.deepEqual(await privilegesOf(pid), want, process);
    }
    const inGroup = (pid: number) => readFile(`/proc/${pid}/cgroup`, 'utf8');
    assert.match(await inGroup(fill), /^0::\S+\/siphond\.service\/fills$/m);
    assert.match(await inGroup(await siphondPid()), /^0::\S+\/siphond\.service\/siphond$/m);
  } finally {
    process.kill(fill, 'SIGCONT');
  }
  assert.equal((await warming).code, 0);
});

test('each socket has the mode and the owner that the page states', async () => {
  for (const [socket, [mode = '', owner = '']] of await tableOf('Sockets')) {
    const found = await must('stat', '-c', '0%a %U:%G', socket.replaceAll('`', ''));
    assert.equal(found, `${mode} ${owner}`, socket);
  }
});

test('the units are exposed by 2.0 at most, and limit what the page and the code say', async () => {
  const limits: Record<string, number> = {};
  for (const unit of [
    'siphond.service',
    'siphon-libvirt@.service',
    'siphon-guard@.service',
    'siphon-evict.service',
    'siphon-prune.service',
    'siphon-scrub.service',
    'siphon-verify.service',
  ]) {
    const file = `/usr/lib/systemd/system/${unit}`;
    const told = await sh(`systemd-analyze security --no-pager --offline=true ${file}`);
    limits[unit] = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(told)?.[1]);
  }
  for (const [unit, exposure] of Object.entries(limits))
    assert.ok(exposure <= 2, `${unit}: ${exposure}`);
  const show = (unit: string, name: string) => must('systemctl', 'show', '-P', name, unit);
  assert.equal(await show('siphond', 'Delegate'), 'yes');
  assert.deepEqual((await show('siphond', 'DelegateControllers')).split(' ').toSorted(), [
    'cpu',
    'io',
    'memory',
    'pids',
  ]);
  assert.equal(await show('siphond', 'NotifyAccess'), 'main');
  assert.equal(await show('siphond', 'WatchdogUSec'), '30s');
  const { threads } = WORKER_LIMITS.libvirt;
  const environment = await show('siphon-libvirt@x', 'Environment');
  assert.equal(environment, `UV_THREADPOOL_SIZE=${threads}`);
  // The lab's machine gives no controllers: what that leaves unlimited is said, and nothing else is wrong.
  const { fillGroup } = await siphonJson<StatusAnswer>('status');
  assert.equal(fillGroup.limits.length + fillGroup.absent.length, 4);
  assert.equal(fillGroup.why, undefined);
});

test('siphon may look at libvirt and not manage it; the worker’s user may', async () => {
  const virsh = (user: string, ...argv: readonly string[]) =>
    as(user, 'virsh', '-q', '-c', 'qemu:///system', ...argv);
  assert.equal((await virsh('siphon', '--readonly', 'list', '--all')).code, 0);
  const managed = await virsh('siphon', 'list', '--all');
  assert.notEqual(managed.code, 0);
  assert.match(managed.stderr, /authenti|polkit|denied/i);
  assert.equal((await virsh('siphon-libvirt', 'list', '--all')).code, 0);
});

test('the worker’s user sets and ends guards, and nothing else of PID 1’s; siphon not even these', async () => {
  const uuid = '0a1b2c3d-0000-4000-8000-000000000001';
  const timer = `siphon-guard@${uuid}.timer`;
  const may = async (user: string, verb: string, unit: string) => {
    const { code, stderr } = await as(user, 'systemctl', '--no-ask-password', verb, unit);
    if (code !== 0) assert.match(stderr, /authentication required|denied/i);
    return code === 0;
  };
  const trials = [
    ['siphon-libvirt', 'start', timer, true],
    ['siphon', 'stop', timer, false],
    ['siphon-libvirt', 'restart', timer, false],
    ['siphon-libvirt', 'start', `siphon-guard@${uuid}.service`, false],
    ['siphon-libvirt', 'start', 'siphon-guard@x.timer', false],
    ['siphon-libvirt', 'stop', 'siphond.service', false],
    ['siphon-libvirt', 'stop', `siphon-guard@${uuid}.service`, true],
    ['siphon-libvirt', 'stop', timer, true],
  ] as const;
  for (const [user, verb, unit, isAllowed] of trials)
    assert.equal(await may(user, verb, unit), isAllowed, `${user}: ${verb} ${unit}`);
  assert.equal(await must('stat', '-c', '0%a %U', '/run/siphon/held'), '0700 siphon-libvirt');
});

/** What a worker behind the socket answers to a frame, asked as a user. */
async function askWorker(user: string, init: object) {
  const script = `const socket = require('node:net').connect('/run/siphon/libvirt-worker.sock');
    const body = Buffer.from(${JSON.stringify(JSON.stringify(init))});
    const length = Buffer.alloc(4); length.writeUInt32BE(body.length);
    socket.on('error', (error) => { console.log(error.code); process.exit(0); });
    socket.on('data', (data) => { console.log(data.subarray(4).toString()); process.exit(0); });
    socket.write(Buffer.concat([length, body]));`;
  return (await as(user, '/usr/lib/siphon/bin/node', '-e', script)).stdout.trim();
}

test('the libvirt worker is for siphond alone, and is nothing else for it', async () => {
  const uri = 'qemu:///system';
  const init = { kind: 'init', role: 'libvirt', settings: { uri } };
  assert.equal(await askWorker('nobody', init), 'EACCES');
  assert.equal(await askWorker('siphon-libvirt', init), 'EACCES');
  assert.match(await askWorker('siphon', { ...init, role: 'fill' }), /"denied".*libvirt alone/);
  const command = { uri: 'qemu+ssh://x/system?command=/tmp/x' };
  assert.match(await askWorker('siphon', { ...init, settings: command }), /"denied".*qemu:/);
  assert.match(await askWorker('siphon', init), /"kind":"(ready|event)"/);
  await until('those workers have ended', async () => {
    const { stdout } = await run('pgrep', ['-u', 'siphon-libvirt', '-f', 'worker.mjs libvirt']);
    return stdout.trim().split('\n').length === 1;
  });
});

test('overlays are read wherever they are: in a home, with mode 0600 in a folder of root’s', async () => {
  const home = '/home/somebody';
  await must('mkdir', '-p', '-m', '700', home, `${scratch}/closed`);
  cleanup.after(() => run('rm', ['-rf', home]));
  for (const [name, folder] of [
    ['at-home', home],
    ['closed', `${scratch}/closed`],
  ] as const) {
    const disk = await overlayOn(source, `${folder}/${name}.qcow2`, '8M');
    await must('chmod', '600', disk);
    await defineDomain(cleanup, { name, disks: [{ kind: 'file', path: disk }] });
    await until(`${name} has its lease`, async () =>
      (await siphonJson<Base>('get', source)).leases.some((lease) => lease.domainName === name),
    );
    const kept = await siphon('evict', source);
    assert.deepEqual([kept.code, kept.stderr.includes(name)], [5, true], kept.stderr);
    await must('virsh', '-q', 'undefine', name);
    // No domain has it any more, and it still stands on its base, where siphond knows to look.
    await until(`the lease of ${name} has ended`, async () =>
      (await siphonJson<Base>('get', source)).leases.every((lease) => lease.domainName !== name),
    );
    assert.match((await siphon('evict', source)).stderr, new RegExp(`the overlay ${disk} refers`));
    await must('rm', disk);
  }
});

const restarts = async () =>
  Number(await must('systemctl', 'show', '-P', 'NRestarts', 'siphond.service'));

test('a siphond that hangs is started again by systemd’s watchdog, and meanwhile holds nobody up', async () => {
  await dropIn('siphond.service', '[Service]\nWatchdogSec=6\n');
  await must('systemctl', 'restart', 'siphond');
  await answering();
  const [pid, before] = [await siphondPid(), await restarts()];
  await until('it lives on, watched', async () => {
    const since = await must('systemctl', 'show', '-P', 'WatchdogTimestampMonotonic', 'siphond');
    const started = await must(
      'systemctl',
      'show',
      '-P',
      'ActiveEnterTimestampMonotonic',
      'siphond',
    );
    return Number(since) > Number(started) + 6e6;
  });
  assert.equal(await siphondPid(), pid);
  process.kill(pid, 'SIGSTOP');
  const xml = `<domain type='qemu'><name>held</name><uuid>${crypto.randomUUID()}</uuid></domain>`;
  const hook = ['held', 'prepare', 'begin', '-'];
  await until(
    'it is another',
    async () => {
      const { ms, result } = await timed(() =>
        run('/etc/libvirt/hooks/qemu.d/50-siphon', hook, { input: xml }),
      );
      assert.deepEqual([result.code, result.stderr], [0, '']);
      assert.ok(ms < 5000, `the hook took ${ms} ms`);
      return (await restarts()) > before;
    },
    60,
  );
  await answering();
  assert.notEqual(await siphondPid(), pid);
  const said = await sh('journalctl -u siphond --since -2min -o cat');
  assert.match(said, /[Ww]atchdog timeout/);
  await until('what was spooled meanwhile is taken', async () => {
    return (await sh('ls /var/spool/siphon/hook')) === '';
  });
});

test('a libvirt worker that hangs is killed by systemd, and siphond has another', async () => {
  await dropIn('siphon-libvirt@.service', '[Service]\nWatchdogSec=6\n');
  const before = await pidOf('siphon-libvirt', 'worker.mjs libvirt');
  await must('kill', '-KILL', String(before));
  const watched = await until('another is there', async () => {
    const { stdout } = await run('pgrep', ['-u', 'siphon-libvirt', '-f', 'worker.mjs libvirt']);
    const found = Number(stdout) || undefined; // of two lines none
    return found === before ? undefined : found;
  });
  const connected = async () =>
    (await siphonJson<StatusAnswer>('status')).libvirt.state === 'connected';
  await until('it is connected', connected);
  process.kill(watched, 'SIGSTOP');
  await until(
    'it is gone',
    async () => (await run('kill', ['-0', String(watched)])).code !== 0,
    60,
  );
  await until('another is connected', connected, 60);
});

test('nothing outlives siphond', async () => {
  await must('systemctl', 'stop', 'siphond.service');
  try {
    for (const user of ['siphon', 'siphon-libvirt'])
      assert.equal((await run('pgrep', ['-u', user])).stdout, '', user);
    const units = await sh("systemctl list-units --plain --no-legend 'siphon-libvirt@*'");
    assert.equal(units, '');
  } finally {
    await must('systemctl', 'start', 'siphond.service');
  }
});
