// The laboratory from outside: what a lab is, that labs do not see each other, and that nothing of one is left, also of a killed run.

import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

const project = path.join(import.meta.dirname, '../..');
const cache = process.env['SIPHON_LAB_CACHE'] ?? '/var/cache/siphon-lab';
const home = `/run/siphon-lab/test-outside-${process.pid}`;
const labs = { one: `${home}/one`, two: `${home}/two`, killed: `${home}/killed` };

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

function startLabSh(...args: string[]): ChildProcess {
  return spawn('bash', [path.join(project, 'scripts/lab.sh'), ...args], {
    cwd: '/',
    timeout: 90_000,
  });
}

async function ending(child: ChildProcess, stdin = ''): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => (stdout += chunk));
  child.stderr?.on('data', (chunk) => (stderr += chunk));
  child.stdin?.on('error', () => {}); // a command that does not read its input
  child.stdin?.end(stdin);
  await once(child, 'close');
  return { code: child.exitCode, stdout, stderr };
}

const labSh = (...args: string[]): Promise<Ended> => ending(startLabSh(...args));

async function mustLabSh(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await labSh(...args);
  assert.equal(code, 0, `lab.sh ${args.join(' ')}: ${stderr}${stdout}`);
  return stdout.trim();
}

/** What the processors did for each, until it was up: how long that took depends on what else they did. */
const upCpuSeconds: number[] = [];

async function mustUp(dir: string, ...args: string[]): Promise<void> {
  await mustLabSh('up', '--dir', dir, ...args);
  const stat = readFileSync(`${cgroupTree}/siphon-lab-${labId(dir)}/cpu.stat`, 'utf8');
  upCpuSeconds.push(Number(/^usage_usec (\d+)$/m.exec(stat)?.[1]) / 1e6);
}

const inHost = (dir: string, ...command: string[]): Promise<string> =>
  mustLabSh('exec', 'h1', '--dir', dir, '--', ...command);

/** The name of a lab in the places that it has outside its folder (scripts/lab/state.sh). */
function labId(dir: string): string {
  return createHash('sha256')
    .update(`${dir} ${readlinkSync('/proc/self/ns/pid')}\n`)
    .digest('hex')
    .slice(0, 8);
}

const cgroupTree = existsSync('/sys/fs/cgroup/cgroup.controllers')
  ? '/sys/fs/cgroup'
  : '/sys/fs/cgroup/unified';
const fileSystemOf = (folder: string): string =>
  execFileSync('stat', ['-f', '-c', '%T', folder], { encoding: 'utf8' }).trim();

const listed = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);

/** All that can be seen of a lab: folder, cgroup, network namespaces, disks, mounts, and processes (by what they were told). */
function tracesOf(dir: string): string[] {
  const id = labId(dir);
  const seen = [dir, `${cgroupTree}/siphon-lab-${id}`, `${cache}/disk/${id}`].filter((place) =>
    existsSync(place),
  );
  const networks = listed('/run/netns').filter((name) => name.startsWith(`siphon-${id}`));
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(dir) || line.includes(id));
  return [...seen, ...networks, ...mounts, ...processesOf(dir, id)];
}

function processesOf(dir: string, id: string): string[] {
  const ours = (pid: string): boolean => {
    const read = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8');
    try {
      // dead is dead, also before PID 1 has fetched its exit code
      if (/\) [ZX] /.test(read('stat'))) return false;
      return read('cmdline').includes(dir) || read('cgroup').includes(`siphon-lab-${id}`);
    } catch {
      return false; // it has ended meanwhile
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && ours(name))
    .map((pid) => `process ${pid}`);
}

async function until(what: string, isTrue: () => boolean, seconds = 30): Promise<void> {
  for (const end = Date.now() + seconds * 1000; !isTrue(); await delay(20)) {
    assert.ok(Date.now() < end, `not in ${seconds} s: ${what}`);
  }
}

/** Nothing of the lab is there. Its processes were killed; the kernel may take a moment to finish one. */
async function assertGone(dir: string): Promise<void> {
  await until('the last process has ended', () => processesOf(dir, labId(dir)).length === 0, 10);
  assert.deepEqual(tracesOf(dir), []);
}

after(async () => {
  for (const dir of Object.values(labs)) await labSh('down', '--dir', dir);
  rmSync(home, { recursive: true, force: true });
});

test('bad arguments end in exit code 2 and name what is wrong', async () => {
  const cases: [string[], RegExp][] = [
    [['up', '--hosts', '0'], /--hosts.*'0'/],
    [['up', '--mons', 'two'], /--mons.*'two'/],
    [['up', '--release', 'sid'], /'sid'/],
    [['up', '--colour'], /--colour/],
    [['up', '--dir'], /--dir needs a value/],
    [['down', '--hosts', '2'], /--hosts is not an option of this command/],
    [['exec', 'x1', '--', 'true'], /'x1'/],
    [['exec', 'h1'], /which command/],
    [['boot'], /which host/],
    [['boot', 'h1', 'h2'], /unexpected: h2/],
    [['fly'], /fly/],
  ];
  const results = await Promise.all(cases.map(([args]) => labSh(...args)));
  for (const [index, [args, message]] of cases.entries()) {
    assert.equal(results[index]?.code, 2, args.join(' '));
    assert.match(results[index]?.stderr ?? '', message);
  }
});

test('a folder that is not a lab is left alone', async () => {
  const dir = `${home}/other`;
  mkdirSync(dir, { recursive: true });
  writeFileSync(`${dir}/precious`, '');
  for (const command of ['up', 'down']) assert.equal((await labSh(command, '--dir', dir)).code, 2);
  assert.deepEqual(readdirSync(dir), ['precious']);
});

test('a lab serves, and is told by status', async () => {
  assert.equal((await labSh('status', '--dir', labs.one)).code, 3);
  await mustLabSh('build');
  await mustUp(labs.one);
  assert.match(await mustLabSh('status', '--dir', labs.one), /: up .*\nh1 10\.77\.0\.1 running$/s);
  assert.equal(await inHost(labs.one, 'systemctl', 'is-system-running'), 'running');
  assert.match(await inHost(labs.one, 'ceph', 'osd', 'stat'), /1 osds: 1 up/);
  assert.equal(await inHost(labs.one, 'virsh', '-q', 'list', '--all'), '');
  assert.match(await inHost(labs.one, 'ceph', 'rbd', 'task', 'list'), /\[\]/);
  assert.match(await inHost(labs.one, 'node', '--version'), /^v26\./);
  assert.equal(
    await inHost(labs.one, 'stat', '-f', '-c', '%T', '/var/lib/siphon'),
    fileSystemOf(cache),
  );
});

test('exec passes exit codes, standard input and arguments on', async () => {
  assert.equal(
    (await labSh('exec', 'h1', '--dir', labs.one, '--', 'sh', '-c', 'exit 37')).code,
    37,
  );
  const cat = await ending(
    startLabSh('exec', 'h1', '--dir', labs.one, '--', 'cat'),
    'through and through',
  );
  assert.equal(cat.stdout, 'through and through');
  assert.equal(await inHost(labs.one, 'printf', '%s|', 'a b', '--dir', "it's"), "a b|--dir|it's|");
  assert.equal((await labSh('exec', 'h2', '--dir', labs.one, '--', 'true')).code, 1);
});

test('up of a lab that is up says so; of another shape it refuses', async () => {
  const again = await labSh('up', '--dir', labs.one);
  assert.equal(again.code, 0);
  assert.match(again.stderr, /up already/);
  const other = await labSh('up', '--hosts', '2', '--dir', labs.one);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /another lab is up/);
});

test('a lab inside a host of a lab, where PID 1 is systemd', async () => {
  const inner = '/run/inner';
  const script = `
    set -e
    bash ${project}/scripts/lab.sh up --dir ${inner}
    bash ${project}/scripts/lab.sh exec h1 --dir ${inner} -- systemctl is-system-running
    bash ${project}/scripts/lab.sh exec h1 --dir ${inner} -- ceph osd stat
    bash ${project}/scripts/lab.sh down --dir ${inner}
    test ! -e ${inner}
    find /run/netns ${cache}/disk /sys/fs/cgroup -mindepth 1 -maxdepth 1 -not -type f | grep -v '/[a-z.-]*$' || true`;
  const lines = (await inHost(labs.one, 'bash', '-c', script)).split('\n');
  assert.equal(lines[0], 'running');
  assert.match(lines[1] ?? '', /1 up/);
  assert.deepEqual(lines.slice(2), [], 'something of the inner lab is left');
  assert.equal(await inHost(labs.one, 'systemctl', 'is-system-running'), 'running');
});

test('two labs side by side do not see each other', async () => {
  await mustUp(labs.two, '--hosts', '2');
  const fsids = await Promise.all([labs.one, labs.two].map((dir) => inHost(dir, 'ceph', 'fsid')));
  assert.notEqual(fsids[0], fsids[1]);
  await inHost(labs.two, 'ping', '-c1', '-W2', '10.77.0.2');
  assert.equal(
    (await labSh('exec', 'h1', '--dir', labs.one, '--', 'ping', '-c1', '-W1', '10.77.0.2')).code,
    1,
  );
  await inHost(labs.one, 'touch', '/var/lib/siphon/mine', '/tmp/mine');
  assert.equal(
    await inHost(labs.two, 'sh', '-c', 'ls /var/lib/siphon /tmp | grep mine || true'),
    '',
  );
});

test('a host that powers itself off is off, and boots again on what it has on its disk', async () => {
  const inSecond = (...command: string[]) =>
    mustLabSh('exec', 'h2', '--dir', labs.two, '--', ...command);
  const boots = () => inSecond('journalctl', '--list-boots', '--quiet');
  const countBoots = async () => (await boots()).split('\n').length;
  assert.equal(await countBoots(), 1);
  const running = await labSh('boot', 'h2', '--dir', labs.two);
  assert.equal(running.code, 1);
  assert.match(running.stderr, /h2 runs/);
  const id = await inSecond('cat', '/etc/machine-id');
  await inSecond('touch', '/root/kept', '/var/lib/siphon/kept', '/run/lost');
  await labSh('exec', 'h2', '--dir', labs.two, '--', 'systemctl', 'poweroff'); // it may end with the host
  const isOff = async () => /^h2 .* off$/m.test((await labSh('status', '--dir', labs.two)).stdout);
  for (const end = Date.now() + 60_000; !(await isOff()); await delay(50)) {
    assert.ok(Date.now() < end, 'h2 is not off in 60 s');
  }
  await mustLabSh('boot', 'h2', '--dir', labs.two);
  assert.equal(await inSecond('systemctl', 'is-system-running'), 'running');
  await inSecond('ls', '/root/kept', '/var/lib/siphon/kept');
  await assert.rejects(inSecond('ls', '/run/lost'), /\/run\/lost/);
  assert.equal(await inSecond('cat', '/etc/machine-id'), id);
  assert.equal(await countBoots(), 2);
  assert.match(await inSecond('ceph', 'osd', 'stat'), /1 up/);
});

test('down of one of two labs leaves the other', async () => {
  await mustLabSh('down', '--dir', labs.two);
  await assertGone(labs.two);
  assert.match(await inHost(labs.one, 'ceph', 'osd', 'stat'), /1 up/, 'the other lab lives on');
});

test('down leaves nothing, neither loop devices nor processes, and twice is fine', async () => {
  const loop = await inHost(
    labs.one,
    'sh',
    '-c',
    'truncate -s 8M /tmp/disk && losetup -f --show /tmp/disk',
  );
  const held = startLabSh('exec', 'h1', '--dir', labs.one, '--', 'sleep', '600');
  await until('the command runs', () => processesOf(labs.one, labId(labs.one)).length > 0);
  assert.notDeepEqual(tracesOf(labs.one), []);
  const [ended] = await Promise.all([ending(held), mustLabSh('down', '--dir', labs.one)]);
  assert.notEqual(ended.code, 0);
  await assertGone(labs.one);
  assert.ok(!existsSync(`/sys/block/${path.basename(loop)}/loop`), `${loop} is still attached`);
  const again = await labSh('down', '--dir', labs.one);
  assert.equal(again.code, 0);
  assert.match(again.stderr, /nothing to do/);
});

test('a run that was killed is cleaned by the next up, and by down', async () => {
  for (const next of ['up', 'down']) {
    const killed = startLabSh('up', '--dir', labs.killed);
    await until('a host starts', () => existsSync(`${labs.killed}/h1/pid`));
    killed.kill('SIGKILL');
    await ending(killed);
    assert.notDeepEqual(tracesOf(labs.killed), []);
    await mustLabSh(next, '--dir', labs.killed);
    if (next === 'up') assert.match(await inHost(labs.killed, 'ceph', 'osd', 'stat'), /1 up/);
    await mustLabSh('down', '--dir', labs.killed);
    await assertGone(labs.killed);
  }
});

test('an interrupted up takes its lab down', async () => {
  const interrupted = startLabSh('up', '--dir', labs.killed);
  await until('a host starts', () => existsSync(`${labs.killed}/h1/pid`));
  interrupted.kill('SIGINT');
  assert.equal((await ending(interrupted)).code, 130);
  await assertGone(labs.killed);
});

test('a lab with its Ceph is up after less than 10 s of one processor', () => {
  assert.ok(Math.min(...upCpuSeconds) < 10, `up took ${upCpuSeconds.join(', ')} s`);
});
