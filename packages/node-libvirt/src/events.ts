// Events of domains. No event tells that an external snapshot was made, nor one that a block device was resized. Source:
// libvirt/libvirt-domain.h, virDomainEventID.

import type { Connection } from './connection.ts';
import type { DomainIdentity } from './domain.ts';
import { domainCallback, watch, watchAll } from './watch.ts';

/** virDomainEventType, in its order. */
export const LIFECYCLE_EVENTS = [
  'defined',
  'undefined',
  'started',
  'suspended',
  'resumed',
  'stopped',
  'shutdown',
  'pmsuspended',
  'crashed',
] as const;

/** virDomainEventStoppedDetailType, in its order: why a domain stopped. */
export const STOPPED_DETAILS = [
  'shutdown',
  'destroyed',
  'crashed',
  'migrated',
  'saved',
  'failed',
  'from snapshot',
] as const;

/** virDomainEventStartedDetailType, in its order. */
export const STARTED_DETAILS = [
  'booted',
  'migrated',
  'restored',
  'from snapshot',
  'wakeup',
] as const;

/** virDomainEventSuspendedDetailType, in its order. */
export const SUSPENDED_DETAILS = [
  'paused',
  'migrated',
  'ioerror',
  'watchdog',
  'restored',
  'from snapshot',
  'api error',
  'postcopy',
  'postcopy failed',
] as const;

/** virDomainEventResumedDetailType, in its order. */
export const RESUMED_DETAILS = [
  'unpaused',
  'migrated',
  'from snapshot',
  'postcopy',
  'postcopy failed',
] as const;

/** virConnectDomainEventAgentLifecycleState, from 1. */
export const AGENT_STATES = ['connected', 'disconnected'] as const;
/** virConnectDomainEventAgentLifecycleReason: `domain started` is the state at a start, `channel` a change while it runs. */
export const AGENT_REASONS = ['unknown', 'domain started', 'channel'] as const;
/** virDomainMetadataType, in its order. */
export const METADATA_KINDS = ['description', 'title', 'element'] as const;
/** virDomainBlockJobType, in its order. */
export const BLOCK_JOB_TYPES = [
  'unknown',
  'pull',
  'copy',
  'commit',
  'active commit',
  'backup',
] as const;
/** virConnectDomainEventBlockJobStatus, in its order. `ready`: may be pivoted to, and goes on until it is aborted or pivoted. */
export const BLOCK_JOB_STATUSES = ['completed', 'failed', 'canceled', 'ready'] as const;

/** One of the names, or `unknown`: newer than this binding. */
type Known<Names extends readonly string[]> = Names[number] | 'unknown';

function known<const Names extends readonly string[]>(names: Names, index: number): Known<Names> {
  return names[index] ?? 'unknown';
}

export interface LifecycleEvent extends DomainIdentity {
  readonly event: Known<typeof LIFECYCLE_EVENTS>;
  /** virDomainEvent…DetailType of that event: of `stopped` an index into {@link STOPPED_DETAILS}, and so on. */
  readonly detail: number;
}

const DETAILS: Readonly<Record<string, readonly string[]>> = {
  started: STARTED_DETAILS,
  suspended: SUSPENDED_DETAILS,
  resumed: RESUMED_DETAILS,
  stopped: STOPPED_DETAILS,
};

/** Whether an event is of a domain on its way from one host to another, and tells nothing else of it. */
export function isOfMigration({
  event,
  detail,
}: Pick<LifecycleEvent, 'event' | 'detail'>): boolean {
  return /^(migrated|postcopy)/.test(DETAILS[event]?.[detail] ?? '');
}

const LIFECYCLE = {
  id: 0,
  callback: domainCallback(
    `typedef int (*virConnectDomainEventCallback)(virConnectPtr conn, virDomainPtr dom,
       int event, int detail, void *opaque);`,
    (event: number, detail: number) => ({ event: known(LIFECYCLE_EVENTS, event), detail }),
  ),
};

/** Defined, undefined, started, suspended, resumed, stopped …, of any domain. See {@link watch}. */
export function watchLifecycle(
  connection: Connection,
  listener: (event: LifecycleEvent) => void,
): Promise<Disposable> {
  return watch(connection, LIFECYCLE, listener);
}

const REBOOT = {
  id: 1,
  callback: domainCallback(
    `typedef void (*virConnectDomainEventGenericCallback)(virConnectPtr conn, virDomainPtr dom,
       void *opaque);`,
    () => ({}),
  ),
};

/** The guest was reset, or reset itself. See {@link watch}. */
export function watchReboots(
  connection: Connection,
  listener: (event: DomainIdentity) => void,
): Promise<Disposable> {
  return watch(connection, REBOOT, listener);
}

export interface DeviceEvent extends DomainIdentity {
  /** `removal failed`: the guest refused to let it go. */
  readonly change: 'added' | 'removed' | 'removal failed';
  /** As in the live XML: `<alias name='virtio-disk1'/>`. */
  readonly alias: string;
}

const DEVICE_ADDED = {
  id: 19,
  callback: domainCallback(
    `typedef void (*virConnectDomainEventDeviceAddedCallback)(virConnectPtr conn, virDomainPtr dom,
       const char *devAlias, void *opaque);`,
    (alias: string) => ({ change: 'added', alias }) as const,
  ),
};
const DEVICE_REMOVED = {
  id: 15,
  callback: domainCallback(
    `typedef void (*virConnectDomainEventDeviceRemovedCallback)(virConnectPtr conn, virDomainPtr dom,
       const char *devAlias, void *opaque);`,
    (alias: string) => ({ change: 'removed', alias }) as const,
  ),
};
const DEVICE_REMOVAL_FAILED = {
  id: 22,
  callback: domainCallback(
    `typedef void (*virConnectDomainEventDeviceRemovalFailedCallback)(virConnectPtr conn, virDomainPtr dom,
       const char *devAlias, void *opaque);`,
    (alias: string) => ({ change: 'removal failed', alias }) as const,
  ),
};

/** Devices that came and went while a domain ran. See {@link watch}. */
export function watchDevices(
  connection: Connection,
  listener: (event: DeviceEvent) => void,
): Promise<Disposable> {
  return watchAll([
    watch(connection, DEVICE_ADDED, listener),
    watch(connection, DEVICE_REMOVED, listener),
    watch(connection, DEVICE_REMOVAL_FAILED, listener),
  ]);
}

export interface BlockJobEvent extends DomainIdentity {
  /** What the watch names disks by: the target (`vda`), or the path or name of the source. */
  readonly disk: string;
  readonly job: Known<typeof BLOCK_JOB_TYPES>;
  readonly status: Known<typeof BLOCK_JOB_STATUSES>;
}

const BLOCK_JOB = {
  id: 8,
  callback: domainCallback(
    `typedef void (*virConnectDomainEventBlockJobCallback)(virConnectPtr conn, virDomainPtr dom,
       const char *disk, int type, int status, void *opaque);`,
    (disk: string, type: number, status: number) => ({
      disk,
      job: known(BLOCK_JOB_TYPES, type),
      status: known(BLOCK_JOB_STATUSES, status),
    }),
  ),
};
/** Of the same C type; each registration has its own `opaque`, so one function serves both. */
const BLOCK_JOB_2 = { id: 16, callback: BLOCK_JOB.callback };

/** Block jobs that ended or became ready; `disk` is the target (`vda`). See {@link watch}. */
export function watchBlockJobs(
  connection: Connection,
  listener: (event: BlockJobEvent) => void,
): Promise<Disposable> {
  return watch(connection, BLOCK_JOB_2, listener);
}

/** The same, by the older event: `disk` is the source's path (of RBD: POOL/IMAGE), after a pivot the new one's. See {@link watch}. */
export function watchBlockJobsByPath(
  connection: Connection,
  listener: (event: BlockJobEvent) => void,
): Promise<Disposable> {
  return watch(connection, BLOCK_JOB, listener);
}

export interface AgentEvent extends DomainIdentity {
  readonly state: Known<typeof AGENT_STATES>;
  readonly reason: Known<typeof AGENT_REASONS>;
}

const AGENT_LIFECYCLE = {
  id: 18,
  callback: domainCallback(
    `typedef void (*virConnectDomainEventAgentLifecycleCallback)(virConnectPtr conn, virDomainPtr dom,
       int state, int reason, void *opaque);`,
    (state: number, reason: number) => ({
      state: known(AGENT_STATES, state - 1),
      reason: known(AGENT_REASONS, reason),
    }),
  ),
};

/** A guest's agent opened its channel, or closed it. See {@link watch}. */
export function watchAgents(
  connection: Connection,
  listener: (event: AgentEvent) => void,
): Promise<Disposable> {
  return watch(connection, AGENT_LIFECYCLE, listener);
}

export interface MetadataEvent extends DomainIdentity {
  readonly metadata: Known<typeof METADATA_KINDS>;
  /** The namespace of the element; null of title and description. */
  readonly uri: string | null;
}

const METADATA_CHANGE = {
  id: 23,
  callback: domainCallback(
    `typedef void (*virConnectDomainEventMetadataChangeCallback)(virConnectPtr conn, virDomainPtr dom,
       int type, const char *nsuri, void *opaque);`,
    (type: number, uri: string | null) => ({ metadata: known(METADATA_KINDS, type), uri }),
  ),
};

/** Metadata was set or removed by virDomainSetMetadata; not by a new definition. See {@link watch}. */
export function watchMetadata(
  connection: Connection,
  listener: (event: MetadataEvent) => void,
): Promise<Disposable> {
  return watch(connection, METADATA_CHANGE, listener);
}
