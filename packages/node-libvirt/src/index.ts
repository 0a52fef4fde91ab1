// libvirt for Node: typed, promise-based, by koffi. One file a topic; the C prototype stands at each binding.
//
// A call cannot be cancelled and has no deadline (call.ts says why, and what follows): run it where the process can be killed.

export * from './agent.ts';
export * from './block-devices.ts';
export {
  abortBlockJob,
  type Bandwidth,
  type BlockJob,
  blockJob,
  commitBlock,
  copyBlock,
  pullBlock,
  setBlockJobSpeed,
} from './block-jobs.ts';
export { CLOSE_REASONS, type CloseReason, Connection, type OpenOptions } from './connection.ts';
export * from './devices.ts';
export {
  type ChangeImpact,
  DOMAIN_STATES,
  Domain,
  type DomainIdentity,
  type DomainStatus,
  type Impact,
  type PowerWay,
  type StartOptions,
  type UndefineOptions,
} from './domain.ts';
export {
  createDomain,
  type DomainFilter,
  DomainList,
  defineDomain,
  listDomains,
  lookUpDomainByName,
  lookUpDomainByUuid,
} from './domains.ts';
export { AbsentFunctionError, isLibvirtError, LibvirtError, VIR_ERR } from './errors.ts';
export * from './events.ts';
export { HandleList } from './handle.ts';
export {
  capabilitiesXml,
  type DomainCapabilitiesOptions,
  domainCapabilitiesXml,
  hostname,
  hypervisorVersion,
  type NodeInfo,
  nodeInfo,
} from './host.ts';
export {
  abortJob,
  JOB_OPERATIONS,
  JOB_TYPES,
  type JobInfo,
  type JobStatistics,
  jobInfo,
  jobStatistics,
} from './jobs.ts';
export { bindings, type CFunction, type LibraryName } from './library.ts';
export {
  managedSaveXml,
  removeManagedSave,
  restoreDomain,
  type SavedXmlOptions,
  type SaveOptions,
  saveDomain,
  saveFileXml,
  saveManaged,
} from './saves.ts';
export * from './secrets.ts';
export * from './storage-pools.ts';
export * from './storage-volumes.ts';
export type { TypedParameters, TypedValue } from './typed-parameters.ts';
