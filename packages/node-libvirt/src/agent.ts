// The guest's agent: commands, and filesystems frozen and thawed. Source: libvirt/libvirt-domain.h, libvirt/libvirt-qemu.h.
//
// libvirt waits for ever for the answer to a freeze unless setAgentTimeout() was called, and one that hangs keeps all later calls
// of the agent from running (thaw too) until libvirtd is restarted. A freeze that timed out may still happen later: thaw until
// freezeStatus() says `thawed`. The timeout and the freeze outlive a restart of libvirtd.

import { bind } from './call.ts';
import type { Domain } from './domain.ts';
import { bytesAt, cStrings, free, local, type Pointer, pointersAt, textAt } from './library.ts';

const virDomainQemuAgentCommand = bind(
  'char *virDomainQemuAgentCommand(virDomainPtr domain, const char *cmd, int timeout, unsigned int flags)',
  'libvirt-qemu',
);
const virDomainAgentSetResponseTimeout = bind(
  'int virDomainAgentSetResponseTimeout(virDomainPtr domain, int timeout, unsigned int flags)',
);
const virDomainFSFreeze = bind(
  `int virDomainFSFreeze(virDomainPtr dom, const char **mountpoints, unsigned int nmountpoints,
     unsigned int flags)`,
);
const virDomainFSThaw = bind(
  `int virDomainFSThaw(virDomainPtr dom, const char **mountpoints, unsigned int nmountpoints,
     unsigned int flags)`,
);
const virDomainGetFSInfo = bind(
  'int virDomainGetFSInfo(virDomainPtr dom, virDomainFSInfoPtr **info, unsigned int flags)',
);
const virDomainFSInfoFree = local('void virDomainFSInfoFree(virDomainFSInfoPtr info)');

/** virDomainAgentResponseTimeoutValues: libvirt's own 5 s, or no limit. A number is whole seconds, from 1. */
export const AGENT_TIMEOUTS = { default: -1, forever: -2 } as const;
export type AgentTimeout = number | keyof typeof AGENT_TIMEOUTS;

export interface AgentCommand {
  readonly execute: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
}

/** A filesystem that the guest has mounted. */
export interface GuestFilesystem {
  readonly mountpoint: string;
  /** The guest's name of the device. */
  readonly name: string;
  /** `ext4`, `xfs`, … */
  readonly type: string;
  /** Targets of the disks that it lies on (`vda`); empty where libvirt could not tell. */
  readonly disks: readonly string[];
}

/**
 * Has the agent execute a command (qemu-ga's protocol: `{ execute: 'guest-ping' }`), and gives what it returns.
 *
 * Implements: virDomainQemuAgentCommand.
 * @throws LibvirtError AGENT_UNRESPONSIVE: not connected, or silent; AGENT_COMMAND_TIMEOUT: connected, and slow with this command;
 *   AGENT_COMMAND_FAILED: it refused; ARGUMENT_UNSUPPORTED: the domain has no channel; OPERATION_INVALID: it does not run
 */
export async function agentCommand(
  domain: Domain,
  command: AgentCommand,
  timeout: AgentTimeout = 'default',
): Promise<unknown> {
  const text = JSON.stringify(command);
  const seconds = secondsOf(timeout);
  const answer = await domain.use((it) => virDomainQemuAgentCommand(it, text, seconds, 0));
  return (JSON.parse(answer) as { readonly return: unknown }).return;
}

/**
 * How long libvirt waits for the agent's answers from now on, until the domain ends; a restart of libvirtd does not change it.
 *
 * Implements: virDomainAgentSetResponseTimeout.
 */
export async function setAgentTimeout(domain: Domain, timeout: AgentTimeout): Promise<void> {
  const seconds = secondsOf(timeout);
  await domain.use((it) => virDomainAgentSetResponseTimeout(it, seconds, 0));
}

/**
 * Freezes the guest's filesystems, or those of the mountpoints, and gives how many.
 *
 * Implements: virDomainFSFreeze.
 * @throws LibvirtError AGENT_UNRESPONSIVE, INTERNAL_ERROR or AGENT_COMMAND_FAILED: frozen already, …: see agentCommand
 */
export function freezeFilesystems(
  domain: Domain,
  mountpoints: readonly string[] = [],
): Promise<number> {
  return domain.use((it) => virDomainFSFreeze(it, ...listOf(mountpoints), 0));
}

/**
 * Thaws all that is frozen in the guest, and gives how many: 0 if nothing was. Not possible while the domain is suspended.
 *
 * Implements: virDomainFSThaw.
 * @throws LibvirtError AGENT_UNRESPONSIVE; OPERATION_INVALID: it does not run
 */
export function thawFilesystems(
  domain: Domain,
  mountpoints: readonly string[] = [],
): Promise<number> {
  return domain.use((it) => virDomainFSThaw(it, ...listOf(mountpoints), 0));
}

/** Whether the guest's filesystems are frozen, as its agent says. See {@link agentCommand}. */
export async function freezeStatus(
  domain: Domain,
  timeout: AgentTimeout = 'default',
): Promise<'frozen' | 'thawed'> {
  const status = await agentCommand(domain, { execute: 'guest-fsfreeze-status' }, timeout);
  return status === 'thawed' ? status : 'frozen';
}

/**
 * The filesystems that the guest has mounted; not while they are frozen.
 *
 * Implements: virDomainGetFSInfo, virDomainFSInfoFree.
 * @throws LibvirtError AGENT_UNRESPONSIVE, …: see agentCommand
 */
export async function guestFilesystems(domain: Domain): Promise<GuestFilesystem[]> {
  const array = Buffer.alloc(8);
  const count = await domain.use((it) => virDomainGetFSInfo(it, array, 0));
  const address = array.readBigUInt64LE();
  if (address === 0n) return [];
  const pointers = pointersAt(address, count);
  const filesystems = pointers.map(readFilesystem);
  for (const pointer of pointers) virDomainFSInfoFree(pointer);
  free(address);
  return filesystems;
}

/** sizeof(virDomainFSInfo): char *mountpoint, *name, *fstype; size_t ndevAlias; char **devAlias. */
const FS_INFO_BYTES = 40;

function readFilesystem(address: Pointer): GuestFilesystem {
  const info = bytesAt(address, FS_INFO_BYTES);
  const [mountpoint, name, type] = [0, 8, 16].map((at) => textAt(info.readBigUInt64LE(at)));
  const disks = pointersAt(info.readBigUInt64LE(32), Number(info.readBigUInt64LE(24))).map(textAt);
  return { mountpoint: mountpoint ?? '', name: name ?? '', type: type ?? '', disks };
}

function listOf(mountpoints: readonly string[]): [Uint8Array | null, number] {
  return [mountpoints.length === 0 ? null : cStrings(mountpoints), mountpoints.length];
}

function secondsOf(timeout: AgentTimeout): number {
  if (typeof timeout === 'string') return AGENT_TIMEOUTS[timeout];
  if (!Number.isInteger(timeout) || timeout < 1)
    throw new RangeError(`an agent's timeout is whole seconds, at least 1, not ${timeout}`);
  return timeout;
}
