// Listening: what systemd gave, a safe start of our own, and modes.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { link, lstat, symlink, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { listenAt, takeActivation } from '../../../src/sidecar/sockets.ts';
import { temporaryFolder } from './support/quiet.ts';

const NONE = new Map<string, number>();

function server() {
  const made = createServer((socket) => socket.destroy());
  return Object.assign(made, {
    async [Symbol.asyncDispose]() {
      if (!made.listening) return;
      made.close();
      await once(made, 'close');
    },
  });
}

const at = (path: string, mode = 0o660) => ({ name: 'siphon.socket', path, mode }) as const;

async function modeOf(path: string): Promise<number> {
  return (await lstat(path)).mode & 0o777;
}

/** A socket whose owner died without closing it. */
function leaveStale(path: string): void {
  const program = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', program, path]);
}

describe('listening', () => {
  it('makes the folder and the socket with its mode', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'run/api.sock');
    await using made = server();
    await listenAt(made, at(path), NONE);
    assert.equal(await modeOf(path), 0o660);
    await using hook = server();
    await listenAt(hook, at(join(folder.path, 'run/hook.sock'), 0o600), NONE);
    assert.equal(await modeOf(join(folder.path, 'run/hook.sock')), 0o600);
    assert.equal(process.umask(), 0o022);
  });

  it('takes the place of a siphond that died', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'api.sock');
    leaveStale(path);
    assert.ok((await lstat(path)).isSocket());
    await using made = server();
    await listenAt(made, at(path), NONE);
    assert.ok(made.listening);
  });

  it('refuses the place of one that lives, and leaves it alone', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'api.sock');
    await using first = server();
    await listenAt(first, at(path), NONE);
    const { ino } = await lstat(path);
    await using second = server();
    await assert.rejects(listenAt(second, at(path), NONE), { code: 'busy' });
    assert.equal((await lstat(path)).ino, ino);
  });

  it('never removes a file or a link', async () => {
    await using folder = await temporaryFolder();
    const [file, link] = [join(folder.path, 'file'), join(folder.path, 'link')];
    await writeFile(file, 'precious');
    leaveStale(join(folder.path, 'stale.sock'));
    await symlink('stale.sock', link);
    for (const path of [file, link]) {
      await using made = server();
      await assert.rejects(listenAt(made, at(path), NONE), { code: 'refused' });
      await lstat(path);
    }
  });

  it('listens on the descriptor that it was started with, and makes no file', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'given.sock');
    await using given = server();
    given.listen(path);
    await once(given, 'listening');
    const { fd } = (given as Server & { _handle: { fd: number } })._handle;
    const program = `
      import { createServer } from 'node:net';
      import { listenAt, takeActivation } from '${import.meta.resolve('../../../src/sidecar/sockets.ts')}';
      const server = createServer((socket) => socket.end('the child'));
      const found = takeActivation(process.env, process.pid);
      await listenAt(server, { name: 'siphon.socket', path: '/nonexistent/api.sock', mode: 0o660 }, found);
      console.log(JSON.stringify({ ...process.env }.LISTEN_FDS ?? 'listening'));`;
    // As systemd does it: the variables, then exec.
    const child = spawn(
      'sh',
      [
        '-c',
        'export LISTEN_PID=$$; exec "$0" "$@"',
        process.execPath,
        '--input-type=module',
        '-e',
        program,
      ],
      {
        env: { ...process.env, LISTEN_FDS: '1', LISTEN_FDNAMES: 'siphon.socket' },
        stdio: ['ignore', 'pipe', 'inherit', fd],
      },
    );
    try {
      const [said] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
      assert.equal(said.toString().trim(), '"listening"');
      // Closing ours removes its name; the socket has another.
      await link(path, `${path}.kept`);
      given.close();
      assert.equal(await textFrom(`${path}.kept`), 'the child');
    } finally {
      child.kill('SIGKILL');
    }
  });
});

async function textFrom(path: string): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of connect({ path }) as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe("systemd's descriptors", () => {
  const given = {
    LISTEN_PID: '7',
    LISTEN_FDS: '2',
    LISTEN_FDNAMES: 'siphon.socket:siphon-hook.socket',
  };

  it('are known by their names, and their variables go', () => {
    const env = { ...given, PATH: '/bin' };
    const found = takeActivation(env, 7);
    assert.deepEqual(
      [...found],
      [
        ['siphon.socket', 3],
        ['siphon-hook.socket', 4],
      ],
    );
    assert.deepEqual(env, { PATH: '/bin' });
  });

  it("are not another process's", () => {
    assert.equal(takeActivation({ ...given }, 8).size, 0);
    assert.equal(takeActivation({}, 8).size, 0);
  });

  it('are no more than were passed', () => {
    assert.deepEqual(
      [...takeActivation({ ...given, LISTEN_FDS: '1' }, 7).keys()],
      ['siphon.socket'],
    );
  });
});
