// The domain XML of the tiny guest (docs/lab.md): direct kernel boot by TCG, serial console to a file, agent channel.

/** The libvirt secret on every lab host that holds the key of client.libvirt of the first cluster. */
export const libvirtSecretUuid = '51f04000-0000-4000-8000-000000000001';

/** A disk in a local file; `backing` writes the chain into the XML, top first, so that libvirt does not probe for it. */
export interface FileDisk {
  kind: 'file';
  path: string;
  format?: 'qcow2' | 'raw';
  backing?: { path: string; format: 'qcow2' | 'raw' }[];
  readOnly?: boolean;
}

/**
 * A disk in RBD: `image` is `POOL/[NAMESPACE/]IMAGE`. The user's key comes from a libvirt secret; `auth: 'config'` names no user and leaves the key
 * to `configFile` (the keyring must then be readable by QEMU's user).
 */
export interface RbdDisk {
  kind: 'rbd';
  image: string;
  auth?: { user: string; secretUuid: string } | 'config';
  configFile?: string;
  /** One that can be taken away without the guest's help; else virtio. */
  bus?: 'usb';
  monitors?: { host: string; port: number }[];
}

export type GuestDisk = FileDisk | RbdDisk;

export interface Guest {
  name: string;
  uuid?: string;
  /** vda, vdb, ... in this order; on USB sda, sdb. */
  disks: GuestDisk[];
  /** Options of the guest's init: `tiny.mkfs=1 tiny.mark=TEXT tiny.writer=1 tiny.order=vdb,vdc`. */
  cmdline?: string;
  memoryMiB?: number;
  /** A unix socket on which its serial console is, instead of the log: a root shell (`guestShell`). */
  console?: string;
  /** Boots vda by its boot sector; else the tiny guest's kernel. */
  boots?: 'vda';
  /** UEFI: the file of its variables; its firmware is never run. And an emulated TPM. */
  nvram?: string;
  hasTpm?: boolean;
  /** It can suspend itself to memory, and has a device to tell that it panics: then it stays as it is. */
  standsStill?: boolean;
  /** XML that stands inside <metadata>. */
  metadata?: string;
}

/** Where the serial console of a guest is written: "TINY-GUEST-READY" stands there once its agent is started. */
export function serialLogPath(name: string): string {
  return `/var/log/libvirt/qemu/${name}-serial.log`;
}

// Without rdrand the guest waits four seconds for its first random number.
const cpuXml = `<cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>qemu64</model><feature policy='require' name='rdrand'/>
  </cpu>`;

/** The XML of a tiny guest, for `virsh define` or `virsh create`. */
export function guestXml(guest: Guest): string {
  return `<domain type='qemu'>
  <name>${escapeXml(guest.name)}</name>
  ${guest.uuid === undefined ? '' : `<uuid>${guest.uuid}</uuid>`}
  ${guest.metadata === undefined ? '' : `<metadata>${guest.metadata}</metadata>`}
  <memory unit='MiB'>${guest.memoryMiB ?? 192}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    ${guest.nvram === undefined ? '' : nvramXml(guest.nvram)}
    ${guest.boots === 'vda' ? "<boot dev='hd'/>" : kernelXml(guest.cmdline ?? '')}
  </os>
  <features><acpi/></features>
  ${cpuXml}
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>${guest.standsStill === true ? 'preserve' : 'destroy'}</on_crash>
  ${guest.standsStill === true ? "<pm><suspend-to-mem enabled='yes'/></pm>" : ''}
  <devices>
${guest.disks.map(diskXml).join('\n')}
    ${serialXml(guest)}
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    ${guest.hasTpm === true ? TPM_XML : ''}
    ${guest.standsStill === true ? "<panic model='isa'/>" : ''}
    <memballoon model='none'/>
  </devices>
</domain>
`;
}

const nvramXml = (path: string) =>
  `<loader readonly='yes' type='pflash'>/usr/share/no-firmware.fd</loader><nvram>${escapeXml(path)}</nvram>`;

const TPM_XML = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>";

function serialXml({ name, console }: Guest): string {
  const [type, source] =
    console === undefined
      ? ['file', `path='${escapeXml(serialLogPath(name))}'`]
      : ['unix', `mode='bind' path='${escapeXml(console)}'`];
  return `<serial type='${type}'><source ${source}/><target port='0'/></serial>`;
}

const kernelXml = (cmdline: string) => `<kernel>/var/lib/siphon-guest/vmlinuz</kernel>
    <initrd>/var/lib/siphon-guest/initrd.gz</initrd>
    <cmdline>console=ttyS0 quiet panic=1 mitigations=off nokaslr ${escapeXml(cmdline)}</cmdline>`;

function diskXml(disk: GuestDisk, index: number): string {
  const bus = disk.kind === 'rbd' ? (disk.bus ?? 'virtio') : 'virtio';
  const letter = 'abcdefghijklmnopqrstuvwxyz'.charAt(index);
  const target = `<target dev='${bus === 'usb' ? 'sd' : 'vd'}${letter}' bus='${bus}'/>`;
  return disk.kind === 'file' ? fileDiskXml(disk, target) : rbdDiskXml(disk, target);
}

function fileDiskXml(disk: FileDisk, target: string): string {
  return `    <disk type='file' device='disk'>
      <driver name='qemu' type='${disk.format ?? 'qcow2'}' discard='unmap'/>
      <source file='${escapeXml(disk.path)}'/>${disk.backing === undefined ? '' : backingXml(disk.backing)}
      ${target}${disk.readOnly === true ? '<readonly/>' : ''}
    </disk>`;
}

function backingXml([first, ...rest]: { path: string; format: string }[]): string {
  if (first === undefined) return '<backingStore/>';
  return `<backingStore type='file'><format type='${first.format}'/><source file='${escapeXml(first.path)}'/>${backingXml(rest)}</backingStore>`;
}

function rbdDiskXml(disk: RbdDisk, target: string): string {
  const { auth = { user: 'libvirt', secretUuid: libvirtSecretUuid } } = disk;
  const monitors = disk.monitors ?? [{ host: '10.77.0.1', port: 6789 }];
  const parts = [
    ...monitors.map(({ host, port }) => `<host name='${escapeXml(host)}' port='${port}'/>`),
    disk.configFile === undefined ? '' : `<config file='${escapeXml(disk.configFile)}'/>`,
    auth === 'config'
      ? ''
      : `<auth username='${escapeXml(auth.user)}'><secret type='ceph' uuid='${auth.secretUuid}'/></auth>`,
  ];
  return `    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='none' discard='unmap'/>
      <source protocol='rbd' name='${escapeXml(disk.image)}'>${parts.join('')}</source>
      ${target}
    </disk>`;
}

function escapeXml(text: string): string {
  return text.replace(/[&<>'"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
