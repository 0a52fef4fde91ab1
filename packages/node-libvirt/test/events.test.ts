import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Callback } from '../src/callbacks.ts';
import {
  Connection,
  type LifecycleEvent,
  type MetadataEvent,
  STOPPED_DETAILS,
  watchLifecycle,
  watchMetadata,
} from '../src/index.ts';
import { watch } from '../src/watch.ts';
import { defineTestDomain, run, URI, until } from './lab.ts';

const NEVER = 'typedef void (*virNever)(virConnectPtr conn, void *opaque);';

test('lifecycle events come in order, with name, UUID and detail', async () => {
  await using connection = await Connection.open(URI);
  const events: LifecycleEvent[] = [];
  await watchLifecycle(connection, (event) => events.push(event));
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  await domain.start();
  await run('virsh', ['-c', URI, 'suspend', domain.name]);
  await run('virsh', ['-c', URI, 'resume', domain.name]);
  await domain.destroy();
  const mine = (): LifecycleEvent[] => events.filter((each) => each.uuid === domain.uuid);
  await until('the domain is reported stopped', () => mine().at(-1)?.event === 'stopped');
  // A start resumes the vCPUs too, before or after it says started.
  // QEMU may say shutdown, or not, when it is told to end.
  const names = mine()
    .map((each) => each.event)
    .filter((each) => each !== 'shutdown');
  assert.deepEqual(names, ['defined', 'resumed', 'started', 'suspended', 'resumed', 'stopped']);
  assert(mine().every((each) => each.name === domain.name));
  assert.equal(STOPPED_DETAILS[mine().at(-1)?.detail ?? -1], 'destroyed');
  await domain.undefine();
  await until('it is reported undefined', () => mine().at(-1)?.event === 'undefined');
});

test('every watcher hears, until it is disposed of', async () => {
  await using connection = await Connection.open(URI);
  await using other = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const heard = { first: 0, second: 0, third: 0 };
  const first = await watchLifecycle(connection, () => heard.first++);
  await watchLifecycle(connection, () => heard.second++);
  await watchLifecycle(other, () => heard.third++);
  await defineTestDomain(connection, stack);
  await until('all three heard', () => Object.values(heard).every((count) => count === 1));
  first[Symbol.dispose]();
  await defineTestDomain(connection, stack);
  await until('two heard', () => heard.second === 2 && heard.third === 2);
  assert.equal(heard.first, 1);
});

test('calls from a listener do not deadlock', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const seen: string[] = [];
  await watchLifecycle(connection, ({ uuid }) => {
    void connection.version().then(() => seen.push(uuid));
  });
  const domains = await Promise.all([1, 2, 3, 4].map(() => defineTestDomain(connection, stack)));
  await Promise.all(domains.map((domain) => domain.start()));
  await Promise.all(domains.map((domain) => domain.destroy()));
  await until('every listener had its answer', () => seen.length >= 12);
});

test('changes of metadata are told, whoever makes them', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  const events: MetadataEvent[] = [];
  await watchMetadata(connection, (event) => events.push(event));
  const uri = 'urn:node-libvirt:test:1';
  await domain.setMetadata(uri, { xml: '<a/>', prefix: 't' }, 'config');
  await domain.setMetadata(uri, null);
  await run('virsh', ['-c', URI, 'desc', domain.name, '--title', 'a title']);
  await until('all three are told', () => events.length === 3);
  const { uuid, name } = domain;
  const element = { uuid, name, metadata: 'element', uri };
  assert.deepEqual(events, [element, element, { uuid, name, metadata: 'title', uri: null }]);
});

test('an event that this libvirt does not know is refused, and can be asked for again', async () => {
  await using connection = await Connection.open(URI);
  const kind = { id: 999, callback: new Callback(NEVER, () => null) };
  for (let i = 0; i < 2; i++) {
    await assert.rejects(
      watch(connection, kind, () => {}),
      { name: 'LibvirtError' },
    );
  }
});
