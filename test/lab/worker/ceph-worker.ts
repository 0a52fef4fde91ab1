// Real workers for tests: the child program, with users of least caps, and pools of the test's own.

import assert from 'node:assert/strict';
import path from 'node:path';
import { capsCommands } from '../../../src/sidecar/doctor/caps.ts';
import type { Pools } from '../../../src/wire/caps.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import type { CephMethods, CephSettings } from '../../../src/wire/worker-protocol.ts';
import {
  type ChildProgram,
  startWorker,
  type Worker,
  type WorkerOptions,
} from '../../../src/worker/supervisor/index.ts';
import { must, run, sh } from '../support/host.ts';
import type { Cleanup } from '../support/images.ts';

const ROOT = path.join(import.meta.dirname, '../../..');
export const CONF = '/etc/ceph/ceph.conf';
export const PROGRAM: ChildProgram = {
  execPath: process.execPath,
  args: [path.join(ROOT, 'src/worker/main.ts')],
};
export const soon = { deadlineMs: 30_000 };

/** A worker's log on this process's standard error, where a failed test shows it. */
export const log: WorkerOptions['log'] = {
  info: () => undefined,
  warn: (fields, text) => console.error(JSON.stringify(fields), text),
};

let count = 0;

/** Users with the caps that `siphon doctor --caps` prints, made by its commands, for pools of both kinds; their keyrings in /tmp. */
export async function makeUsers(t: Cleanup, ...pools: string[]): Promise<CephSettings['users']> {
  return await usersFor(t, { images: pools, vms: pools });
}

export async function usersFor(
  t: Cleanup,
  pools: Pools,
  tickPool?: string,
): Promise<CephSettings['users']> {
  const prefix = `w${process.pid}x${++count}`;
  const named = (role: string) => {
    return { name: `${prefix}-${role}`, keyring: `/tmp/${prefix}-${role}.keyring` };
  };
  const users = {
    fill: named('fill'),
    snapshot: named('snapshot'),
    publish: named('publish'),
    restore: named('restore'),
  };
  const ticks = tickPool === undefined ? {} : { tickPool };
  const settings = { conf: CONF, users, timeoutMs: 5000, ...ticks };
  const [cluster] = capsCommands([{ name: 'ceph', settings }], pools);
  await Promise.all((cluster?.users ?? []).map(({ create }) => sh(create)));
  for (const { name, keyring } of Object.values(users)) {
    t.after(() => run('ceph', ['auth', 'rm', `client.${name}`]));
    t.after(() => run('rm', ['-f', keyring]));
  }
  return users;
}

export function cephWorker(
  users: CephSettings['users'],
  more: { settings?: Partial<CephSettings> } & Partial<WorkerOptions> = {},
): Worker<CephMethods> {
  const { settings, ...options } = more;
  return startWorker<CephMethods>({
    role: 'ceph',
    settings: { conf: CONF, users, timeoutMs: 5000, ...settings } satisfies CephSettings,
    program: PROGRAM,
    log,
    ...options,
  });
}

/** Asserts that the call fails as an operating error of this code, whose text and hint match; gives the error. */
export async function failing(
  call: Promise<unknown>,
  code: OperatingError['code'],
  text: RegExp,
  hint?: RegExp,
): Promise<OperatingError> {
  const error = await call.then(
    (result) => assert.fail(`it should have failed, and gave ${JSON.stringify(result)}`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof OperatingError, String(error));
  assert.equal(error.code, code, `${error.message} [${error.hint}]`);
  assert.match(error.message, text);
  if (hint) assert.match(error.hint ?? '', hint);
  return error;
}

/** What a tool prints as JSON. */
export async function json<T>(command: string, ...args: readonly string[]): Promise<T> {
  return JSON.parse(await must(command, ...args, '--format', 'json')) as T;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false; // ESRCH is the only answer that a root's signal 0 can have
  }
}
