// The host that libvirtd runs on. Source: libvirt/libvirt-host.h, libvirt/libvirt-domain.h.

import { bind } from './call.ts';
import type { Connection } from './connection.ts';
import { versionText } from './version.ts';

const virNodeGetInfo = bind('int virNodeGetInfo(virConnectPtr conn, virNodeInfoPtr info)');
const virConnectGetCapabilities = bind('char *virConnectGetCapabilities(virConnectPtr conn)');
const virConnectGetDomainCapabilities = bind(
  `char *virConnectGetDomainCapabilities(virConnectPtr conn, const char *emulatorbin, const char *arch,
     const char *machine, const char *virttype, unsigned int flags)`,
);
const virConnectGetHostname = bind('char *virConnectGetHostname(virConnectPtr conn)');
const virConnectGetVersion = bind(
  'int virConnectGetVersion(virConnectPtr conn, unsigned long *hvVer)',
);

export interface NodeInfo {
  /** `x86_64`, … */
  readonly model: string;
  readonly memoryBytes: number;
  /** Active ones. */
  readonly cpus: number;
  /** 0 if unknown. */
  readonly mhz: number;
  /** NUMA cells, and what one holds. */
  readonly numaNodes: number;
  readonly socketsPerNode: number;
  readonly coresPerSocket: number;
  readonly threadsPerCore: number;
}

/** sizeof(virNodeInfo): char model[32]; unsigned long memory (KiB); six unsigned int. */
const NODE_INFO_BYTES = 64;

/** The machine. Implements: virNodeGetInfo. */
export async function nodeInfo(connection: Connection): Promise<NodeInfo> {
  const info = Buffer.alloc(NODE_INFO_BYTES);
  await connection.use((it) => virNodeGetInfo(it, info));
  const number = (index: number): number => info.readUInt32LE(40 + index * 4);
  return {
    model: info.toString('utf8', 0, info.indexOf(0)),
    memoryBytes: Number(info.readBigUInt64LE(32)) * 1024,
    cpus: number(0),
    mhz: number(1),
    numaNodes: number(2),
    socketsPerNode: number(3),
    coresPerSocket: number(4),
    threadsPerCore: number(5),
  };
}

/** What the host and its QEMUs can do, as XML. Implements: virConnectGetCapabilities. */
export function capabilitiesXml(connection: Connection): Promise<string> {
  return connection.use(virConnectGetCapabilities);
}

export interface DomainCapabilitiesOptions {
  readonly emulator?: string;
  readonly arch?: string;
  readonly machine?: string;
  /** `kvm`, `qemu`. */
  readonly type?: string;
}

/**
 * What a domain of that kind may have, as XML; libvirt's defaults where nothing is said.
 *
 * Implements: virConnectGetDomainCapabilities.
 * @throws LibvirtError INVALID_ARG: this host runs no such domains
 */
export function domainCapabilitiesXml(
  connection: Connection,
  { emulator, arch, machine, type }: DomainCapabilitiesOptions = {},
): Promise<string> {
  const texts = [emulator, arch, machine, type].map((text) => text ?? null);
  const [a = null, b = null, c = null, d = null] = texts;
  return connection.use((it) => virConnectGetDomainCapabilities(it, a, b, c, d, 0));
}

/** As the host calls itself. Implements: virConnectGetHostname. */
export function hostname(connection: Connection): Promise<string> {
  return connection.use(virConnectGetHostname);
}

/** QEMU's, as '10.0.13'. Implements: virConnectGetVersion. */
export async function hypervisorVersion(connection: Connection): Promise<string> {
  const version = Buffer.alloc(8);
  await connection.use((it) => virConnectGetVersion(it, version));
  return versionText(Number(version.readBigUInt64LE()));
}
