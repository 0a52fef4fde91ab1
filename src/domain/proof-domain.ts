// The domain in which a set's disks are booted to see whether they can be restored: its own, reduced to what it needs to boot and to
// answer. It reaches no network, no device and no file of the host, and is made of what is named here alone. Pure.

import { OperatingError } from '../wire/errors.ts';
import { PROOF_MARK } from '../wire/verify-protocol.ts';
import { parseSource } from './disk-source.ts';
import { elementOf, formatXml, withAttributes, withChildren, withText } from './format-xml.ts';
import { diskToAttach, type NewDomainParts, newDomain } from './new-domain.ts';
import { attribute, child, childrenOf, parseXml, type XmlElement } from './xml.ts';

export interface ProofDomainParts extends Omit<NewDomainParts, 'nvram' | 'mac'> {
  readonly memoryBytesMax: number;
  readonly vcpusMax: number;
  /** Where UEFI variables are meanwhile. */
  readonly nvramPath: string;
  /** Whether the host can give it a small share of its processors. */
  readonly hasShares: boolean;
}

export interface ProofDomain {
  readonly xml: string;
  readonly memoryBytes: number;
  readonly hasNvram: boolean;
  /** Index of the SCSI controller that nothing is attached to yet. */
  readonly controller: number;
}

/** @throws OperatingError usage: it is no domain XML */
export function proofDomain(xml: string, parts: ProofDomainParts): ProofDomain {
  const bare = parseXml(newDomain(xml, { ...parts, mac: () => '' }).xml);
  const old = child(child(parseXml(xml), 'os'), 'nvram');
  const memoryBytes = Math.min(memoryOf(bare), parts.memoryBytesMax);
  const controller = freeController(bare);
  const kept = withChildren(bare, (each) => {
    if (each.name === 'os') return withNvram(each, old, parts.nvramPath);
    if (each.name === 'cpu') return without(each, ['numa', 'topology']);
    if (each.name === 'devices') return devices(each, parts, controller);
    return KEPT.includes(each.name) ? each : undefined;
  });
  const children = [...kept.children, ...bounds(bare, parts, memoryBytes), ...ENDS, NO_SET];
  // Extensions of QEMU's are among what is left out, and so is their namespace.
  const root = { ...kept, attributes: new Map([['type', attribute(bare, 'type') ?? '']]) };
  const made = formatXml({ ...root, children });
  return { xml: made, memoryBytes, hasNvram: old !== undefined, controller };
}

/** What makes the machine what the guest expects. */
const KEPT = [
  'name',
  'uuid',
  'genid',
  'sysinfo',
  'features',
  'clock',
  'pm',
  'keywrap',
  'iothreads',
  'iothreadids',
  'defaultiothread',
];

const ENDS = ['on_poweroff', 'on_reboot', 'on_crash'].map((name) =>
  withText(elementOf(name, {}), 'destroy'),
);

/** Whatever policies say, nothing is taken of it. */
const NO_SET: XmlElement = {
  ...elementOf('metadata', {}),
  children: [elementOf('siphon:domain', { 'xmlns:siphon': 'urn:siphon:domain:1', policy: 'off' })],
};

/** Where libvirt's default is 1024. */
const SHARES = '100';

function bounds(
  root: XmlElement,
  { vcpusMax, hasShares }: ProofDomainParts,
  memoryBytes: number,
): XmlElement[] {
  const vcpu = child(root, 'vcpu');
  const has = Number(attribute(vcpu, 'current') ?? vcpu?.text ?? 1) || 1;
  const shares = withText(elementOf('shares', {}), SHARES);
  return [
    withText(elementOf('memory', { unit: 'b' }), String(memoryBytes)),
    withText(elementOf('vcpu', {}), String(Math.min(has, vcpusMax))),
    ...(hasShares ? [{ ...elementOf('cputune', {}), children: [shares] }] : []),
  ];
}

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** As libvirt prints it; of any other unit it is too much, and bounded. */
function memoryOf(root: XmlElement): number {
  const memory = child(root, 'memory');
  const unit = UNITS[attribute(memory, 'unit') ?? 'KiB'] ?? Number.POSITIVE_INFINITY;
  return Number(memory?.text ?? 0) * unit || Number.POSITIVE_INFINITY;
}

/** A file that goes with the proof: libvirt leaves one of its own behind. */
function withNvram(os: XmlElement, old: XmlElement | undefined, path: string): XmlElement {
  if (old === undefined) return os;
  const template = attribute(old, 'template');
  const made = elementOf('nvram', template === undefined ? {} : { template });
  return { ...os, children: [...os.children, withText(made, path)] };
}

const DEVICES = ['emulator', 'controller', 'memballoon', 'panic', 'iommu'];

function devices(element: XmlElement, { disks }: ProofDomainParts, controller: number): XmlElement {
  const kept = withChildren(element, (each) => {
    const target = attribute(child(each, 'target'), 'dev') ?? '';
    if (each.name === 'disk') return disks.has(target) ? each : undefined;
    if (each.name === 'rng') return isOwnRandom(each) ? each : undefined;
    return DEVICES.includes(each.name) ? each : undefined;
  });
  const index = String(controller);
  const more = [
    elementOf('controller', { type: 'scsi', index, model: 'virtio-scsi' }),
    elementOf('serial', { type: 'null' }),
    AGENT,
  ];
  return { ...kept, children: [...kept.children, ...more] };
}

/** Also where it had none: an agent that is installed starts with its channel. */
const AGENT: XmlElement = {
  ...elementOf('channel', { type: 'unix' }),
  children: [elementOf('target', { type: 'virtio', name: 'org.qemu.guest_agent.0' })],
};

/** Of the kernel's random numbers, not of a socket. */
function isOwnRandom(rng: XmlElement): boolean {
  return ['random', 'builtin'].includes(attribute(child(rng, 'backend'), 'model') ?? '');
}

function freeController(root: XmlElement): number {
  const all = childrenOf(child(root, 'devices'), 'controller');
  const scsi = all.filter((each) => attribute(each, 'type') === 'scsi');
  const used = scsi.map((each) => Number(attribute(each, 'index') ?? 0));
  return Math.max(-1, ...used) + 1;
}

function without(element: XmlElement, names: readonly string[]): XmlElement {
  return withChildren(element, (each) => (names.includes(each.name) ? undefined : each));
}

export interface CheckDiskParts {
  readonly target: string;
  /** `POOL/[NAMESPACE/]IMAGE` */
  readonly image: string;
  readonly controller: number;
  /** Unlike those of the others. */
  readonly unit: number;
}

/** The guest finds it by these. */
export const CHECK_VENDOR = 'SIPHON';

/** What of a driver a SCSI disk may have, too. */
const DRIVER = ['name', 'type', 'cache', 'io', 'discard'];
const OF_THE_BUS = ['target', 'driver', 'vendor', 'product', 'geometry', 'iotune', 'transient'];

/** A second clone of a disk, to be attached while the guest runs: by SCSI, with its target as the product. undefined: no such disk in RBD. */
export function checkDisk(
  xml: string,
  { target, image, controller, unit }: CheckDiskParts,
): string | undefined {
  const found = diskToAttach(xml, target, image);
  if (found === undefined) return undefined;
  const disk = parseXml(found);
  const driver = child(disk, 'driver');
  const unwanted = [...(driver?.attributes.keys() ?? [])].filter((key) => !DRIVER.includes(key));
  const dropped = Object.fromEntries(unwanted.map((key) => [key, undefined]));
  const at = { type: 'drive', controller: String(controller), bus: '0', target: '0' };
  const children = [
    ...without(disk, OF_THE_BUS).children,
    ...(driver === undefined ? [] : [withAttributes(driver, dropped)]),
    // The last letters of its bus: no domain has as many disks.
    elementOf('target', { dev: `sdz${String.fromCharCode(97 + unit)}`, bus: 'scsi' }),
    withText(elementOf('vendor', {}), CHECK_VENDOR),
    withText(elementOf('product', {}), target),
    elementOf('address', { ...at, unit: String(unit) }),
  ];
  const attributes = new Map([
    ['type', 'network'],
    ['device', 'disk'],
  ]);
  return formatXml({ ...disk, attributes, children });
}

/** For a host that gives no shares. */
export function withoutShares(xml: string): string {
  return formatXml(without(parseXml(xml), ['cputune']));
}

/** Of a domain, or of one disk. @throws OperatingError refused: a disk of it is no clone that was made for a proof */
export function assertProofDisks(xml: string): void {
  const root = parseXml(xml);
  const disks = root.name === 'disk' ? [root] : childrenOf(child(root, 'devices'), 'disk');
  for (const disk of disks) {
    const source = parseSource(disk);
    if (source.kind === 'rbd' && source.image.startsWith(PROOF_MARK)) continue;
    const subject = attribute(child(disk, 'target'), 'dev') ?? '';
    const why = `its image is none that begins with ${PROOF_MARK}`;
    throw new OperatingError({ code: 'refused', op: 'use disk for a proof', subject, why });
  }
}
