// Managed saves and save files; and the job that ended.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Connection,
  createDomain,
  jobStatistics,
  managedSaveXml,
  removeManagedSave,
  restoreDomain,
  saveDomain,
  saveFileXml,
  saveManaged,
  VIR_ERR,
} from '../src/index.ts';
import { defineTestDomain, domainXml, makeFolder, removeLater, run, testName, URI } from './lab.ts';

test('a managed save is made, read, kept from an undefine, started from, and removed', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  await assert.rejects(saveManaged(domain), { code: VIR_ERR.OPERATION_INVALID });
  await assert.rejects(managedSaveXml(domain), { code: VIR_ERR.OPERATION_INVALID });
  await domain.start();
  await saveManaged(domain, { isPaused: true });
  assert.equal(await domain.hasManagedSave(), true);
  assert.deepEqual(await domain.status(), { state: 'shutoff', reason: 5 }); // VIR_DOMAIN_SHUTOFF_SAVED
  assert.match(await managedSaveXml(domain), new RegExp(`<uuid>${domain.uuid}</uuid>`));
  assert.doesNotMatch(await managedSaveXml(domain), /s3cret/);
  assert.match(await managedSaveXml(domain, { isSecure: true }), /s3cret/);
  await assert.rejects(domain.undefine({}), { code: VIR_ERR.OPERATION_INVALID });
  await domain.start();
  assert.equal((await domain.status()).state, 'paused');
  assert.equal(await domain.hasManagedSave(), false);
  await domain.resume();
  await saveManaged(domain);
  await removeManagedSave(domain);
  await assert.rejects(removeManagedSave(domain), { code: VIR_ERR.SYSTEM_ERROR });
  const { stdout } = await run('virsh', ['-c', URI, 'list', '--all', '--with-managed-save']);
  assert(!stdout.includes(domain.name));
});

test('a save file holds its XML, and a domain that runs again', async () => {
  await using connection = await Connection.open(URI);
  await using readOnly = await Connection.open(URI, { isReadOnly: true });
  await using stack = new AsyncDisposableStack();
  const file = `${await makeFolder(stack)}/été.save`;
  const domain = removeLater(await createDomain(connection, domainXml(testName())), stack);
  await assert.rejects(saveFileXml(connection, file), { code: VIR_ERR.SYSTEM_ERROR });
  await saveDomain(domain, file);
  await assert.rejects(domain.status(), { code: VIR_ERR.NO_DOMAIN });
  assert.match(await saveFileXml(connection, file), new RegExp(domain.uuid));
  assert.match(await saveFileXml(connection, file, { isSecure: true }), /s3cret/);
  await assert.rejects(saveFileXml(readOnly, file), { code: VIR_ERR.OPERATION_DENIED });
  const xml = (await saveFileXml(connection, file, { isSecure: true })).replace(
    '<devices>',
    '<title>again</title><devices>',
  );
  await restoreDomain(connection, file, { isPaused: true, xml });
  assert.equal((await domain.status()).state, 'paused');
  assert.match(await domain.xml(), /<title>again<\/title>/);
  await assert.rejects(restoreDomain(connection, file), { name: 'LibvirtError' });
});

test('the job that ended is remembered once', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  await domain.start();
  const file = `${await makeFolder(stack)}/dump`;
  await run('virsh', ['-c', URI, 'dump', domain.name, file]);
  const kept = await jobStatistics(domain, { isCompleted: true, isKept: true });
  assert.equal(kept.type, 'completed');
  assert.equal(kept.operation, 'dump');
  assert((await jobStatistics(domain, { isCompleted: true })).fields.size > 0);
  assert.equal((await jobStatistics(domain, { isCompleted: true })).type, 'none');
});
