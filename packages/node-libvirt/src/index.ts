// libvirt for Node: typed, promise-based, by koffi. One file a topic; the C prototype stands at each binding.
//
// A call cannot be cancelled and has no deadline (call.ts says why, and what follows): run it where the process can be killed.

export { CLOSE_REASONS, type CloseReason, Connection, type OpenOptions } from './connection.ts';
export {
  DOMAIN_STATES,
  Domain,
  type DomainFilter,
  DomainList,
  type DomainStatus,
  defineDomain,
  type Impact,
  listDomains,
  lookUpDomainByName,
  lookUpDomainByUuid,
} from './domains.ts';
export { isLibvirtError, LibvirtError, VIR_ERR } from './errors.ts';
export {
  LIFECYCLE_EVENTS,
  type LifecycleEvent,
  STOPPED_DETAILS,
  watchLifecycle,
} from './events.ts';
