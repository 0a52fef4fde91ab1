// scripts/install-hook.sh under a prefix: what it puts where, what it leaves alone, and what it says.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const ROOT = path.join(import.meta.dirname, '../../..');
const SCRIPT = path.join(ROOT, 'scripts/install-hook.sh');
const FILTER = path.join(ROOT, 'src/hook/siphon-hook.sh');

async function openPrefix() {
  const prefix = await mkdtemp(path.join(tmpdir(), 'siphon-install-'));
  const folder = path.join(prefix, 'etc/libvirt/hooks/qemu.d');
  return {
    prefix,
    folder,
    hook: path.join(folder, '50-siphon'),
    run: (command: string) => run(SCRIPT, [command, '--prefix', prefix]),
    [Symbol.asyncDispose]: () => rm(prefix, { recursive: true, force: true }),
  };
}

/** Exit code, and all that it said. */
function run(script: string, argv: readonly string[]): Promise<{ code: number; said: string }> {
  const { promise, resolve } = Promise.withResolvers<{ code: number; said: string }>();
  const child = execFile(script, argv, (_, stdout, stderr) => {
    resolve({ code: child.exitCode ?? -1, said: `${stdout}${stderr}` });
  });
  return promise;
}

async function executable(file: string, text: string): Promise<void> {
  await writeFile(file, text);
  await chmod(file, 0o755);
}

test('install: a regular executable file, the filter byte for byte, and a private spool; again changes nothing', async () => {
  await using at = await openPrefix();
  assert.match((await at.run('status')).said, /not installed/);
  assert.equal((await at.run('install')).code, 0);
  const first = await stat(at.hook);
  assert.ok(first.isFile() && (first.mode & 0o777) === 0o755);
  assert.deepEqual(await readFile(at.hook), await readFile(FILTER));
  assert.equal((await stat(path.join(at.prefix, 'var/spool/siphon/hook'))).mode & 0o777, 0o700);
  const again = await at.run('install');
  assert.deepEqual([again.code, /already installed/.test(again.said)], [0, true]);
  assert.equal((await stat(at.hook)).ino, first.ino);
  const status = await at.run('status');
  assert.deepEqual([status.code, /installed and seen/.test(status.said)], [0, true]);
});

test('another version is told by status and replaced by install, which leaves nothing beside it', async () => {
  await using at = await openPrefix();
  await at.run('install');
  await executable(at.hook, '#!/bin/sh\nexit 0\n');
  const status = await at.run('status');
  assert.deepEqual([status.code, /another version/.test(status.said)], [1, true]);
  assert.equal((await at.run('install')).code, 0);
  assert.equal((await at.run('status')).code, 0);
  assert.deepEqual(await readdir(at.folder), ['50-siphon']);
});

test('a link is not an installed hook: AppArmor would not let it run', async () => {
  await using at = await openPrefix();
  await mkdir(at.folder, { recursive: true });
  await symlink(FILTER, at.hook);
  const status = await at.run('status');
  assert.deepEqual([status.code, /regular file/.test(status.said)], [1, true]);
  assert.equal((await at.run('install')).code, 0);
  assert.deepEqual(await readFile(FILTER), await readFile(at.hook));
  assert.equal((await at.run('status')).code, 0);
});

test('other hooks stay, through install and uninstall', async () => {
  await using at = await openPrefix();
  await mkdir(at.folder, { recursive: true });
  const others = [path.join(at.folder, '..', 'qemu'), path.join(at.folder, '10-other')];
  for (const other of others) await executable(other, '#!/bin/sh\n# mine\n');
  for (const command of ['install', 'uninstall', 'uninstall']) {
    assert.equal((await at.run(command)).code, 0);
    for (const other of others) assert.equal(await readFile(other, 'utf8'), '#!/bin/sh\n# mine\n');
  }
  assert.deepEqual(await readdir(at.folder), ['10-other']);
});

test('an executable copy beside it is warned of: libvirt runs that too', async () => {
  await using at = await openPrefix();
  await at.run('install');
  await copyFile(at.hook, `${at.hook}~`);
  for (const command of ['status', 'install', 'uninstall']) {
    assert.match((await at.run(command)).said, /warning: .*50-siphon~ is executable/);
  }
});

test('events that wait in the spool survive uninstall', async () => {
  await using at = await openPrefix();
  await at.run('install');
  const event = path.join(at.prefix, 'var/spool/siphon/hook/1.xml');
  await writeFile(event, 'x');
  await at.run('uninstall');
  assert.equal(await readFile(event, 'utf8'), 'x');
});

test('a wrong call is exit 2 with the usage; a missing filter is said', async () => {
  await using at = await openPrefix();
  for (const argv of [[], ['help'], ['install', '--prefix'], ['install', '--root', '/x']]) {
    const { code, said } = await run(SCRIPT, argv);
    assert.deepEqual([code, said.startsWith('usage:')], [2, true], argv.join(' '));
  }
  const alone = path.join(at.prefix, 'install-hook.sh');
  // Where siphon is not installed either.
  const script = await readFile(SCRIPT, 'utf8');
  await writeFile(alone, script.replaceAll('/usr/lib/siphon', at.prefix), { mode: 0o755 });
  const { code, said } = await run(alone, ['install', '--prefix', at.prefix]);
  assert.deepEqual([code, /siphon-hook\.sh is neither/.test(said)], [1, true]);
});
