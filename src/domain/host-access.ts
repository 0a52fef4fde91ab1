// What of its host a domain reaches. Defining domains equals root: a new one may reach nothing that no other domain of the host does. Pure.

import { OperatingError } from '../wire/errors.ts';
import { formatXml } from './format-xml.ts';
import { attribute, child, parseXml, type XmlElement } from './xml.ts';

/** Where siphond keeps what the NVRAM of new domains begins as: `UUID_VARS.fd`. */
export const NVRAM_FOLDER = '/var/lib/siphon/nvram';

/** Each as a text that is the same for the same thing: paths, and whole elements that mean more than a path. */
export function hostAccess(xml: string): ReadonlySet<string> {
  const found = new Set<string>();
  collect(parseXml(xml), found);
  return found;
}

/**
 * @throws OperatingError refused: the new domain reaches something that no `known` domain does
 */
export function assertNoNewAccess(xml: string, known: readonly string[]): void {
  const root = parseXml(xml);
  const name = child(root, 'name')?.text ?? '';
  const uuid = (child(root, 'uuid')?.text ?? '').trim();
  const here = new Set(known.flatMap((each) => [...hostAccess(each)]));
  for (const each of hostAccess(xml)) {
    if (here.has(each) || isHarmless(each, uuid)) continue;
    const what = each.trimEnd().replaceAll(/\s+/g, ' ');
    const why = `it would reach what no domain of this host does: ${what}`;
    const hint =
      'Restore its disks with --clone, and define it by hand: `siphon snapshot get SET --json` has its domainXml.';
    throw new OperatingError({ code: 'refused', op: 'define domain', subject: name, why, hint });
  }
}

/** Programs, firmware and random numbers that packages bring; libvirt's own logs; NVRAM of its own. */
const HARMLESS = [
  /^\/usr\/bin\/(qemu-system-\w+|kvm)$/,
  /^\/usr\/share\/(OVMF|AAVMF|qemu|qemu-efi-\w+|seabios)\/[\w.-]+$/,
  /^\/dev\/(u?random|net\/tun)$/,
  /^\/var\/log\/libvirt\/qemu\/[\w.-]+$/,
];

function isHarmless(text: string, uuid: string): boolean {
  if (HARMLESS.some((pattern) => pattern.test(text))) return true;
  return (
    text === `/var/lib/libvirt/qemu/nvram/${uuid}_VARS.fd` ||
    text === `${NVRAM_FOLDER}/${uuid}_VARS.fd`
  );
}

/** Devices of the host, its folders, memory of other domains, arguments of QEMU. */
const WHOLE = ['hostdev', 'filesystem', 'shmem', 'launchSecurity', 'script', 'downscript', 'tpm'];

function collect(element: XmlElement, found: Set<string>): void {
  const { name, attributes, children, text } = element;
  if (name === 'metadata') return;
  const isExtension = name.includes(':');
  if (isExtension || WHOLE.includes(name) || isForeignSource(element)) {
    if (!isEmulatedTpm(element)) found.add(formatXml(element));
  }
  for (const value of [...attributes.values(), text.trim()]) {
    if (value.startsWith('/')) found.add(value);
  }
  for (const each of children) collect(each, found);
}

/** Where a disk, an interface or a console ends, but for images in RBD, networks and bridges by their names, and what libvirt makes itself. */
function isForeignSource({ name, attributes }: XmlElement): boolean {
  if (name !== 'source' || attributes.size === 0) return false;
  if (attributes.get('protocol') === 'rbd') return false;
  const keys = [...attributes.keys()];
  return !keys.every((key) => NAMED.includes(key)) && attributes.get('path') === undefined;
}

const NAMED = ['network', 'bridge', 'portid', 'portgroup', 'mode', 'startupPolicy'];

function isEmulatedTpm(element: XmlElement): boolean {
  const backend = child(element, 'backend');
  return (
    element.name === 'tpm' &&
    attribute(backend, 'type') === 'emulator' &&
    child(backend, 'source') === undefined
  );
}
