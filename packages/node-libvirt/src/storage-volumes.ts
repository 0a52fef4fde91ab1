// Volumes in libvirt's storage pools. Source: libvirt/libvirt-storage.h.

import { bind } from './call.ts';
import type { Connection } from './connection.ts';
import { Handle, HandleList, listHandles } from './handle.ts';
import { local, type Pointer } from './library.ts';
import { StoragePool } from './storage-pools.ts';

const virStoragePoolListAllVolumes = bind(
  `int virStoragePoolListAllVolumes(virStoragePoolPtr pool, virStorageVolPtr **vols,
     unsigned int flags)`,
);
const virStorageVolLookupByName = bind(
  'virStorageVolPtr virStorageVolLookupByName(virStoragePoolPtr pool, const char *name)',
);
const virStorageVolLookupByPath = bind(
  'virStorageVolPtr virStorageVolLookupByPath(virConnectPtr conn, const char *path)',
);
const virStorageVolCreateXML = bind(
  `virStorageVolPtr virStorageVolCreateXML(virStoragePoolPtr pool, const char *xmldesc,
     unsigned int flags)`,
);
const virStoragePoolLookupByVolume = bind(
  'virStoragePoolPtr virStoragePoolLookupByVolume(virStorageVolPtr vol)',
);
const virStorageVolGetName = local('const char *virStorageVolGetName(virStorageVolPtr vol)');
const virStorageVolGetKey = local('const char *virStorageVolGetKey(virStorageVolPtr vol)');
const virStorageVolGetPath = bind('char *virStorageVolGetPath(virStorageVolPtr vol)');
const virStorageVolGetInfo = bind(
  'int virStorageVolGetInfo(virStorageVolPtr vol, virStorageVolInfoPtr info)',
);
const virStorageVolGetXMLDesc = bind(
  'char *virStorageVolGetXMLDesc(virStorageVolPtr pool, unsigned int flags)',
);
const virStorageVolDelete = bind(
  'int virStorageVolDelete(virStorageVolPtr vol, unsigned int flags)',
);
const virStorageVolFree = bind('int virStorageVolFree(virStorageVolPtr vol)');

/** virStorageVolType, in its order. */
export const VOLUME_TYPES = ['file', 'block', 'dir', 'network', 'netdir', 'ploop'] as const;

export interface StorageVolumeInfo {
  readonly type: (typeof VOLUME_TYPES)[number] | 'unknown';
  readonly capacityBytes: number;
  readonly allocationBytes: number;
}

/** sizeof(virStorageVolInfo): int type; unsigned long long capacity at 8, allocation. */
const VOLUME_INFO_BYTES = 24;

/**
 * All volumes, as of the pool's last refresh.
 *
 * Implements: virStoragePoolListAllVolumes.
 * @throws LibvirtError OPERATION_INVALID: inactive; NO_STORAGE_POOL
 */
export async function listVolumes(pool: StoragePool): Promise<HandleList<StorageVolume>> {
  const volumes = await pool.use((it) =>
    listHandles(
      (array) => virStoragePoolListAllVolumes(it, array, 0),
      (pointer) => new StorageVolume(pointer),
    ),
  );
  return new HandleList(volumes);
}

/** Implements: virStorageVolLookupByName. @throws LibvirtError NO_STORAGE_VOL; OPERATION_INVALID: the pool is inactive */
export async function lookUpVolumeByName(pool: StoragePool, name: string): Promise<StorageVolume> {
  return new StorageVolume(await pool.use((it) => virStorageVolLookupByName(it, name)));
}

/** In any active pool. Implements: virStorageVolLookupByPath. @throws LibvirtError NO_STORAGE_VOL */
export async function lookUpVolumeByPath(
  connection: Connection,
  path: string,
): Promise<StorageVolume> {
  return new StorageVolume(await connection.use((it) => virStorageVolLookupByPath(it, path)));
}

/** Makes a volume. Implements: virStorageVolCreateXML. @throws LibvirtError XML_ERROR; there is one of that name (code 90) */
export async function createVolume(pool: StoragePool, xml: string): Promise<StorageVolume> {
  return new StorageVolume(await pool.use((it) => virStorageVolCreateXML(it, xml, 0)));
}

/** A handle of one volume; dispose of it. */
export class StorageVolume implements AsyncDisposable {
  readonly name: string;
  /** Unique on the host: of a file, its path. */
  readonly key: string;
  readonly #handle: Handle;

  /** Takes over a virStorageVolPtr. Implements: virStorageVolGetName, virStorageVolGetKey. */
  constructor(pointer: Pointer) {
    this.#handle = new Handle('storage volume', pointer);
    this.name = virStorageVolGetName(pointer);
    this.key = virStorageVolGetKey(pointer);
  }

  /** Of a file, its absolute path; of an RBD image POOL/IMAGE. Implements: virStorageVolGetPath. @throws LibvirtError NO_STORAGE_VOL */
  path(): Promise<string> {
    return this.#handle.use(virStorageVolGetPath);
  }

  /** Implements: virStoragePoolLookupByVolume. */
  async pool(): Promise<StoragePool> {
    return new StoragePool(await this.#handle.use(virStoragePoolLookupByVolume));
  }

  /** As it is now. Implements: virStorageVolGetInfo. @throws LibvirtError NO_STORAGE_VOL */
  async info(): Promise<StorageVolumeInfo> {
    const info = Buffer.alloc(VOLUME_INFO_BYTES);
    await this.#handle.use((it) => virStorageVolGetInfo(it, info));
    return {
      type: VOLUME_TYPES[info.readInt32LE(0)] ?? 'unknown',
      capacityBytes: Number(info.readBigUInt64LE(8)),
      allocationBytes: Number(info.readBigUInt64LE(16)),
    };
  }

  /** Implements: virStorageVolGetXMLDesc. @throws LibvirtError NO_STORAGE_VOL */
  xml(): Promise<string> {
    return this.#handle.use((it) => virStorageVolGetXMLDesc(it, 0));
  }

  /** Deletes the file or image itself. Implements: virStorageVolDelete. @throws LibvirtError NO_STORAGE_VOL */
  async delete(): Promise<void> {
    await this.#handle.use((it) => virStorageVolDelete(it, 0));
  }

  /** Implements: virStorageVolFree. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#handle.free(virStorageVolFree);
  }
}
