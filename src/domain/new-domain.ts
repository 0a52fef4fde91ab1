// A new domain from the XML of another, which may go on to run beside it: nothing that only one of them can have is left in it. Pure: what is
// drawn by lot is given.

import { parseSource } from './disk-source.ts';
import { elementOf, formatXml, withAttributes, withChildren, withText } from './format-xml.ts';
import { attribute, child, childrenOf, parseXml, type XmlElement } from './xml.ts';

export interface NewDomainParts {
  readonly name: string;
  readonly uuid: string;
  /** VM generation id, where the domain has one. */
  readonly genid: string;
  /** `POOL/[NAMESPACE/]IMAGE` of the new disks, by their targets. */
  readonly disks: ReadonlyMap<string, string>;
  /** One for each interface, in turn: `52:54:00:xx:xx:xx`. */
  readonly mac: () => string;
  /** What the UEFI variables begin as, and where the new domain has them; absent: firmware makes its own. */
  readonly nvram?: { readonly template: string; readonly path: string };
}

export interface NewDomain {
  readonly xml: string;
  /** What is not as it was, or is the operator's to look at. One sentence each. */
  readonly notes: readonly string[];
}

/** @throws OperatingError usage: it is no domain XML */
export function newDomain(xml: string, parts: NewDomainParts): NewDomain {
  const notes: string[] = [];
  const root = withAttributes(parseXml(xml), { id: undefined });
  const all = { ...parts, oldName: child(root, 'name')?.text ?? '' };
  const changed = withChildren(root, (each) => {
    const change = AT_ROOT[each.name];
    return change === undefined ? each : change(each, all, notes);
  });
  return { xml: formatXml(changed), notes };
}

type ChangeParts = NewDomainParts & { readonly oldName: string };

type Change = (element: XmlElement, parts: ChangeParts, notes: string[]) => XmlElement | undefined;

const AT_ROOT: Readonly<Record<string, Change>> = {
  name: (element, { name }) => withText(element, name),
  uuid: (element, { uuid }) => withText(element, uuid),
  genid: (element, { genid }) => withText(element, genid),
  sysinfo: (element, { uuid }) => sysinfo(element, uuid),
  os: firmware,
  devices: (element, parts, notes) =>
    withChildren(element, (device) => {
      const change = DEVICES[device.name];
      const bare = withChildren(device, (each) => (each.name === 'alias' ? undefined : each));
      return change === undefined ? bare : change(bare, parts, notes);
    }),
  // Labels of a domain that runs are drawn anew.
  seclabel: (element) => (attribute(element, 'type') === 'dynamic' ? undefined : element),
};

const DEVICES: Readonly<Record<string, Change>> = {
  disk,
  interface: networkInterface,
  channel: (element, parts, notes) => hostEnd(withoutRuntimePath(element), parts, notes),
  serial: hostEnd,
  console: hostEnd,
  parallel: hostEnd,
  vsock: (element) =>
    withChildren(element, (each) =>
      each.name === 'cid' ? elementOf('cid', { auto: 'yes' }) : each,
    ),
  graphics(element, _, notes) {
    const type = attribute(element, 'type') ?? 'graphics';
    notes.push(`${type}: passwords are in no set: where it had one, set it before the first start`);
    return element;
  },
  hostdev(element, _, notes) {
    notes.push('hostdev: a device of the host, which only one domain can have at a time');
    return element;
  },
  tpm(element, _, notes) {
    if (attribute(child(element, 'backend'), 'type') !== 'emulator') return element;
    notes.push('tpm: it begins empty; what was sealed by the old one cannot be opened');
    const bare = (each: XmlElement) => (each.name === 'source' ? undefined : each);
    return withChildren(element, (each) =>
      each.name === 'backend' ? withChildren(each, bare) : each,
    );
  },
};

/** libvirt wants the system's UUID to be the domain's. */
function sysinfo(element: XmlElement, uuid: string): XmlElement {
  return withChildren(element, (part) =>
    withChildren(part, (entry) =>
      part.name === 'system' && attribute(entry, 'name') === 'uuid' ? withText(entry, uuid) : entry,
    ),
  );
}

function firmware(os: XmlElement, { nvram }: NewDomainParts, notes: string[]): XmlElement {
  const hadOne = child(os, 'nvram') !== undefined;
  if (hadOne && nvram === undefined) {
    notes.push('nvram: the set keeps no copy of it: the firmware begins with its defaults');
  }
  const bare = withChildren(os, (each) => (each.name === 'nvram' ? undefined : each));
  if (nvram === undefined) return bare;
  const { template, path } = nvram;
  const made = withText(elementOf('nvram', { template }), path);
  return { ...bare, children: [...bare.children, made] };
}

/** A writable disk that is not in the set would be written by two domains. */
function disk(element: XmlElement, { disks }: NewDomainParts, notes: string[]) {
  const target = attribute(child(element, 'target'), 'dev') ?? '';
  const image = disks.get(target);
  if (image !== undefined) return diskOn(element, image);
  const device = attribute(element, 'device') ?? 'disk';
  const isShared =
    device === 'cdrom' || device === 'floppy' || child(element, 'readonly') !== undefined;
  if (isShared) return element;
  notes.push(`disk ${target}: it is not in the set, and left out`);
  return undefined;
}

/** What says where a disk's image comes from, is mirrored to, or who it is to the guest's world. */
const OF_THE_OLD_IMAGE = ['backingStore', 'mirror', 'reservations'];

function diskOn(element: XmlElement, image: string): XmlElement {
  return withChildren(element, (each) => {
    if (OF_THE_OLD_IMAGE.includes(each.name)) return undefined;
    return each.name === 'source' ? withAttributes(each, { name: image, index: undefined }) : each;
  });
}

function networkInterface(element: XmlElement, { mac }: NewDomainParts): XmlElement {
  const rest = withChildren(element, (each) =>
    // The name of the host's end, of a domain that runs or of an operator's choice.
    each.name === 'mac' || each.name === 'target' ? undefined : each,
  );
  return { ...rest, children: [elementOf('mac', { address: mac() }), ...rest.children] };
}

/** Where a device of the guest ends on the host. A file among libvirt's logs that is named after the old domain is named after the new one. */
function hostEnd(element: XmlElement, { name, oldName }: ChangeParts, notes: string[]): XmlElement {
  const isPty = attribute(element, 'type') === 'pty';
  return withChildren(withAttributes(element, { tty: undefined }), (each) => {
    const key = HOST_ENDS[each.name];
    const path = key && attribute(each, key);
    if (key === undefined || !path?.startsWith('/')) return each;
    if (isPty && each.name === 'source') return undefined;
    if (path.startsWith(LOGS)) {
      return withAttributes(each, { [key]: path.replaceAll(oldName, name) });
    }
    notes.push(`${element.name}: ${path} is the old domain's, too`);
    return each;
  });
}

const LOGS = '/var/log/libvirt/qemu/';
const HOST_ENDS: Readonly<Record<string, string>> = { source: 'path', log: 'file' };

/** libvirt makes one for each domain. */
function withoutRuntimePath(channel: XmlElement): XmlElement {
  const path = attribute(child(channel, 'source'), 'path') ?? '';
  if (!/^\/(run|var\/lib)\/libvirt\/qemu\/channel\//.test(path)) return channel;
  return withChildren(channel, (each) => (each.name === 'source' ? undefined : each));
}

/** Not of another domain's slots. */
const OF_THE_OLD_DOMAIN = [...OF_THE_OLD_IMAGE, 'alias', 'address', 'boot', 'serial', 'wwn'];

/**
 * The XML of one of a domain's disks, on another image, for `virsh attach-device`. undefined: it has no such disk in RBD.
 * @throws OperatingError usage: it is no domain XML
 */
export function diskToAttach(xml: string, target: string, image: string): string | undefined {
  const disks = childrenOf(child(parseXml(xml), 'devices'), 'disk');
  const found = disks.find((each) => attribute(child(each, 'target'), 'dev') === target);
  if (found === undefined || parseSource(found).kind !== 'rbd') return undefined;
  const changed = withChildren(diskOn(found, image), (each) => {
    if (OF_THE_OLD_DOMAIN.includes(each.name)) return undefined;
    // The last letter of its bus: hardly any domain has it.
    if (each.name === 'target') return withAttributes(each, { dev: `${target.slice(0, 2)}z` });
    return each;
  });
  return formatXml(changed);
}
