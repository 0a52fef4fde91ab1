import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertNoNewAccess } from '../../../src/domain/host-access.ts';

const UUID = '11111111-2222-4333-8444-555555555555';
const domain = (devices: string, more = '') =>
  `<domain xmlns:qemu='q'><name>new</name><uuid>${UUID}</uuid><metadata><x path='/any'/></metadata>${more}<devices>
   <emulator>/usr/bin/qemu-system-x86_64</emulator>${devices}</devices></domain>`;
const rbd = `<disk type='network'><auth username='u'><secret type='ceph' uuid='s'/></auth><source protocol='rbd' name='vms/new-vda'><host name='10.0.0.1'/></source><target dev='vda'/></disk>`;
const known = domain(
  "<disk type='file' device='cdrom'><source file='/isos/a.iso'/></disk><hostdev><source><address bus='1'/></source></hostdev>",
);

const harmless: Readonly<Record<string, string>> = {
  'a disk in RBD': domain(rbd),
  'a network and a bridge': domain(
    "<interface type='network'><source network='default'/></interface><interface type='bridge'><source bridge='br0'/></interface>",
  ),
  'an emulated TPM': domain("<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"),
  'libvirt’s own log': domain(
    "<serial type='file'><source path='/var/log/libvirt/qemu/new.log'/></serial>",
  ),
  'NVRAM of its own': domain(
    '',
    `<os><loader>/usr/share/OVMF/OVMF_CODE.fd</loader><nvram template='/var/lib/siphon/nvram/${UUID}_VARS.fd'>/var/lib/libvirt/qemu/nvram/${UUID}_VARS.fd</nvram></os>`,
  ),
  'what another domain has': domain(
    "<disk type='file' device='cdrom'><source file='/isos/a.iso'/></disk><hostdev><source><address bus='1'/></source></hostdev>",
  ),
};
for (const [what, xml] of Object.entries(harmless)) {
  test(`${what} may be in a new domain`, () => assertNoNewAccess(xml, [known]));
}

const refused: Readonly<Record<string, string>> = {
  'the host’s disk': domain("<disk type='block'><source dev='/dev/sda'/></disk>"),
  'a file of the host': domain("<disk type='file'><source file='/etc/shadow'/></disk>"),
  'another program': domain('').replace('/usr/bin/qemu-system-x86_64', '/tmp/evil'),
  'a program by a path that climbs': domain('').replace(
    '/usr/bin/qemu-system-x86_64',
    '/usr/bin/../../tmp/evil',
  ),
  'a log anywhere': domain("<serial type='file'><source path='/etc/cron.d/x'/></serial>"),
  'a folder': domain("<filesystem type='mount'><source dir='/'/></filesystem>"),
  'another device': domain("<hostdev><source><address bus='2'/></source></hostdev>"),
  'arguments of QEMU': domain(
    '',
    "<qemu:commandline><qemu:arg value='-drive'/></qemu:commandline>",
  ),
  'a script': domain("<interface type='ethernet'><script path='evil'/></interface>"),
  'an interface of the host': domain(
    "<interface type='direct'><source dev='eth0' mode='passthrough'/></interface>",
  ),
  'a volume': domain("<disk type='volume'><source pool='p' volume='v'/></disk>"),
  'another protocol': domain("<disk type='network'><source protocol='nbd' name='x'/></disk>"),
  'the NVRAM of another': domain(
    '',
    '<os><nvram>/var/lib/libvirt/qemu/nvram/other_VARS.fd</nvram></os>',
  ),
  'a kernel': domain('', '<os><kernel>/root/vmlinuz</kernel></os>'),
};
for (const [what, xml] of Object.entries(refused)) {
  test(`${what} may not, unless a domain has it`, () => {
    assert.throws(() => assertNoNewAccess(xml, [known]), { code: 'refused' });
    assertNoNewAccess(xml, [known, xml]);
  });
}
