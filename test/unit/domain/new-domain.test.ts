import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDomain } from '../../../src/domain/domain.ts';
import { formatXml } from '../../../src/domain/format-xml.ts';
import { diskToAttach, newDomain } from '../../../src/domain/new-domain.ts';
import { parseXml } from '../../../src/domain/xml.ts';

const OLD = '11111111-2222-4333-8444-555555555555';
const NEW = '99999999-2222-4333-8444-555555555555';
const GENID = '77777777-2222-4333-8444-555555555555';

/** As libvirt prints a domain that runs. */
const XML = `<domain type='kvm' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web-1</name><uuid>${OLD}</uuid><genid>${OLD}</genid>
  <description>5 &lt; 6 &amp; "7"</description>
  <metadata><siphon:domain xmlns:siphon='urn:siphon:domain:1' policy='nightly'/></metadata>
  <os><type arch='x86_64'>hvm</type><loader readonly='yes' type='pflash'>/usr/share/OVMF.fd</loader>
    <nvram template='/usr/share/VARS.fd'>/var/lib/libvirt/qemu/nvram/web-1_VARS.fd</nvram></os>
  <sysinfo type='smbios'><system><entry name='uuid'>${OLD}</entry><entry name='serial'>s</entry></system></sysinfo>
  <devices>
    <disk type='network' device='disk'><driver name='qemu' type='raw'/>
      <auth username='libvirt'><secret type='ceph' uuid='x'/></auth>
      <source protocol='rbd' name='vms/root' index='2'><host name='10.0.0.1' port='6789'/></source>
      <backingStore/><target dev='vda' bus='virtio'/><serial>abc</serial><alias name='virtio-disk0'/>
      <address type='pci' slot='0x04'/></disk>
    <disk type='file' device='disk'><source file='/local'/><target dev='vdb'/></disk>
    <disk type='file' device='cdrom'><source file='/cd.iso'/><target dev='sda'/><readonly/></disk>
    <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><target dev='vnet3'/></interface>
    <interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='br0'/></interface>
    <channel type='unix'><source mode='bind' path='/run/libvirt/qemu/channel/7-web-1/org.qemu.guest_agent.0'/>
      <target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <serial type='file'><source path='/var/log/libvirt/qemu/web-1-serial.log'/><log file='/var/log/shared'/></serial>
    <console type='pty' tty='/dev/pts/2'><source path='/dev/pts/2'/></console>
    <graphics type='vnc' port='5900' autoport='yes'/>
    <tpm model='tpm-crb'><backend type='emulator' version='2.0'><source type='dir' path='/tpm'/></backend></tpm>
    <vsock model='virtio'><cid auto='no' address='3'/></vsock>
  </devices>
  <seclabel type='dynamic' model='dac' relabel='yes'><label>+64055:+64055</label></seclabel>
</domain>`;

const made = () => {
  let macs = 0;
  return newDomain(XML, {
    name: 'web-2',
    uuid: NEW,
    genid: GENID,
    disks: new Map([['vda', 'vms/web-2-vda']]),
    mac: () => `52:54:00:aa:00:0${++macs}`,
    nvram: { template: '/var/lib/siphon/nvram/n', path: '/var/lib/libvirt/qemu/nvram/n' },
  });
};

test('what only one domain can have is new, also where it is said twice', () => {
  const { xml } = made();
  const domain = parseDomain(xml);
  assert.deepEqual([domain.name, domain.uuid, domain.id], ['web-2', NEW, undefined]);
  for (const gone of [
    OLD,
    'web-1',
    'vnet3',
    '52:54:00:00',
    'seclabel',
    'alias',
    "path='/tpm'",
    '/dev/pts',
    "address='3'",
  ])
    assert.ok(!xml.includes(gone), `${gone} is in ${xml}`);
  assert.match(xml, new RegExp(`<entry name='uuid'>${NEW}</entry>`));
  assert.match(xml, new RegExp(`<genid>${GENID}</genid>`));
  assert.deepEqual(
    [...xml.matchAll(/mac address='([^']*)'/g)].map(([, mac]) => mac),
    ['52:54:00:aa:00:01', '52:54:00:aa:00:02'],
  );
  assert.match(xml, /<cid auto='yes'\/>/);
  assert.match(xml, /path='\/var\/log\/libvirt\/qemu\/web-2-serial\.log'/);
  assert.deepEqual(domain.wish, parseDomain(XML).wish);
});

test('disks of the set have new images; a writable one that is not in it is left out, and said', () => {
  const { xml, notes } = made();
  const { disks, stateFiles } = parseDomain(xml);
  assert.deepEqual(
    disks.map(({ target, source }) => [target, source.kind === 'rbd' ? source.image : source.kind]),
    [
      ['vda', 'web-2-vda'],
      ['sda', 'file'],
    ],
  );
  assert.match(xml, /<secret type='ceph' uuid='x'\/>/);
  assert.match(xml, /<host name='10.0.0.1' port='6789'\/>/);
  assert.ok(!xml.includes('backingStore') && !xml.includes('index='));
  assert.equal(stateFiles[0]?.path, '/var/lib/libvirt/qemu/nvram/n');
  assert.match(xml, /<nvram template='\/var\/lib\/siphon\/nvram\/n'>/);
  assert.deepEqual(
    notes.map((note) => note.split(':')[0]),
    ['disk vdb', 'serial', 'vnc', 'tpm'],
  );
});

test('without a copy of its NVRAM it begins with the firmware’s, and says so', () => {
  const { xml, notes } = newDomain(XML, {
    name: 'x',
    uuid: NEW,
    genid: GENID,
    disks: new Map(),
    mac: () => '52:54:00:00:00:09',
  });
  assert.ok(!xml.includes('<nvram'));
  assert.match(notes[0] ?? '', /^nvram: /);
});

test('text goes through as it was', () => {
  const root = parseXml(XML);
  assert.deepEqual(
    parseXml(formatXml(root)).children.find(({ name }) => name === 'description')?.text,
    '5 < 6 & "7"',
  );
  assert.equal(
    formatXml(parseXml("<a b='1&#10;&apos;2'><c/> <d>x</d></a>")),
    "<a b='1&#10;&#39;2'>\n  <c/>\n  <d>x</d>\n</a>\n",
  );
});

test('one disk to attach: on its new image, with nothing of the old domain’s slots', () => {
  const xml = diskToAttach(XML, 'vda', 'vms/copy') ?? '';
  assert.match(xml, /^<disk type='network'/);
  assert.match(xml, /name='vms\/copy'/);
  assert.match(xml, /<target dev='vdz' bus='virtio'\/>/);
  for (const gone of ['alias', 'pci', 'abc', 'backingStore']) assert.ok(!xml.includes(gone));
  assert.equal(diskToAttach(XML, 'vdb', 'vms/copy'), undefined);
  assert.equal(diskToAttach(XML, 'vdx', 'vms/copy'), undefined);
});
