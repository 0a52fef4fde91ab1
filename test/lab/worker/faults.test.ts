// What the world does to a ceph worker: the cluster hangs, keys change, processes are killed. siphond's side never waits.
//
// A hung cluster is a cut cable: the worker runs in a network of its own whose link goes down, so that no other test hangs too.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { OperatingError } from '../../../src/wire/errors.ts';
import type { CephSettings } from '../../../src/wire/worker-protocol.ts';
import type { ChildProgram } from '../../../src/worker/supervisor/index.ts';
import { must, run, until } from '../support/host.ts';
import { type Cleanup, fileCleanup, freshPool } from '../support/images.ts';
import {
  CONF,
  cephWorker,
  failing,
  isAlive,
  json,
  makeUsers,
  PROGRAM,
  soon,
} from './ceph-worker.ts';

const cleanup = fileCleanup();
let pool: string;
let users: CephSettings['users'];

before(async () => {
  pool = await freshPool(cleanup);
  users = await makeUsers(cleanup, pool);
  await must('rbd', 'create', '--size', '8M', `${pool}/disk`);
});

const disk = () => ({ pool, namespace: '', image: 'disk' });

let cables = 0;

/** A program behind a cable of its own. */
async function behindCable(
  t: Cleanup,
): Promise<{ program: ChildProgram; cut(): Promise<unknown>; mend(): Promise<unknown> }> {
  const number = ++cables;
  const [net, near, far] = ['n', 'a', 'b'].map((end) => `${end}${process.pid % 1e6}x${number}`);
  const subnet = `10.78.${(process.pid + number) % 250}`;
  await must('ip', 'netns', 'add', net!);
  t.after(() => run('ip', ['netns', 'del', net!]));
  await must('ip', 'link', 'add', near!, 'type', 'veth', 'peer', 'name', far!, 'netns', net!);
  await must('ip', 'addr', 'add', `${subnet}.1/24`, 'dev', near!);
  await must('ip', 'link', 'set', near!, 'up');
  await must('ip', '-n', net!, 'addr', 'add', `${subnet}.2/24`, 'dev', far!);
  await must('ip', '-n', net!, 'link', 'set', far!, 'up');
  await must('ip', '-n', net!, 'route', 'add', 'default', 'via', `${subnet}.1`);
  const args = [`--net=/run/netns/${net!}`, PROGRAM.execPath, ...PROGRAM.args];
  return {
    program: { execPath: '/usr/bin/nsenter', args },
    cut: () => must('ip', 'link', 'set', near!, 'down'),
    mend: () => must('ip', 'link', 'set', near!, 'up'),
  };
}

const answers = (call: Promise<unknown>): Promise<boolean> =>
  call.then(
    () => true,
    () => false,
  );

test('a hung cluster: calls end at their deadline while siphond goes on, and recover with the cluster', async (t) => {
  const cable = await behindCable(cleanup);
  await using worker = cephWorker(users, { program: cable.program, settings: { timeoutMs: 3000 } });
  await worker.call('imageUse', disk(), soon);
  const { pid } = worker.stats;
  await cable.cut();
  let longestMs = 0;
  let last = performance.now();
  const ticking = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - last);
    last = performance.now();
  }, 10);
  const began = performance.now();
  const late = Array.from({ length: 8 }, () =>
    worker.call('imageUse', disk(), { deadlineMs: 1000 }),
  );
  await Promise.all(late.map((call) => failing(call, 'unavailable', /deadline of 1000 ms/)));
  const lateMs = performance.now() - began;
  const patient = worker.call('imageUse', disk(), soon);
  await failing(patient, 'unavailable', /ETIMEDOUT|timed out/i);
  clearInterval(ticking);
  t.diagnostic(
    `deadline 1000 ms kept in ${lateMs.toFixed()} ms, longest pause ${longestMs.toFixed()} ms`,
  );
  assert.ok(lateMs < 3000, `the deadline of 1000 ms took ${lateMs} ms`);
  assert.ok(longestMs < 1000, `the event loop stood for ${longestMs} ms`);
  await cable.mend();
  await until('calls work again', () => answers(worker.call('imageUse', disk(), soon)));
  assert.equal(worker.stats.pid, pid, 'librados’ own timeouts came first: no kill was needed');
});

test('a worker that stays stuck in librados is killed after the grace, and the next one works', async () => {
  const cable = await behindCable(cleanup);
  const patient = { settings: { timeoutMs: 300_000 }, limits: { graceMs: 1000 } };
  await using worker = cephWorker(users, { program: cable.program, ...patient });
  await worker.call('imageUse', disk(), soon);
  const pid = worker.stats.pid!;
  await cable.cut();
  await failing(worker.call('imageUse', disk(), { deadlineMs: 500 }), 'unavailable', /deadline/);
  await until('it is killed', () => !isAlive(pid));
  await cable.mend();
  assert.equal((await worker.call('imageUse', disk(), soon)).sizeBytes, 8 * 2 ** 20);
  assert.match(worker.stats.lastEnding ?? '', /did not answer a cancelled imageUse/);
});

test('a cluster that cannot be reached is named with its conf and monitors', async () => {
  const cable = await behindCable(cleanup);
  await cable.cut();
  await using worker = cephWorker(users, { program: cable.program, settings: { timeoutMs: 1000 } });
  const status = worker.call('status', {}, soon);
  await failing(status, 'unavailable', /no monitor answered .*mon host = .*10\.77/, /ceph\.conf/);
  await cable.mend();
  // A first try may still meet the second of patience that it has, on a busy machine.
  await until('it answers', () => answers(worker.call('status', {}, soon)));
});

test('kill -9 of the worker: the call hears it, the next call works', async () => {
  await using worker = cephWorker(users);
  await worker.call('status', {}, soon);
  const calls = Array.from({ length: 5 }, () => worker.call('imageUse', disk(), soon));
  process.kill(worker.stats.pid!, 'SIGKILL');
  for (const call of calls) await failing(call, 'unavailable', /SIGKILL/);
  await worker.call('imageUse', disk(), soon);
  assert.equal(worker.stats.starts, 2);
});

for (const when of ['idle', 'stuck'] as const) {
  test(`when siphond is killed, its worker ends, also one that is ${when}`, async () => {
    const cable = await behindCable(cleanup);
    if (when === 'stuck') await cable.cut();
    const settings = JSON.stringify({ conf: CONF, users, timeoutMs: 300_000 });
    const { execPath, args } = cable.program;
    const script = path.join(import.meta.dirname, 'fixtures/parent.ts');
    const parent = spawn(process.execPath, [script, when, settings, execPath, ...args]);
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(line.toString().split('\n')[0]);
    assert.ok(isAlive(pid));
    parent.kill('SIGKILL');
    await until('the worker ends', () => !isAlive(pid), 10);
  });
}

test('dispose ends a worker that is stuck in librados', async () => {
  const cable = await behindCable(cleanup);
  const worker = cephWorker(users, { program: cable.program, settings: { timeoutMs: 300_000 } });
  await worker.call('status', {}, soon);
  await cable.cut();
  const call = failing(worker.call('imageUse', disk(), soon), 'unavailable', /it was ended/);
  await delay(200);
  const pid = worker.stats.pid!;
  await worker[Symbol.asyncDispose]();
  await call;
  assert.equal(isAlive(pid), false);
});

test('keys and files that are missing or wrong are named, and what is repaired works at the next call', async () => {
  const keyring = `/tmp/${pool}.repaired.keyring`;
  cleanup.after(() => run('rm', ['-f', keyring]));
  await using worker = cephWorker({ ...users, fill: { name: users.fill.name, keyring } });
  const status = () => worker.call('status', {}, soon);
  await failing(status(), 'denied', /keyring does not exist/, /read it/);
  await writeFile(keyring, 'this is no keyring\n');
  // Ceph 20 takes it for a keyring that is empty.
  const noKey = /no key can be read from \/tmp|no keyring holds a key of/;
  await failing(status(), 'denied', noKey, /ceph auth get/);
  const entity = `client.${users.fill.name}`;
  await writeFile(keyring, `[${entity}]\n\tkey = AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==\n`);
  await failing(status(), 'denied', /do not accept the key/, /ceph auth get/);
  await must('cp', users.fill.keyring!, keyring);
  await status();
});

test('a user whose key was taken away and given back works again', async () => {
  const name = `${users.fill.name}-late`;
  const keyring = `/tmp/${name}.keyring`;
  cleanup.after(() => run('rm', ['-f', keyring]));
  cleanup.after(() => run('ceph', ['auth', 'rm', `client.${name}`]));
  const give = (caps: string) =>
    must(
      'ceph',
      'auth',
      'get-or-create',
      `client.${name}`,
      'mon',
      'allow r',
      'osd',
      caps,
      '-o',
      keyring,
    );
  await give(`profile rbd-read-only pool=nopool`);
  await using worker = cephWorker({ ...users, fill: { name, keyring } });
  const name2 = { ...disk(), snap: 'nosnap' };
  await failing(worker.call('resolveSource', name2, soon), 'denied', /may not/, /ceph auth caps/);
  const caps = `profile rbd-read-only pool=${pool}`;
  await must('ceph', 'auth', 'caps', `client.${name}`, 'mon', 'allow r', 'osd', caps);
  await failing(worker.call('resolveSource', name2, soon), 'not-found', /no snapshot/);
});

test('a wrong conf file and a wrong fsid are named', async () => {
  await using lost = cephWorker(users, { settings: { conf: '/etc/ceph/no.conf' } });
  await failing(lost.call('status', {}, soon), 'denied', /no\.conf does not exist/);
  const fsid = '00000000-0000-4000-8000-000000000000';
  const names = new RegExp(`${await must('ceph', 'fsid')}.*${fsid}`);
  await using other = cephWorker(users, { settings: { fsid } });
  await failing(other.call('status', {}, soon), 'mismatch', names, /config/);
});

test('a blocklisted connection is replaced at the next call', async () => {
  await using worker = cephWorker(users);
  await worker.call('imageUse', disk(), soon);
  await worker.call('createSnapshot', { ...disk(), snap: 'siphon.before' }, soon);
  const sessions = await json<Session[]>('ceph', 'tell', 'mon.a', 'sessions');
  const own = sessions.filter((each) => each.entity_name === `client.${users.snapshot.name}`);
  for (const { addr, nonce } of own.map((each) => each.socket_addr)) {
    await must('ceph', 'osd', 'blocklist', 'add', `${addr}/${nonce}`, '60');
  }
  const call = () => worker.call('imageUse', disk(), soon);
  // The OSD learns of it with its next map; then one call fails, and the one after it has a connection anew.
  const error = await until('a call fails', () =>
    call().then(
      () => undefined,
      (thrown: unknown) => thrown,
    ),
  );
  assert.match((error as OperatingError).message, /blocklisted/);
  await call();
});

interface Session {
  readonly entity_name: string;
  readonly socket_addr: { readonly addr: string; readonly nonce: number };
}
