import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDomain } from '../../../src/domain/domain.ts';
import { hostAccess } from '../../../src/domain/host-access.ts';
import {
  assertProofDisks,
  checkDisk,
  proofDomain,
  withoutShares,
} from '../../../src/domain/proof-domain.ts';
import { parseXml } from '../../../src/domain/xml.ts';

const NEW = '99999999-2222-4333-8444-555555555555';

/** With at least one of all that must not be in a proof. */
const XML = `<domain type='kvm' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web-1</name><uuid>11111111-2222-4333-8444-555555555555</uuid>
  <metadata><siphon:domain xmlns:siphon='urn:siphon:domain:1' policy='nightly'/></metadata>
  <memory unit='KiB'>8388608</memory><currentMemory unit='KiB'>4194304</currentMemory><maxMemory slots='4' unit='KiB'>16777216</maxMemory>
  <memoryBacking><hugepages/></memoryBacking><vcpu placement='static' current='4'>8</vcpu>
  <numatune><memory mode='strict' nodeset='0'/></numatune><cputune><vcpupin vcpu='0' cpuset='1'/></cputune>
  <iothreads>1</iothreads><resource><partition>/machine</partition></resource>
  <os><type arch='x86_64' machine='q35'>hvm</type><loader readonly='yes' type='pflash'>/usr/share/OVMF/CODE.fd</loader>
    <nvram template='/usr/share/OVMF/VARS.fd'>/var/lib/libvirt/qemu/nvram/web-1_VARS.fd</nvram></os>
  <features><acpi/></features>
  <cpu mode='host-model'><model>x</model><topology sockets='1' cores='8' threads='1'/><numa><cell id='0' cpus='0-7' memory='8388608'/></numa></cpu>
  <clock offset='utc'/><on_poweroff>restart</on_poweroff><on_reboot>restart</on_reboot><on_crash>preserve</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='network' device='disk'><driver name='qemu' type='raw' cache='none' discard='unmap' queues='4' iothread='1'/>
      <auth username='libvirt'><secret type='ceph' uuid='x'/></auth>
      <source protocol='rbd' name='vms/root'><host name='10.0.0.1' port='6789'/></source>
      <blockio logical_block_size='4096'/><target dev='vda' bus='virtio'/><serial>abc</serial><boot order='1'/>
      <address type='pci' slot='0x04'/></disk>
    <disk type='file' device='disk'><source file='/local'/><target dev='vdb'/></disk>
    <disk type='file' device='cdrom'><source file='/cd.iso'/><target dev='sda'/><readonly/></disk>
    <disk type='network' device='disk'><source protocol='rbd' name='vms/shared'/><target dev='vdd'/><readonly/></disk>
    <controller type='scsi' index='0' model='virtio-scsi'/><controller type='pci' index='0' model='pcie-root'/>
    <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface>
    <filesystem type='mount'><source dir='/srv'/><target dir='srv'/></filesystem>
    <hostdev mode='subsystem' type='pci'><source/></hostdev><redirdev bus='usb' type='spicevmc'/><lease><key>k</key></lease>
    <channel type='unix'><source mode='bind' path='/run/x'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>
    <serial type='file'><source path='/var/log/serial'/></serial><console type='pty'/><parallel type='file'><source path='/p'/></parallel>
    <graphics type='vnc' port='5900'/><video><model type='qxl'/></video><sound model='ich9'/><input type='tablet' bus='usb'/>
    <tpm model='tpm-crb'><backend type='emulator'/></tpm><vsock model='virtio'><cid auto='no' address='3'/></vsock>
    <watchdog model='itco' action='reset'/><shmem name='s'/><memory model='dimm'><target/></memory><smartcard mode='host'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <rng model='virtio'><backend model='egd' type='udp'><source host='h'/></backend></rng>
    <memballoon model='virtio'/><panic model='isa'/>
  </devices>
  <seclabel type='none'/><launchSecurity type='sev'/>
  <qemu:commandline><qemu:arg value='-nic'/></qemu:commandline>
</domain>`;

const PARTS = {
  name: 'siphon.v-1',
  uuid: NEW,
  genid: NEW,
  disks: new Map([['vda', 'vms/siphon.v-1.vda']]),
  memoryBytesMax: 2 ** 30,
  vcpusMax: 2,
  nvramPath: '/var/lib/siphon/nvram/x_VARS.fd',
  hasShares: true,
};

test('what is left of a domain is what boots, and nothing that reaches anything', () => {
  const { xml, memoryBytes, hasNvram, controller } = proofDomain(XML, PARTS);
  const root = parseXml(xml);
  const names = (of: typeof root | undefined) => of?.children.map(({ name }) => name).toSorted();
  assert.deepEqual(names(root), [
    'clock',
    'cpu',
    'cputune',
    'devices',
    'features',
    'iothreads',
    'memory',
    'metadata',
    'name',
    'on_crash',
    'on_poweroff',
    'on_reboot',
    'os',
    'uuid',
    'vcpu',
  ]);
  assert.deepEqual(names(root.children.find(({ name }) => name === 'devices')), [
    'channel',
    'controller',
    'controller',
    'controller',
    'disk',
    'emulator',
    'memballoon',
    'panic',
    'rng',
    'serial',
  ]);
  assert.deepEqual([...hostAccess(xml)].toSorted(), [
    '/dev/urandom',
    '/usr/bin/qemu-system-x86_64',
    '/usr/share/OVMF/CODE.fd',
    '/usr/share/OVMF/VARS.fd',
    PARTS.nvramPath,
  ]);
  assert.deepEqual([...root.attributes], [['type', 'kvm']]);
  assert.deepEqual([memoryBytes, hasNvram, controller], [2 ** 30, true, 1]);
  for (const each of [
    /<memory unit='b'>1073741824</,
    /<vcpu>2</,
    /<shares>100</,
    /<serial type='null'\/>/,
    /<channel type='unix'>\s*<target type='virtio' name='org\.qemu\.guest_agent\.0'\/>\s*<\/channel>/,
    /<controller type='scsi' index='1' model='virtio-scsi'\/>/,
    /<nvram template='[^']*'>\/var\/lib\/siphon\/nvram\/x_VARS\.fd</,
  ])
    assert.match(xml, each);
  for (const end of ['on_poweroff', 'on_reboot', 'on_crash'])
    assert.match(xml, new RegExp(`<${end}>destroy<`));
  assert.doesNotMatch(xml, /topology|<numa|1_VARS|vms\/root/);
});

test('it is its own domain, of which no policy takes anything, with the clone as its disk', () => {
  const domain = parseDomain(proofDomain(XML, PARTS).xml);
  assert.deepEqual([domain.name, domain.uuid, domain.wish], ['siphon.v-1', NEW, { kind: 'off' }]);
  assert.deepEqual(
    domain.disks.map(({ target, source }) => [target, source.kind === 'rbd' && source.image]),
    [['vda', 'siphon.v-1.vda']],
  );
});

test('a guest that has less than the bounds gets what it has', () => {
  const small = XML.replace(/<memory unit='KiB'>\d+/, "<memory unit='MiB'>192").replace(
    " current='4'>8<",
    '>1<',
  );
  const { xml, memoryBytes } = proofDomain(small, { ...PARTS, hasShares: false });
  assert.equal(memoryBytes, 192 * 2 ** 20);
  assert.match(xml, /<vcpu>1</);
  assert.doesNotMatch(xml, /cputune/);
});

test('without its shares it is the same otherwise, and a second time nothing changes', () => {
  const bare = withoutShares(proofDomain(XML, PARTS).xml);
  assert.equal(bare.includes('cputune'), false);
  assert.equal(withoutShares(bare), bare);
  assert.equal(parseDomain(bare).disks.length, 1);
});

test('the disk to look into is a clone of its own by SCSI, which the guest knows by its target', () => {
  const at = { target: 'vda', image: 'vms/siphon.v-1.vda.check', controller: 1, unit: 2 };
  const xml = checkDisk(XML, at) ?? '';
  assert.deepEqual([...hostAccess(xml)], []);
  for (const each of [
    /<source protocol='rbd' name='vms\/siphon\.v-1\.vda\.check'>/,
    /<driver name='qemu' type='raw' cache='none' discard='unmap'\/>/,
    /<target dev='sdzc' bus='scsi'\/>/,
    /<vendor>SIPHON</,
    /<product>vda</,
    /<address type='drive' controller='1' bus='0' target='0' unit='2'\/>/,
    /<blockio logical_block_size='4096'\/>/,
    /<auth username='libvirt'>/,
  ])
    assert.match(xml, each);
  assert.doesNotMatch(xml, /serial|boot|pci|queues|iothread/);
  assert.equal(checkDisk(XML, { ...at, target: 'vdb' }), undefined);
  assertProofDisks(xml);
});

test('a disk that is no clone of a proof is refused', () => {
  assertProofDisks(proofDomain(XML, PARTS).xml);
  const wrong = { ...PARTS, disks: new Map([['vda', 'vms/root']]) };
  assert.throws(() => assertProofDisks(proofDomain(XML, wrong).xml), /vda: its image is none/);
  assert.throws(() => assertProofDisks(XML), { code: 'refused' });
});
