// A restart of libvirtd: what of ours is gone, what is not, and what a new connection finds.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  abortBlockJob,
  agentCommand,
  attachDevice,
  blockJob,
  Connection,
  capabilitiesXml,
  createPool,
  type DeviceEvent,
  jobInfo,
  LibvirtError,
  type LifecycleEvent,
  listDomains,
  listPools,
  listSecrets,
  listVolumes,
  lookUpDomainByUuid,
  lookUpPoolByUuid,
  type MetadataEvent,
  managedSaveXml,
  nodeInfo,
  watchAgents,
  watchBlockJobs,
  watchBlockJobsByPath,
  watchDevices,
  watchLifecycle,
  watchMetadata,
  watchReboots,
} from '../src/index.ts';
import { defineTestDomain, makeFolder, run, testName, URI, until } from './lab.ts';

const METADATA = 'urn:node-libvirt:test:1';

async function watchEverything(connection: Connection): Promise<unknown[]> {
  const heard: unknown[] = [];
  const listener = (event: unknown): unknown => heard.push(event);
  await watchLifecycle(connection, listener);
  await watchReboots(connection, listener);
  await watchDevices(connection, listener);
  await watchBlockJobs(connection, listener);
  await watchBlockJobsByPath(connection, listener);
  await watchAgents(connection, listener);
  await watchMetadata(connection, listener);
  return heard;
}

test('after a restart every handle fails and can be disposed of; a new connection finds all that ran', async () => {
  await using outer = new AsyncDisposableStack();
  const folder = await makeFolder(outer);
  const old = await Connection.open(URI);
  await watchEverything(old);
  // Not to be disposed of: the connection that it would use is gone by then.
  const domain = await defineTestDomain(
    old,
    new AsyncDisposableStack(),
    testName(),
    `<controller type='usb'/>`,
  );
  await domain.start();
  await using running = await lookUpDomainByUuid(old, domain.uuid);
  const id = await running.id();
  const pool = await createPool(
    old,
    `<pool type='dir'><name>${testName()}</name><target><path>${folder}</path></target></pool>`,
  );
  const secrets = await listSecrets(old);
  const domains = await listDomains(old);

  await run('systemctl', ['restart', 'libvirtd']);
  assert.match(await old.closed, /^(end of file|error)$/);
  for (const call of [
    () => domain.status(),
    () => domain.xml(),
    () => jobInfo(domain),
    () => blockJob(domain, 'vda'),
    () => abortBlockJob(domain, 'vda'),
    () => managedSaveXml(domain),
    () => agentCommand(domain, { execute: 'guest-ping' }),
    () => nodeInfo(old),
    () => capabilitiesXml(old),
    () => listPools(old),
    () => listVolumes(pool),
    () => pool.info(),
    () => listSecrets(old),
    () => watchLifecycle(old, () => {}).then(() => old.version()),
  ]) {
    await assert.rejects(call, LibvirtError);
  }
  for (const handle of [domains, secrets, pool, old]) await handle[Symbol.asyncDispose]();

  await using connection = await Connection.open(URI);
  const heard = await watchEverything(connection);
  await using again = await lookUpDomainByUuid(connection, domain.uuid);
  await using clean = new AsyncDisposableStack();
  clean.defer(async () => {
    await using found = await lookUpDomainByUuid(connection, domain.uuid);
    await found.destroy();
    await found.undefine();
    await domain[Symbol.asyncDispose]();
    await using left = await lookUpPoolByUuid(connection, pool.uuid);
    await left.destroy();
  });
  assert.deepEqual([await again.id(), (await again.status()).state], [id, 'running']);
  await again.suspend();
  await attachDevice(again, `<input type='mouse' bus='usb'/>`);
  await again.setMetadata(METADATA, { xml: '<a/>', prefix: 't' });
  const { uuid, name } = domain;
  await until('the new watches hear', () => heard.length >= 3);
  const [suspended, added, changed] = heard as [LifecycleEvent, DeviceEvent, MetadataEvent];
  assert.equal(suspended.event, 'suspended');
  assert.equal(added.change, 'added');
  assert.deepEqual(changed, { uuid, name, metadata: 'element', uri: METADATA });
});
