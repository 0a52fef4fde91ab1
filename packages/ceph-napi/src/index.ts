// ceph-napi: librados and librbd, typed, on promises.
export { Cluster, type ClusterOptions, type MonAnswer } from './cluster.ts';
export { CephError, check, errno, errnoName, isErrno, LibraryError } from './errors.ts';
export { allocatedExtents, type Extent, type ExtentOptions } from './extents.ts';
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
} from './images.ts';
export { bindings, type CFunction, type LibraryName } from './library.ts';
export {
  type Locker,
  type Lockers,
  type LockOwners,
  listLockers,
  listWatchers,
  lockOwners,
  type Watcher,
} from './locks.ts';
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
  removeObject,
  statObject,
} from './omap.ts';
export { Pool } from './pool.ts';
export { ImageReader, maxReadsInFlight } from './read.ts';
export {
  createSnapshot,
  listSnapshots,
  protectSnapshot,
  removeSnapshot,
  type Snapshot,
  type SnapshotOptions,
  type SnapshotType,
  snapshotExists,
  snapshotId,
  unprotectSnapshot,
} from './snapshots.ts';
