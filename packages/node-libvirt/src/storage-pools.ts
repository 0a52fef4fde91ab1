// Storage pools of libvirt: find them, read them, list what is in them. Source: libvirt/libvirt-storage.h.

import { bind } from './call.ts';
import type { Connection } from './connection.ts';
import { VIR_UUID_STRING_BUFLEN } from './domain.ts';
import { Handle, HandleList, listHandles } from './handle.ts';
import { local, type Pointer } from './library.ts';

const virStoragePoolLookupByName = bind(
  'virStoragePoolPtr virStoragePoolLookupByName(virConnectPtr conn, const char *name)',
);
const virStoragePoolLookupByUUIDString = bind(
  'virStoragePoolPtr virStoragePoolLookupByUUIDString(virConnectPtr conn, const char *uuid)',
);
const virStoragePoolLookupByTargetPath = bind(
  'virStoragePoolPtr virStoragePoolLookupByTargetPath(virConnectPtr conn, const char *path)',
);
const virStoragePoolCreateXML = bind(
  `virStoragePoolPtr virStoragePoolCreateXML(virConnectPtr conn, const char *xmlDesc,
     unsigned int flags)`,
);
const virConnectListAllStoragePools = bind(
  `int virConnectListAllStoragePools(virConnectPtr conn, virStoragePoolPtr **pools,
     unsigned int flags)`,
);
const virStoragePoolGetName = local('const char *virStoragePoolGetName(virStoragePoolPtr pool)');
const virStoragePoolGetUUIDString = local(
  'int virStoragePoolGetUUIDString(virStoragePoolPtr pool, char *buf)',
);
const virStoragePoolGetXMLDesc = bind(
  'char *virStoragePoolGetXMLDesc(virStoragePoolPtr pool, unsigned int flags)',
);
const virStoragePoolGetInfo = bind(
  'int virStoragePoolGetInfo(virStoragePoolPtr vol, virStoragePoolInfoPtr info)',
);
const virStoragePoolRefresh = bind(
  'int virStoragePoolRefresh(virStoragePoolPtr pool, unsigned int flags)',
);
const virStoragePoolDestroy = bind('int virStoragePoolDestroy(virStoragePoolPtr pool)');
const virStoragePoolFree = bind('int virStoragePoolFree(virStoragePoolPtr pool)');

/** virStoragePoolState, in its order. */
export const POOL_STATES = ['inactive', 'building', 'running', 'degraded', 'inaccessible'] as const;

export interface StoragePoolInfo {
  readonly state: (typeof POOL_STATES)[number] | 'unknown';
  readonly capacityBytes: number;
  readonly allocationBytes: number;
  readonly availableBytes: number;
}

/** sizeof(virStoragePoolInfo): int state; unsigned long long capacity at 8, allocation, available. */
const POOL_INFO_BYTES = 32;

/** Implements: virStoragePoolLookupByName. @throws LibvirtError NO_STORAGE_POOL */
export async function lookUpPoolByName(connection: Connection, name: string): Promise<StoragePool> {
  return new StoragePool(await connection.use((it) => virStoragePoolLookupByName(it, name)));
}

/** Implements: virStoragePoolLookupByUUIDString. @throws LibvirtError NO_STORAGE_POOL; INVALID_ARG for what is no UUID */
export async function lookUpPoolByUuid(connection: Connection, uuid: string): Promise<StoragePool> {
  return new StoragePool(await connection.use((it) => virStoragePoolLookupByUUIDString(it, uuid)));
}

/** The active pool of that folder. Implements: virStoragePoolLookupByTargetPath. @throws LibvirtError NO_STORAGE_POOL */
export async function lookUpPoolByPath(connection: Connection, path: string): Promise<StoragePool> {
  return new StoragePool(await connection.use((it) => virStoragePoolLookupByTargetPath(it, path)));
}

/** All pools, active or not. Implements: virConnectListAllStoragePools. */
export async function listPools(connection: Connection): Promise<HandleList<StoragePool>> {
  const pools = await connection.use((it) =>
    listHandles(
      (array) => virConnectListAllStoragePools(it, array, 0),
      (pointer) => new StoragePool(pointer),
    ),
  );
  return new HandleList(pools);
}

/**
 * Starts a pool of that XML without defining it: it is gone when it is destroyed, or the host boots.
 *
 * Implements: virStoragePoolCreateXML.
 * @throws LibvirtError XML_ERROR; OPERATION_FAILED: there is one; SYSTEM_ERROR: no such folder
 */
export async function createPool(connection: Connection, xml: string): Promise<StoragePool> {
  return new StoragePool(await connection.use((it) => virStoragePoolCreateXML(it, xml, 0)));
}

/** A handle of one pool; dispose of it. Its volumes: storage-volumes.ts. */
export class StoragePool implements AsyncDisposable {
  readonly uuid: string;
  readonly name: string;
  readonly #handle: Handle;

  /** Takes over a virStoragePoolPtr. Implements: virStoragePoolGetName, virStoragePoolGetUUIDString. */
  constructor(pointer: Pointer) {
    this.#handle = new Handle('storage pool', pointer);
    const uuid = Buffer.alloc(VIR_UUID_STRING_BUFLEN);
    virStoragePoolGetUUIDString(pointer, uuid);
    this.uuid = uuid.toString('latin1', 0, VIR_UUID_STRING_BUFLEN - 1);
    this.name = virStoragePoolGetName(pointer);
  }

  /** Runs a binding on the pool's pointer; it is not freed meanwhile. For the other topics of this package. */
  use<T>(call: (pool: Pointer) => Promise<T>): Promise<T> {
    return this.#handle.use(call);
  }

  /** Implements: virStoragePoolGetXMLDesc. */
  xml(): Promise<string> {
    return this.use((it) => virStoragePoolGetXMLDesc(it, 0));
  }

  /** As it was at the last refresh. Implements: virStoragePoolGetInfo. */
  async info(): Promise<StoragePoolInfo> {
    const info = Buffer.alloc(POOL_INFO_BYTES);
    await this.use((it) => virStoragePoolGetInfo(it, info));
    return {
      state: POOL_STATES[info.readInt32LE(0)] ?? 'unknown',
      capacityBytes: Number(info.readBigUInt64LE(8)),
      allocationBytes: Number(info.readBigUInt64LE(16)),
      availableBytes: Number(info.readBigUInt64LE(24)),
    };
  }

  /** Looks at what is there: volumes that others made are not seen before. Implements: virStoragePoolRefresh. */
  async refresh(): Promise<void> {
    await this.use((it) => virStoragePoolRefresh(it, 0));
  }

  /** Deactivates it; what is in it stays. Implements: virStoragePoolDestroy. @throws LibvirtError OPERATION_INVALID: inactive */
  async destroy(): Promise<void> {
    await this.use(virStoragePoolDestroy);
  }

  /** Implements: virStoragePoolFree. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#handle.free(virStoragePoolFree);
  }
}
