// What needs a guest that answers: its agent, and a save that takes long. One guest serves all, in this order.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { guestXml } from '../../../test/lab/support/guest.ts';
import {
  type AgentEvent,
  abortJob,
  agentCommand,
  Connection,
  createDomain,
  type Domain,
  freezeFilesystems,
  freezeStatus,
  guestFilesystems,
  isLibvirtError,
  jobInfo,
  jobStatistics,
  saveDomain,
  setAgentTimeout,
  thawFilesystems,
  VIR_ERR,
  watchAgents,
} from '../src/index.ts';
import { makeFolder, makeQcow2, removeLater, testName, URI, until } from './lab.ts';

const stack = new AsyncDisposableStack();
const events: AgentEvent[] = [];
let domain: Domain;
let connection: Connection;
let folder: string;

before(async () => {
  connection = stack.use(await Connection.open(URI));
  folder = await makeFolder(stack);
  const path = await makeQcow2(`${folder}/disk`, 16);
  await watchAgents(connection, (event) => events.push(event));
  const xml = guestXml({
    name: testName(),
    disks: [{ kind: 'file', path }],
    cmdline: 'tiny.mkfs=1 tiny.mark=here',
  });
  domain = removeLater(await createDomain(connection, xml, { isPaused: true }), stack);
});

after(() => stack.disposeAsync());

test('before its agent is there, commands are refused at once', async () => {
  const refused = { code: VIR_ERR.OPERATION_INVALID };
  await assert.rejects(agentCommand(domain, { execute: 'guest-ping' }), refused);
  await domain.resume();
  await assert.rejects(agentCommand(domain, { execute: 'guest-ping' }), {
    code: VIR_ERR.AGENT_UNRESPONSIVE,
  });
  for (const call of [freezeFilesystems, thawFilesystems, guestFilesystems] as const)
    await assert.rejects(call(domain), { code: VIR_ERR.AGENT_UNRESPONSIVE });
});

const isConnected = ({ state }: AgentEvent): boolean => state === 'connected';

test('an agent that connects is told', async () => {
  await until('the agent is there', () => events.some(isConnected), 60);
  const { uuid, name } = domain;
  assert.deepEqual(events.at(-1), { uuid, name, state: 'connected', reason: 'channel' });
});

test('it executes commands, and its refusals are errors', async () => {
  assert.deepEqual(await agentCommand(domain, { execute: 'guest-ping' }, 5), {});
  const mode = { path: '/mnt/vda/mark', mode: 'r' };
  const file = await agentCommand(domain, { execute: 'guest-file-open', arguments: mode });
  const read = { execute: 'guest-file-read', arguments: { handle: file, count: 100 } };
  const { 'buf-b64': text } = (await agentCommand(domain, read, 'forever')) as {
    'buf-b64': string;
  };
  assert.equal(Buffer.from(text, 'base64').toString(), 'here\n');
  await assert.rejects(agentCommand(domain, { execute: 'guest-no-such' }), {
    name: 'LibvirtError',
    message: /guest-no-such/,
  });
  for (const wrong of [0, -1, 1.5]) {
    await assert.rejects(agentCommand(domain, read, wrong), RangeError);
    await assert.rejects(setAgentTimeout(domain, wrong), RangeError);
  }
});

test('filesystems are listed, frozen, and thawed', async () => {
  await setAgentTimeout(domain, 5);
  assert.deepEqual(await guestFilesystems(domain), [
    { mountpoint: '/mnt/vda', name: 'vda', type: 'ext4', disks: ['vda'] },
  ]);
  assert.equal(await freezeStatus(domain), 'thawed');
  assert.equal(await freezeFilesystems(domain), 1);
  assert.equal(await freezeStatus(domain, 5), 'frozen');
  await assert.rejects(freezeFilesystems(domain), {
    name: 'LibvirtError',
    message: /guest-fsfreeze-freeze has been disabled/,
  });
  await assert.rejects(guestFilesystems(domain), { name: 'LibvirtError' });
  await domain.suspend();
  await assert.rejects(thawFilesystems(domain), { code: VIR_ERR.OPERATION_INVALID });
  await domain.resume();
  assert.equal(await thawFilesystems(domain), 1);
  assert.equal(await thawFilesystems(domain), 0);
  assert.equal(await freezeStatus(domain), 'thawed');
  assert.equal(await freezeFilesystems(domain, ['/mnt/none', '/mnt/vda']), 1);
  assert.equal(await thawFilesystems(domain), 1);
  await setAgentTimeout(domain, 'default');
});

test('a save that takes long is a job: it is told, its figures are read, and it is aborted', async () => {
  const pipe = `${folder}/pipe`;
  execFileSync('mkfifo', [pipe]);
  // Held open, and not read until it is told to: the save comes as far as a pipe holds.
  const script = 'exec 3<>"$0"; read -r _; exec cat <&3';
  const reader = spawn('sh', ['-c', script, pipe], { stdio: ['pipe', 'ignore', 'inherit'] });
  stack.defer(() => void reader.kill());
  assert.equal((await jobInfo(domain)).type, 'none');
  await assert.rejects(abortJob(domain), { code: VIR_ERR.OPERATION_INVALID });
  const save = assert.rejects(saveDomain(domain, pipe), { code: VIR_ERR.OPERATION_ABORTED });
  await until('the save writes', async () => (await jobInfo(domain)).processedBytes > 0);
  const info = await jobInfo(domain);
  assert.equal(info.type, 'unbounded');
  assert(info.totalBytes > 0 && info.remainingBytes > 0 && info.elapsedMs > 0);
  const statistics = await jobStatistics(domain);
  assert.equal(statistics.operation, 'save');
  assert.equal(typeof statistics.fields.get('memory_total'), 'number');
  await abortJob(domain);
  reader.stdin.end('\n');
  await save;
  assert.equal((await domain.status()).state, 'running');
  assert.equal((await jobInfo(domain)).type, 'none');
});

test('an agent that does not answer in time is an error then, of every call', async () => {
  const stop = {
    path: '/bin/sh',
    arg: ['-c', 'usleep 300000; kill -STOP $(cat /run/qemu-ga.pid)'],
  };
  await agentCommand(domain, { execute: 'guest-exec', arguments: stop });
  await setAgentTimeout(domain, 1);
  const isSilent = (error: unknown): boolean =>
    isLibvirtError(error, VIR_ERR.AGENT_UNRESPONSIVE) ||
    isLibvirtError(error, VIR_ERR.AGENT_COMMAND_TIMEOUT);
  await until('the agent is silent', () =>
    agentCommand(domain, { execute: 'guest-ping' }, 1).then(() => false, isSilent),
  );
  const started = performance.now();
  for (const call of [freezeFilesystems, thawFilesystems, guestFilesystems] as const)
    await assert.rejects(call(domain), { code: VIR_ERR.AGENT_UNRESPONSIVE });
  assert(performance.now() - started < 10_000);
});
