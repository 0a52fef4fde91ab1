import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  Connection,
  defineDomain,
  listDomains,
  lookUpDomainByName,
  VIR_ERR,
  watchLifecycle,
} from '../src/index.ts';
import { defineTestDomain, run, URI, until } from './lab.ts';

test('a connection knows its URI and version, and is alive until it is disposed of', async () => {
  const connection = await Connection.open(URI);
  assert.equal(await connection.uri(), URI);
  assert.match(await connection.version(), /^\d+\.\d+\.\d+$/);
  const { stdout } = await run('virsh', ['-c', URI, 'version', '--daemon']);
  assert.match(stdout, new RegExp(`daemon: ${await connection.version()}`));
  assert.equal(await connection.isAlive(), true);
  await connection[Symbol.asyncDispose]();
  await connection[Symbol.asyncDispose]();
  assert.equal(await connection.closed, 'client');
  assert.equal(await connection.isAlive(), false);
  await assert.rejects(connection.uri(), { name: 'AssertionError' });
});

test('a read-only connection may look and not touch', async () => {
  await using connection = await Connection.open(URI, { isReadOnly: true });
  await using list = await listDomains(connection);
  assert(Array.isArray(list.domains));
  await assert.rejects(defineDomain(connection, '<domain/>'), { code: VIR_ERR.OPERATION_DENIED });
});

test('a wrong socket is a clear error, at once', async () => {
  const started = performance.now();
  await assert.rejects(Connection.open('qemu+unix:///system?socket=/run/no-such-socket'), {
    name: 'LibvirtError',
    message: /\/run\/no-such-socket.*No such file/,
  });
  await assert.rejects(Connection.open('nonsense:///system'), { name: 'LibvirtError' });
  assert(performance.now() - started < 5000);
});

test('a daemon that hangs up in the greeting is an error', async () => {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen('/run/node-libvirt-test.sock', resolve));
  try {
    await assert.rejects(
      Connection.open('qemu+unix:///system?socket=/run/node-libvirt-test.sock'),
      {
        name: 'LibvirtError',
      },
    );
  } finally {
    server.close();
  }
});

test('a driver without keepalive, in this process, is a connection too', async () => {
  await using connection = await Connection.open('test:///default');
  await using domain = await lookUpDomainByName(connection, 'test');
  assert.equal((await domain.status()).state, 'running');
});

test('a restart of libvirtd closes the connection, and a new one works', async () => {
  const connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  await watchLifecycle(connection, () => {});
  await using domain = await lookUpOrDefine(stack);
  await run('systemctl', ['restart', 'libvirtd']);
  assert.match(await connection.closed, /^(end of file|error)$/);
  assert.equal(connection.isClosed, true);
  await assert.rejects(listDomains(connection), { name: 'LibvirtError' });
  await connection[Symbol.asyncDispose]();

  await using again = await Connection.open(URI);
  await using found = await lookUpDomainByName(again, domain.name);
  assert.equal(found.uuid, domain.uuid);
});

async function lookUpOrDefine(
  stack: AsyncDisposableStack,
): Promise<{ name: string; uuid: string } & AsyncDisposable> {
  const connection = stack.use(await Connection.open(URI));
  const { name, uuid } = await defineTestDomain(connection, new AsyncDisposableStack());
  stack.defer(async () => {
    await run('virsh', ['-c', URI, 'undefine', name]);
  });
  return { name, uuid, [Symbol.asyncDispose]: async () => {} };
}

test('a libvirtd that stops answering is gone by keepalive', async () => {
  await using connection = await Connection.open(URI, {
    keepAlive: { intervalSeconds: 1, count: 1 },
  });
  const { stdout } = await run('systemctl', ['show', '-P', 'MainPID', 'libvirtd']);
  process.kill(Number(stdout), 'SIGSTOP');
  try {
    assert.equal(await connection.closed, 'keepalive');
  } finally {
    process.kill(Number(stdout), 'SIGCONT');
  }
});

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

function residentMiB(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024;
}

test('200 rounds of connect, watch, list, fail and close keep descriptors and memory stable', async () => {
  await using keeper = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  await defineTestDomain(keeper, stack);
  for (let i = 0; i < 20; i++) await round();
  const [descriptors, resident] = [openDescriptors(), residentMiB()];
  for (let i = 0; i < 200; i++) await round();
  await until('descriptors are closed', () => openDescriptors() <= descriptors);
  assert(residentMiB() < resident + 30, `${resident} MiB became ${residentMiB()} MiB`);
});

async function round(): Promise<void> {
  await using connection = await Connection.open(URI);
  await watchLifecycle(connection, () => {});
  await using list = await listDomains(connection);
  for (const domain of list) assert.match(await domain.xml(), /<domain/);
  await assert.rejects(lookUpDomainByName(connection, 'no-such-domain'), { code: 42 });
}

const SOURCE = fileURLToPath(new URL('../src/index.ts', import.meta.url));

for (const [what, end, code] of [
  ['after its connections are closed', 'await connection[Symbol.asyncDispose]();', 0],
  ['by process.exit(), with a connection open', 'process.exit(7);', 7],
  ['by an uncaught exception, with a connection open', `throw new Error('x');`, 1],
] as const) {
  test(`a process ends ${what}`, async () => {
    const script = `import { Connection, watchLifecycle } from '${SOURCE}';
      const connection = await Connection.open('${URI}');
      await watchLifecycle(connection, () => {});
      ${end}`;
    const ended = run(process.execPath, ['--input-type=module-typescript', '-e', script], {
      timeout: 10_000,
    });
    const status = await ended.then(
      () => 0,
      (error: { code: number | null }) => error.code,
    );
    assert.equal(status, code);
  });
}

test('an idle connection costs no CPU', async () => {
  await using connection = await Connection.open(URI);
  await watchLifecycle(connection, () => {});
  const before = process.cpuUsage();
  const stopAt = performance.now() + 1000;
  await until('a second has passed', () => performance.now() > stopAt);
  const { user, system } = process.cpuUsage(before);
  assert(user + system < 200_000, `${user + system} µs of CPU in a second`);
});
