// The whole of siphond as a process, on a host without Ceph and without libvirt: it is ready all the same, and it stops.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { json, text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { StatusAnswer } from '../../../src/wire/api.ts';
import { temporaryFolder, until } from './support/quiet.ts';

const MAIN = fileURLToPath(import.meta.resolve('../../../src/sidecar/main.ts'));
const START_MS_MAX = 30_000;

async function folderWithConfig(more = '') {
  const folder = await temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  const config = `
    cache = { path = "${at('bases-rw')}", mount = "${at('bases')}" }
    clusters.none = { conf = "${at('ceph.conf')}", timeout = "1s" }
    trust.folder = "${at('trust')}"
    hook.spool = "${at('spool')}"
    snapshot.policies = "${at('policies.d')}"
    libvirt.uri = "test+unix:///nonexistent"
    state.path = "${at('siphon.db')}"
    api = { socket = "${at('api.sock')}", hook_socket = "${at('hook.sock')}" }
    ${more}`;
  await writeFile(at('siphon.toml'), config);
  return { at, config: at('siphon.toml'), [Symbol.asyncDispose]: folder[Symbol.asyncDispose] };
}

function run(config: string) {
  const child = spawn(process.execPath, [MAIN, '--config', config], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return Object.assign(child, {
    output: () => output,
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  });
}

async function ready(child: ReturnType<typeof run>): Promise<void> {
  const deadlineMs = Date.now() + START_MS_MAX;
  while (!child.output().includes('siphond is at work')) {
    assert.ok(child.exitCode === null && Date.now() < deadlineMs, child.output());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function get(socketPath: string, path: string, body?: string) {
  const { promise, resolve, reject } = Promise.withResolvers<NodeJS.ReadableStream>();
  const method = body === undefined ? 'GET' : 'POST';
  request({ socketPath, path, method, agent: false }, resolve).on('error', reject).end(body);
  return promise;
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null) await once(child, 'exit');
  return child.exitCode;
}

describe('siphond', () => {
  it('serves, catches up with its spool, allows starts, and stops, with neither Ceph nor libvirt', async () => {
    await using folder = await folderWithConfig();
    await mkdir(folder.at('spool'));
    const xml = '<domain><name>g</name><uuid>0b3f3c3e-6a39-4f5c-9d0e-6f3c8f1d2a11</uuid></domain>';
    await writeFile(folder.at('spool/1700000000000000001-9-release.end.shutdown.xml'), xml);
    using child = run(folder.config);
    await ready(child);
    assert.deepEqual(await readdir(folder.at('spool')), []);
    const status = (await json(await get(folder.at('api.sock'), '/v1/status'))) as StatusAnswer;
    assert.equal(status.clusters[0]?.state, 'unavailable');
    assert.equal(status.libvirt.state, 'unavailable');
    assert.deepEqual(
      status.problems.map(({ where }) => where),
      [folder.at('bases')],
    );
    const at = '/v1/hook/prepare?subop=begin&extra=none&pid=1';
    assert.match(await text(await get(folder.at('hook.sock'), at, xml)), /^ +allow\n$/);
    // A policy with a mistake is a problem as soon as it is there.
    await writeFile(folder.at('policies.d/a.toml'), '[[policy]]\nnom = 1\n');
    await until(async () => {
      const now = (await json(await get(folder.at('api.sock'), '/v1/status'))) as StatusAnswer;
      return now.problems.some(({ where }) => where.startsWith(folder.at('policies.d/a.toml')));
    });
    const stoppedAtMs = performance.now();
    child.kill('SIGTERM');
    assert.equal(await exitOf(child), 0, child.output());
    assert.ok(performance.now() - stoppedAtMs < 10_000);
    assert.deepEqual(
      (await readdir(folder.at('.'))).filter((name) => name.endsWith('.sock')),
      [],
    );
  });

  it('does not start beside another, nor with a config that is wrong, and says why', async () => {
    await using folder = await folderWithConfig();
    using first = run(folder.config);
    await ready(first);
    using second = run(folder.config);
    assert.equal(await exitOf(second), 6, second.output());
    assert.match(second.output(), /another siphond has it/);
    await using bad = await folderWithConfig('hook.fill_wate = "5s"');
    using third = run(bad.config);
    assert.equal(await exitOf(third), 2);
    assert.match(
      third.output(),
      /siphon\.toml:\d+: hook\.fill_wate: unknown key; allowed here: fill_wait, spool/,
    );
  });

  it('checks a config, and starts nothing', async () => {
    await using folder = await folderWithConfig();
    const check = (file: string) =>
      spawnSync(process.execPath, [MAIN, '--check-config', file], { encoding: 'utf8' });
    const good = check(folder.config);
    assert.deepEqual([good.status, good.stdout], [0, `${folder.config}: ok\n`]);
    await writeFile(folder.config, '[cache]\nlimit = 1\n[log]\nlevel = 1\n');
    const wrong = check(folder.config);
    assert.equal(wrong.status, 2);
    assert.equal(wrong.stderr.trim().split('\n').length, 2);
    assert.deepEqual(await readdir(folder.at('.')), ['siphon.toml']);
  });
});
