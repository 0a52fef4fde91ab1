// A domain's start with the hook installed: misses are filled or refused in words, hits cost little, siphond down costs less.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { before, test } from 'node:test';
import type { Base } from '../../../src/wire/vocabulary.ts';
import {
  defineDomain,
  domainState,
  installHook,
  overlayOn,
  startsFilled,
} from '../support/domains.ts';
import { must, run, sh, timed, until } from '../support/host.ts';
import {
  bigSource,
  fileCleanup,
  freshPool,
  importSource,
  rawFile,
  scratchFolder,
} from '../support/images.ts';
import { answering, fillWorkers, siphon, siphonJson } from '../support/siphon.ts';

const HOOK_SOCKET = '/run/siphon/hook.sock';
const cleanup = fileCleanup();
let pool = '';
let scratch = '';
let source = '';

before(async () => {
  await answering();
  await installHook();
  pool = await freshPool(cleanup);
  scratch = await scratchFolder(cleanup);
  source = await importSource(await rawFile(`${scratch}/root`, 64, [0, 1, 40]), `${pool}/root`);
});

async function domainOn(name: string, of: string, size = '64M'): Promise<string> {
  const path = await overlayOn(of, `${scratch}/${name}.qcow2`, size);
  return defineDomain(cleanup, { name, disks: [{ kind: 'file', path }] });
}

const leasesOf = async (of: string) => (await siphonJson<Base>('get', of)).leases;

test('a missing base is filled by the start itself, and leased while the domain runs', async () => {
  const name = await domainOn('cold', source);
  assert.equal((await run('test', ['-e', await must('siphon', 'path', source)])).code, 1);
  await startsFilled(name);
  assert.equal(await domainState(name), 'running');
  assert.ok(
    (await leasesOf(source)).some((one) => one.domainName === name && one.kind === 'running'),
  );
  const kept = await siphon('evict', source);
  assert.equal(kept.code, 5);
  assert.match(kept.stderr, /domain cold needs it/);
  await must('test', '-e', await must('siphon', 'path', source));
  await must('virsh', '-q', 'destroy', name);
  await until(
    'the running lease has ended',
    async () => (await leasesOf(source)).every((one) => one.kind === 'defined') || undefined,
  );
  const still = await siphon('evict', source);
  assert.equal(still.code, 5);
  assert.match(still.stderr, /defined/, 'a defined domain refers to it');
  await must('test', '-e', await must('siphon', 'path', source));
});

test('a base that a process has open stays, even if nothing says why', async () => {
  const file = await rawFile(`${scratch}/open`, 8, [0]);
  const opened = await importSource(file, `${pool}/open`);
  await siphonJson('warm', opened);
  const path = await must('siphon', 'path', opened);
  const nbd = ['-r', '-f', 'qcow2', '-k', `${scratch}/nbd.sock`, `--pid-file=${scratch}/nbd.pid`];
  await must('qemu-nbd', '--fork', ...nbd, path);
  const kept = await siphon('evict', opened);
  assert.equal(kept.code, 5);
  assert.match(kept.stderr, /a process has it open/);
  await must('test', '-e', path);
  const pid = await must('cat', `${scratch}/nbd.pid`);
  await must('kill', pid);
  await until('it is closed', async () => (await run('kill', ['-0', pid])).code !== 0 || undefined);
  assert.equal((await siphon('evict', opened)).code, 0);
});

test('a base that cannot be filled refuses the start with the cause', async () => {
  const wrong = `rbd:${pool}/root@other`;
  await must('rbd', 'snap', 'create', '--no-progress', `${pool}/root@other`);
  const name = await domainOn('sourceless', wrong);
  await must('rbd', 'snap', 'rm', '--no-progress', `${pool}/root@other`);
  await until('the start is refused with it', async () => {
    const { code, stderr } = await run('virsh', ['-q', 'start', name]);
    assert.notEqual(code, 0);
    return /siphon:.*snapshot/.test(stderr);
  });
  assert.equal(await domainState(name), 'shut off');
});

test('a large base on a slow link: refused within the budget with percent and retry; the retry succeeds', async () => {
  const big = await bigSource(`${pool}/big`, 256);
  await sh(
    `rbd resize --no-progress -s 1G ${pool}/big && rbd snap rm --no-progress ${pool}/big@snap && rbd snap create --no-progress ${pool}/big@snap`,
  );
  const name = await domainOn('slow', big, '1G');
  // At this rate it takes 13 s.
  await sh('tc qdisc add dev lo root tbf rate 160mbit burst 256k latency 400ms');
  try {
    const start = timed(() => run('virsh', ['-q', 'start', name]));
    await until('the hook waits', async () => (await fillWorkers()).length > 0 || undefined);
    const list = await timed(() => run('virsh', ['list', '--all']));
    const { ms, result } = await start;
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /\d+ ?%/);
    assert.match(result.stderr, /try again/);
    assert.ok(ms < 6500, `the start took ${ms} ms`);
    assert.ok(list.ms < 6500, `virsh list took ${list.ms} ms`);
  } finally {
    await sh('tc qdisc del dev lo root');
  }
  const started = await siphon('start', name);
  assert.equal(started.code, 0, started.stderr);
  assert.equal(await domainState(name), 'running');
  await must('virsh', '-q', 'destroy', name);
});

test('siphond down: the domain starts all the same, and the event is caught up', async () => {
  const name = await domainOn('alone', source);
  await must('systemctl', 'stop', 'siphond.service', 'siphond.socket', 'siphon-hook.socket');
  try {
    const { ms } = await timed(() => must('virsh', '-q', 'start', name));
    assert.ok(ms < 5000, `the start took ${ms} ms`);
    const spooled = await sh('find /var/spool/siphon/hook -maxdepth 1 -name "*.xml" | wc -l');
    assert.ok(Number(spooled) >= 1, 'nothing was spooled');
    const modes = await sh(
      'find /var/spool/siphon/hook -maxdepth 1 -name "*.xml" -printf "%m\\n" | sort -u',
    );
    assert.equal(modes, '600');
  } finally {
    await must('systemctl', 'start', 'siphond.socket', 'siphon-hook.socket', 'siphond.service');
    await answering();
  }
  await until(
    'the spool is empty',
    async () =>
      (await sh('find /var/spool/siphon/hook -maxdepth 1 -name "*.xml" | wc -l')) === '0' ||
      undefined,
  );
  await until(
    'the lease is known',
    async () =>
      (await leasesOf(source)).some((one) => one.domainName === name && one.kind === 'running') ||
      undefined,
  );
  await must('virsh', '-q', 'destroy', name);
});

/** Starts and destroys the domain; gives how often somebody came to the hook's socket, where siphond is not. */
async function connectionsOf(name: string): Promise<number> {
  let connections = 0;
  const server = createServer((connection) => {
    connections += 1;
    connection.destroy();
  });
  await must('rm', '-f', HOOK_SOCKET);
  server.listen(HOOK_SOCKET);
  await once(server, 'listening');
  try {
    await must('virsh', '-q', 'start', name);
    await must('virsh', '-q', 'destroy', name);
    return connections;
  } finally {
    server.close();
    await once(server, 'close');
  }
}

test('bypass: the hook connects to nothing, and spools nothing', async () => {
  const name = await domainOn('bypassed', source);
  await must('systemctl', 'stop', 'siphond.service', 'siphond.socket', 'siphon-hook.socket');
  try {
    assert.equal(await connectionsOf(name), 2, 'not bypassed: at the start, and at the stop');
    await sh('rm /var/spool/siphon/hook/*.xml; touch /run/siphon/bypass');
    assert.equal(await connectionsOf(name), 0);
    assert.equal(await sh('find /var/spool/siphon/hook -maxdepth 1 -name "*.xml" | wc -l'), '0');
  } finally {
    await must('rm', '-f', '/run/siphon/bypass');
    await must('systemctl', 'start', 'siphond.socket', 'siphon-hook.socket', 'siphond.service');
    await answering();
  }
});

test('malformed XML and hostile names never block a start, and are said in the log', async () => {
  const curl = (body: string) =>
    run(
      'curl',
      [
        '-sS',
        '-m',
        '10',
        '--unix-socket',
        '/run/siphon/hook.sock',
        '--data-binary',
        '@-',
        'http://siphon/v1/hook/prepare?subop=begin&extra=none',
      ],
      { input: body },
    );
  for (const body of [
    '',
    '<domain',
    '<domain/>',
    'x'.repeat(100_000),
    '<domain><name>../../x</name></domain>',
  ]) {
    const { stdout } = await curl(body);
    assert.match(stdout.trim(), /^allow$/, body.slice(0, 40));
  }
  const name = `he said "it's <me>" & $(touch pwned)`;
  await defineDomain(cleanup, { name, disks: [] });
  await must('virsh', '-q', 'start', name);
  await must('virsh', '-q', 'destroy', name);
  assert.equal((await run('find', ['/pwned', '/root/pwned', '-maxdepth', '0'])).code, 1);
  assert.match(await sh('journalctl -u siphond --since -2min -o cat'), /XML|xml/);
  assert.equal(
    await readFile('/etc/libvirt/hooks/qemu.d/50-siphon', 'utf8').then((text) => text.length > 0),
    true,
  );
});
