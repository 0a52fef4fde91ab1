// Devices that come and go: USB ones, which leave without a guest that lets them go.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  attachDevice,
  Connection,
  type DeviceEvent,
  detachDevice,
  detachDeviceByAlias,
  updateDevice,
  watchDevices,
} from '../src/index.ts';
import {
  defineTestDomain,
  diskXml,
  makeFolder,
  makeQcow2,
  run,
  testName,
  URI,
  until,
} from './lab.ts';

const MOUSE = `<input type='mouse' bus='usb'><alias name='ua-mouse'/></input>`;

test('a device is attached to the definition, to the running domain, or to both', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const folder = await makeFolder(stack);
  const domain = await defineTestDomain(connection, stack, testName(), `<controller type='usb'/>`);
  const disk = diskXml(await makeQcow2(`${folder}/disk`, 1), 'sda').replace('virtio', 'usb');
  await domain.start();
  const where = async (): Promise<boolean[]> => [
    (await domain.xml()).includes(folder),
    (await domain.xml({ isInactive: true })).includes(folder),
  ];
  await attachDevice(domain, disk, 'config');
  assert.deepEqual(await where(), [false, true]);
  await detachDevice(domain, disk, 'config');
  await attachDevice(domain, disk);
  assert.deepEqual(await where(), [true, false]);
  await detachDevice(domain, disk);
  await until('the live disk is gone', async () => !(await where())[0]);
  await attachDevice(domain, disk, 'both');
  assert.deepEqual(await where(), [true, true]);
  await assert.rejects(attachDevice(domain, disk, 'both'), { name: 'LibvirtError' });
  await assert.rejects(attachDevice(domain, '<nothing/>'), { name: 'LibvirtError' });
});

test('devices that come and go are told by their alias', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack, testName(), `<controller type='usb'/>`);
  const events: DeviceEvent[] = [];
  const watching = await watchDevices(connection, (event) => events.push(event));
  await domain.start();
  await attachDevice(domain, MOUSE);
  await detachDeviceByAlias(domain, 'ua-mouse');
  const mine = { uuid: domain.uuid, name: domain.name, alias: 'ua-mouse' };
  await until('both are told', () => events.length >= 2);
  assert.deepEqual(events, [
    { ...mine, change: 'added' },
    { ...mine, change: 'removed' },
  ]);
  await assert.rejects(detachDeviceByAlias(domain, 'ua-mouse'), {
    name: 'LibvirtError',
    message: /ua-mouse/,
  });
  watching[Symbol.dispose]();
  await attachDevice(domain, MOUSE);
  assert.equal(events.length, 2);
});

test('a device is changed as it runs', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const domain = await defineTestDomain(connection, stack);
  await domain.start();
  const { stdout } = await run('virsh', ['-c', URI, 'dumpxml', domain.name]);
  const graphics = /<graphics.*?<\/graphics>/s.exec(stdout)?.[0] ?? '';
  await updateDevice(domain, graphics.replace('<graphics ', `<graphics passwd='0ther' `));
  assert.match(await domain.xml({ isSecure: true }), /passwd='0ther'/);
  await assert.rejects(updateDevice(domain, MOUSE), { name: 'LibvirtError' });
});
