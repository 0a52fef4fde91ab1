import assert from 'node:assert/strict';
import os from 'node:os';
import { test } from 'node:test';
import {
  Connection,
  capabilitiesXml,
  domainCapabilitiesXml,
  hostname,
  hypervisorVersion,
  nodeInfo,
} from '../src/index.ts';
import { run, URI } from './lab.ts';

/** libvirt adds the NUMA nodes; what /proc/meminfo tells may be another sum, where memory came or went since the boot. */
async function memoryOfNodes(): Promise<number> {
  const { stdout } = await run('sh', ['-c', 'cat /sys/devices/system/node/node*/meminfo']);
  const sizes = [...stdout.matchAll(/MemTotal: +(\d+) kB/g)].map(([, kib]) => Number(kib) * 1024);
  assert(sizes.length > 0);
  return sizes.reduce((sum, each) => sum + each, 0);
}

test('the machine is told as the kernel tells it', async () => {
  await using connection = await Connection.open(URI, { isReadOnly: true });
  const info = await nodeInfo(connection);
  assert.equal(info.model, 'x86_64');
  assert.equal(info.cpus, os.cpus().length);
  assert(Math.abs(info.memoryBytes - (await memoryOfNodes())) < 2 ** 20);
  assert(
    info.numaNodes > 0 &&
      info.socketsPerNode > 0 &&
      info.coresPerSocket > 0 &&
      info.threadsPerCore > 0,
  );
  assert.equal(await hostname(connection), os.hostname());
});

test('what host and QEMU can do is told', async () => {
  await using connection = await Connection.open(URI);
  assert.match(await capabilitiesXml(connection), /<arch>x86_64<\/arch>/);
  const xml = await domainCapabilitiesXml(connection, { type: 'qemu', machine: 'q35' });
  assert.match(xml, /<domain>qemu<\/domain>\s*<machine>pc-q35/);
  await assert.rejects(domainCapabilitiesXml(connection, { arch: 'none' }), {
    name: 'LibvirtError',
    message: /none/,
  });
  const { stdout } = await run('qemu-system-x86_64', ['--version']);
  assert(stdout.includes(await hypervisorVersion(connection)));
});
