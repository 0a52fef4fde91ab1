import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import {
  Connection,
  defineDomain,
  listDomains,
  lookUpDomainByName,
  lookUpDomainByUuid,
  VIR_ERR,
} from '../src/index.ts';
import { defineTestDomain, run, URI } from './lab.ts';

const METADATA = 'urn:node-libvirt:test:1';

test('a domain is found in the list, by name and by UUID', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const made = await defineTestDomain(connection, stack, `été & "<${randomUUID()}>"`);
  await using list = await listDomains(connection);
  assert.equal([...list].find((each) => each.uuid === made.uuid)?.name, made.name);
  await using byName = await lookUpDomainByName(connection, made.name);
  await using byUuid = await lookUpDomainByUuid(connection, made.uuid);
  assert.equal(byName.uuid, made.uuid);
  assert.equal(byUuid.name, made.name);
});

test('the list is filtered by what libvirt says of a domain', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  const isListed = async (filter: Parameters<typeof listDomains>[1]): Promise<boolean> => {
    await using list = await listDomains(connection, filter);
    return [...list].some((each) => each.uuid === domain.uuid);
  };
  assert.equal(await isListed({ isActive: false, isPersistent: true }), true);
  assert.equal(await isListed({ isActive: true }), false);
  assert.equal(await isListed({ hasManagedSave: true }), false);
  await domain.start();
  assert.equal(await isListed({ isActive: true, hasManagedSave: false }), true);
  await domain.setAutostart(true);
  assert.equal(await isListed({ isAutostarted: true }), true);
  await domain.setAutostart(false);
  assert.equal(await domain.isAutostarted(), false);
});

test('a domain that is not there is NO_DOMAIN, with the call and libvirt’s words', async () => {
  await using connection = await Connection.open(URI);
  const uuid = randomUUID();
  await assert.rejects(lookUpDomainByName(connection, 'no-such-domain'), {
    name: 'LibvirtError',
    code: VIR_ERR.NO_DOMAIN,
    domain: 10, // VIR_FROM_QEMU
    call: 'virDomainLookupByName',
    message: /no-such-domain/,
  });
  await assert.rejects(lookUpDomainByUuid(connection, uuid), {
    code: 42,
    message: new RegExp(uuid),
  });
  await assert.rejects(lookUpDomainByUuid(connection, 'no uuid'), { code: VIR_ERR.INVALID_ARG });
  await assert.rejects(lookUpDomainByName(connection, 'a\0b'), TypeError);
});

test('broken XML is an XML error', async () => {
  await using connection = await Connection.open(URI);
  await assert.rejects(defineDomain(connection, '<domain><name>x</name>'), {
    name: 'LibvirtError',
  });
  await assert.rejects(defineDomain(connection, '<network/>'), { code: VIR_ERR.XML_ERROR });
});

test('state, id and XML follow the domain; virsh sees the same', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  assert.equal((await domain.status()).state, 'shutoff');
  assert.equal(await domain.id(), undefined);
  assert.equal(await domain.isPersistent(), true);
  assert.equal(await domain.hasManagedSave(), false);

  await domain.start();
  await using running = await lookUpDomainByUuid(connection, domain.uuid);
  const { stdout } = await run('virsh', ['-c', URI, 'domid', domain.name]);
  assert.equal(await running.id(), Number(stdout));
  assert.deepEqual(await domain.status(), { state: 'running', reason: 1 });
  assert.equal(await domain.isActive(), true);
  assert.match(await domain.xml(), /<domain type='qemu' id='\d+'/);
  assert.doesNotMatch(await domain.xml({ isInactive: true }), /<domain[^>]* id='/);
  await assert.rejects(domain.start(), {
    code: VIR_ERR.OPERATION_INVALID,
    call: 'virDomainCreateWithFlags',
  });

  await domain.destroy();
  assert.deepEqual(await domain.status(), { state: 'shutoff', reason: 2 });
});

test('secrets are in the XML only where they are asked for', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  assert.doesNotMatch(await domain.xml(), /s3cret/);
  assert.match(await domain.xml({ isSecure: true }), /passwd='s3cret'/);
});

test('metadata is set, read and removed, by its namespace', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  assert.equal(await domain.metadata(METADATA), null);
  await domain.setMetadata(METADATA, { xml: `<policy keep='3'>é</policy>`, prefix: 't' }, 'config');
  assert.match((await domain.metadata(METADATA, 'config')) ?? '', /<policy keep="3">é<\/policy>/);
  assert.match(await domain.xml(), /<t:policy xmlns:t="urn:node-libvirt:test:1" keep="3">/);
  await domain.setMetadata(METADATA, null);
  assert.equal(await domain.metadata(METADATA), null);
  await assert.rejects(domain.setMetadata(METADATA, null, 'live'), {
    code: VIR_ERR.OPERATION_INVALID,
  });
});

test('long XML comes whole', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  const text = 'x€'.repeat(200_000);
  await domain.setMetadata(METADATA, { xml: `<long>${text}</long>`, prefix: 't' });
  assert((await domain.metadata(METADATA))?.includes(text));
});

test('a handle that was disposed of is a defect of the caller, not a crash', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const { uuid } = await defineTestDomain(connection, stack);
  const domain = await lookUpDomainByUuid(connection, uuid);
  const pending = domain.xml();
  await Promise.all([domain[Symbol.asyncDispose](), domain[Symbol.asyncDispose]()]);
  assert.match(await pending, /<domain/);
  await assert.rejects(domain.xml(), { name: 'AssertionError' });
});
