// ceph-napi: librados and librbd, typed, on promises.
export { type Ability, abilities, type OptionalSymbol } from './abilities.ts';
export {
  type BlocklistEntry,
  blocklistClient,
  listBlocklist,
  unblocklistClient,
} from './blocklist.ts';
export { type CloneOptions, type CloneSource, type CloneTarget, cloneImage } from './clone.ts';
export {
  Cluster,
  type ClusterCommand,
  type ClusterOptions,
  type CommandAnswer,
} from './cluster.ts';
export { type CopyOptions, copyImage, deepCopyImage, type SparseCopyOptions } from './copy.ts';
export { CephError, check, errno, errnoName, isErrno, LibraryError } from './errors.ts';
export {
  allocatedExtents,
  type ChangedExtent,
  changedExtents,
  type Extent,
  type ExtentOptions,
} from './extents.ts';
export { flattenImage } from './flatten.ts';
export { type GroupSnapshot, type GroupSnapshotMember, groupSnapshot } from './group-snapshots.ts';
export {
  feature,
  Image,
  type ImageFlags,
  type ImageRef,
  type ImageStat,
  type OpenOptions,
} from './image.ts';
export {
  type CreateOptions,
  createImage,
  defaultFeatures,
  type ImageName,
  imageId,
  listImages,
  removeImage,
  renameImage,
} from './images.ts';
export { bindings, type CFunction, type LibraryName } from './library.ts';
export { type LinkedImage, listChildren, type ParentImage, parentOf } from './lineage.ts';
export {
  breakLock,
  type Locker,
  type Lockers,
  type LockOwners,
  listLockers,
  listWatchers,
  lockOwners,
  type Watcher,
} from './locks.ts';
export { alignedShared } from './memory.ts';
export {
  createNamespace,
  listNamespaces,
  namespaceExists,
  removeNamespace,
} from './namespaces.ts';
export { type NotifyAnswer, type NotifyResult, notifyWatchers, type WatcherId } from './notify.ts';
export { callMethod } from './object-class.ts';
export {
  breakObjectLock,
  listObjectLockers,
  lockObject,
  type ObjectLock,
  type ObjectLockOptions,
  unlockObject,
} from './object-locks.ts';
export {
  createObject,
  type ObjectStat,
  type OmapAllOptions,
  type OmapChange,
  type OmapEntries,
  type OmapValue,
  omapCompareAndSet,
  omapGet,
  omapGetAll,
  omapRemove,
  omapSet,
  readObject,
  removeObject,
  statObject,
  writeObject,
} from './omap.ts';
export { Pool } from './pool.ts';
export {
  listPoolMetadata,
  poolMetadata,
  removePoolMetadata,
  setPoolMetadata,
} from './pool-metadata.ts';
export type { OnProgress, ProgressOptions } from './progress.ts';
export { ImageReader, maxReadsInFlight } from './read.ts';
export { type ResizeOptions, resizeImage, sparsifyImage } from './resize.ts';
export { aioCreateSnapId, aioRemoveSnapId, createSnapId, removeSnapId } from './snap-ids.ts';
export {
  createSnapshot,
  listSnapshots,
  protectSnapshot,
  removeSnapshot,
  renameSnapshot,
  rollbackToSnapshot,
  type Snapshot,
  type SnapshotOptions,
  type SnapshotType,
  snapshotExists,
  snapshotId,
  snapshotName,
  trashedSnapshotName,
  unprotectSnapshot,
} from './snapshots.ts';
export {
  listTrash,
  moveToTrash,
  purgeTrash,
  removeFromTrash,
  restoreFromTrash,
  type TrashedImage,
  type TrashRemoveOptions,
  type TrashSource,
} from './trash.ts';
export {
  type Answer,
  type Notification,
  ObjectWatch,
  type OnNotify,
  type WatchOptions,
} from './watch.ts';
export { ImageWriter } from './write.ts';
