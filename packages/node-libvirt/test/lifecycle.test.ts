// Domains brought up, held and taken away, judged by virsh.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbsentFunctionError,
  bindings,
  Connection,
  createDomain,
  type Domain,
  defineDomain,
  lookUpDomainByName,
  VIR_ERR,
  watchReboots,
} from '../src/index.ts';
import { defineTestDomain, domainXml, removeLater, run, testName, URI, until } from './lab.ts';

async function virshState(domain: Domain): Promise<string> {
  return (await run('virsh', ['-c', URI, 'domstate', '--reason', domain.name])).stdout.trim();
}

test('a transient domain starts paused, runs, and is gone when it is destroyed', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const xml = domainXml(testName());
  const domain = removeLater(await createDomain(connection, xml, { isPaused: true }), stack);
  assert.equal(await domain.isPersistent(), false);
  assert.match(await virshState(domain), /^paused/);
  await assert.rejects(createDomain(connection, xml), { code: VIR_ERR.OPERATION_FAILED });
  await assert.rejects(domain.setAutostart(true), { code: VIR_ERR.OPERATION_INVALID });
  await assert.rejects(domain.undefine(), { code: VIR_ERR.OPERATION_INVALID });
  await domain.resume();
  assert.equal(await virshState(domain), 'running (unpaused)');
  await domain.destroy({ isGraceful: true });
  await assert.rejects(lookUpDomainByName(connection, domain.name), { code: VIR_ERR.NO_DOMAIN });
});

test('a domain that is to be destroyed with the connection is', async () => {
  await using keeper = await Connection.open(URI);
  const name = testName();
  {
    await using connection = await Connection.open(URI);
    await using domain = await createDomain(connection, domainXml(name), { isAutoDestroyed: true });
    assert.equal(await domain.isActive(), true);
  }
  await until('it is gone', () =>
    lookUpDomainByName(keeper, name).then(
      async (found) => (await found[Symbol.asyncDispose](), false),
      () => true,
    ),
  );
});

test('a domain is suspended and resumed; a second resume says that it runs', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  await assert.rejects(domain.suspend(), { code: VIR_ERR.OPERATION_INVALID });
  await domain.start({ isPaused: true });
  assert.equal((await domain.status()).state, 'paused');
  await domain.resume();
  await domain.suspend();
  assert.equal(await virshState(domain), 'paused (user)');
  await domain.resume();
  assert.equal((await domain.status()).state, 'running');
  await assert.rejects(domain.resume(), { code: VIR_ERR.OPERATION_INVALID });
});

test('a reset is seen as a reboot; what a guest would have to hear is refused where none listens', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  const reboots: string[] = [];
  await watchReboots(connection, ({ uuid }) => reboots.push(uuid));
  await domain.start();
  await domain.reset();
  await until('the reset is told', () => reboots.includes(domain.uuid));
  await assert.rejects(domain.reboot('agent'), { name: 'LibvirtError', message: /agent/ });
  await assert.rejects(domain.shutdown('agent'), { name: 'LibvirtError', message: /agent/ });
  await domain.shutdown('acpi'); // there is nobody in the guest to obey
  assert.equal((await domain.status()).state, 'running');
});

test('a running domain that is undefined becomes transient', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  await domain.start();
  await domain.undefine({});
  assert.equal(await domain.isPersistent(), false);
  assert.equal(await domain.isActive(), true);
});

test('a validated definition refuses what libvirt would overlook', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const xml = domainXml(testName()).replace('<vcpu>', '<vpcu>1</vpcu><vcpu>');
  await assert.rejects(defineDomain(connection, xml, { isValidated: true }), {
    name: 'LibvirtError',
    message: /vpcu|failed to validate/i,
  });
  removeLater(await defineDomain(connection, xml), stack);
});

test('autostart for one boot is kept, or is absent by name', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  const isAvailable = bindings().get('virDomainSetAutostartOnce')?.available;
  const [major = 0, minor = 0] = (await connection.version()).split('.').map(Number);
  assert.equal(isAvailable, major > 11 || (major === 11 && minor >= 2));
  if (isAvailable) {
    assert.equal(await domain.isAutostartedOnce(), false);
    await domain.setAutostartOnce(true);
    assert.equal(await domain.isAutostartedOnce(), true);
    await domain.setAutostartOnce(false);
  } else {
    const absent = { name: 'AbsentFunctionError', code: VIR_ERR.NO_SUPPORT };
    await assert.rejects(domain.isAutostartedOnce(), absent);
    await assert.rejects(domain.setAutostartOnce(true), AbsentFunctionError);
  }
});
