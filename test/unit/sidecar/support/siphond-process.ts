// siphond as a process of its own on a host without Ceph and without libvirt, in a folder that goes with its test.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from './quiet.ts';

export const MAIN = fileURLToPath(import.meta.resolve('../../../../src/sidecar/main.ts'));
const START_MS_MAX = 30_000;

export async function folderWithConfig(more = '') {
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
    api = { socket = "${at('api.sock')}", read_socket = "${at('read.sock')}", hook_socket = "${at('hook.sock')}" }
    ${more}`;
  await writeFile(at('siphon.toml'), config);
  await mkdir(at('policies.d'));
  return { at, config: at('siphon.toml'), [Symbol.asyncDispose]: folder[Symbol.asyncDispose] };
}

export function run(config: string, env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [MAIN, '--config', config], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return Object.assign(child, {
    output: () => output,
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  });
}

export async function ready(child: ReturnType<typeof run>): Promise<void> {
  const deadlineMs = Date.now() + START_MS_MAX;
  while (!child.output().includes('siphond is at work')) {
    assert.ok(child.exitCode === null && Date.now() < deadlineMs, child.output());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function get(socketPath: string, path: string, body?: string) {
  const { promise, resolve, reject } = Promise.withResolvers<NodeJS.ReadableStream>();
  const method = body === undefined ? 'GET' : 'POST';
  request({ socketPath, path, method, agent: false }, resolve).on('error', reject).end(body);
  return promise;
}

export async function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null) await once(child, 'exit');
  return child.exitCode;
}
