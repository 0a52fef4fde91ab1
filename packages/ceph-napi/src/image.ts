// Images (rbd_image_t): open, describe, list, create, write, remove, and their metadata.
import assert from 'node:assert/strict';
import { check } from './errors.ts';
import { Handle } from './handle.ts';
import { librbd } from './library.ts';
import {
  assertSize,
  bytes,
  type Sized,
  safeInteger,
  textOf,
  withRoom,
  word,
  words,
} from './memory.ts';
import type { Pool } from './pool.ts';
import { getText, listTexts } from './text-table.ts';

const open = librbd(`int rbd_open(rados_ioctx_t io, const char *name, rbd_image_t *image,
  const char *snap_name)`);
const openById = librbd(`int rbd_open_by_id(rados_ioctx_t io, const char *id, rbd_image_t *image,
  const char *snap_name)`);
const openReadOnly = librbd(`int rbd_open_read_only(rados_ioctx_t io, const char *name,
  rbd_image_t *image, const char *snap_name)`);
const openByIdReadOnly = librbd(`int rbd_open_by_id_read_only(rados_ioctx_t io, const char *id,
  rbd_image_t *image, const char *snap_name)`);
const snapSet = librbd('int rbd_snap_set(rbd_image_t image, const char *snapname)');
const snapSetById = librbd('int rbd_snap_set_by_id(rbd_image_t image, uint64_t snap_id)');
const closeImage = librbd('int rbd_close(rbd_image_t image)');
const stat = librbd('int rbd_stat(rbd_image_t image, rbd_image_info_t *info, size_t infosize)');
const getFeatures = librbd('int rbd_get_features(rbd_image_t image, uint64_t *features)');
const getFlags = librbd('int rbd_get_flags(rbd_image_t image, uint64_t *flags)');
const getId = librbd('int rbd_get_id(rbd_image_t image, char *id, size_t id_len)');
const getPrefix = librbd(
  'int rbd_get_block_name_prefix(rbd_image_t image, char *prefix, size_t prefix_len)',
);
const getDataPool = librbd('int64_t rbd_get_data_pool_id(rbd_image_t image)');
const writeBytes = librbd(
  'ssize_t rbd_write(rbd_image_t image, uint64_t ofs, size_t len, const char *buf)',
);
const discardBytes = librbd('int rbd_discard(rbd_image_t image, uint64_t ofs, uint64_t len)');
const writeZeroes = librbd(`ssize_t rbd_write_zeroes(rbd_image_t image, uint64_t ofs, size_t len,
  int zero_flags, int op_flags)`);
const flushImage = librbd('int rbd_flush(rbd_image_t image)');
const metadataGet = librbd(`int rbd_metadata_get(rbd_image_t image, const char *key, char *value,
  size_t *val_len)`);
const metadataSet = librbd(
  'int rbd_metadata_set(rbd_image_t image, const char *key, const char *value)',
);
const metadataRemove = librbd('int rbd_metadata_remove(rbd_image_t image, const char *key)');
const metadataList = librbd(`int rbd_metadata_list(rbd_image_t image, const char *start,
  uint64_t max, char *keys, size_t *key_len, char *values, size_t *vals_len)`);

/** RBD_FEATURE_* of features.h. */
export const feature = {
  layering: 1 << 0,
  stripingV2: 1 << 1,
  exclusiveLock: 1 << 2,
  objectMap: 1 << 3,
  fastDiff: 1 << 4,
  deepFlatten: 1 << 5,
  journaling: 1 << 6,
  dataPool: 1 << 7,
  operations: 1 << 8,
  migrating: 1 << 9,
} as const;

/** An image by its name, or by its id: names can be given to another image, ids cannot. */
export type ImageRef = { readonly name: string } | { readonly id: string };

export interface OpenOptions {
  /** By name, or by id: the handle then shows that snapshot. */
  readonly snapshot?: string | number;
  /** Whether to open for writing: the image is then watched, which the cephx user must be allowed. Not with a snapshot. */
  readonly writable?: boolean;
}

/** rbd_image_info_t, without what is deprecated. Sizes in bytes. */
export interface ImageStat {
  readonly sizeBytes: number;
  readonly objectSizeBytes: number;
  readonly objects: number;
  /** log2 of the object size. */
  readonly order: number;
}

/** RBD_FLAG_*: what of the image's aids cannot be trusted, and is not used, until it is rebuilt. */
export interface ImageFlags {
  readonly objectMapInvalid: boolean;
  readonly fastDiffInvalid: boolean;
}

export class Image extends Handle {
  readonly pool: Pool;
  readonly writable: boolean;

  private constructor(pool: Pool, pointer: bigint, writable: boolean) {
    super('image', pointer, pool);
    this.pool = pool;
    this.writable = writable;
  }

  /**
   * Opens an image, read-only unless told otherwise. A read-only handle has no watch: its lists of snapshots and lockers are of the moment
   * of opening, and when the image is deleted it reads zeros and no error. Throws CephError: ENOENT (no such image or snapshot), EPERM
   * (the user's caps), EROFS.
   * A snapshot is shown once the image is open: of Ceph 16 to 20, librbd that opens at one still uses the image's memory when a quick
   * close has freed it (one in some thousand; packages/ceph-napi/test/soak.test.ts).
   * Implements: rbd_open, rbd_open_by_id, rbd_open_read_only, rbd_open_by_id_read_only, rbd_snap_set, rbd_snap_set_by_id
   */
  static open(pool: Pool, ref: ImageRef, options: OpenOptions = {}): Promise<Image> {
    const { snapshot, writable = false } = options;
    assert(!writable || snapshot === undefined, 'a snapshot is not writable');
    return pool.during(async (io) => {
      const byId = 'id' in ref;
      const how = writable ? (byId ? openById : open) : byId ? openByIdReadOnly : openReadOnly;
      const out = words();
      const subject = byId ? ref.id : ref.name;
      check(await how.later(io, subject, out, null), how.symbol, subject);
      const image = new Image(pool, word(out), writable);
      if (snapshot !== undefined) await image.#show(snapshot, `${subject}@${snapshot}`);
      return image;
    });
  }

  /** Size of what the handle shows (image or snapshot), and of its objects. Implements: rbd_stat */
  async stat(): Promise<ImageStat> {
    const info = bytes(160); // rbd_image_info_t: three uint64, int, char[24], int64, char[96]
    await this.call(stat, info, info.length);
    return {
      sizeBytes: safeInteger(info.readBigUInt64LE(0), 'image size'),
      objectSizeBytes: safeInteger(info.readBigUInt64LE(8), 'object size'),
      objects: safeInteger(info.readBigUInt64LE(16), 'objects'),
      order: info.readInt32LE(24),
    };
  }

  /** Bytes of what the handle shows. */
  async size(): Promise<number> {
    return (await this.stat()).sizeBytes;
  }

  /** A mask of {@link feature}. Implements: rbd_get_features */
  async features(): Promise<number> {
    const out = words();
    await this.call(getFeatures, out);
    return safeInteger(word(out), 'features');
  }

  /** Flags of what the handle shows. Implements: rbd_get_flags */
  async flags(): Promise<ImageFlags> {
    const out = words();
    await this.call(getFlags, out);
    const flags = word(out);
    return { objectMapInvalid: (flags & 1n) !== 0n, fastDiffInvalid: (flags & 2n) !== 0n };
  }

  /** The image's id, which survives renames and is never used again. Implements: rbd_get_id */
  id(): Promise<string> {
    return this.#text(getId);
  }

  /** What the names of its data objects begin with: `rbd_data.ID`. Implements: rbd_get_block_name_prefix */
  blockNamePrefix(): Promise<string> {
    return this.#text(getPrefix);
  }

  /** The id of the pool that has its data: the image's own, unless it was made with another. Implements: rbd_get_data_pool_id */
  async dataPoolId(): Promise<number> {
    return safeInteger(await this.call(getDataPool), 'pool id');
  }

  /** Writes all of `data` at `offset` bytes. Implements: rbd_write */
  async write(data: Uint8Array, offset: number): Promise<void> {
    assertSize(offset, 'offset');
    const written = await this.call(writeBytes, offset, data.length, data);
    assert.equal(written, data.length);
  }

  /** Makes a hole. Implements: rbd_discard */
  async discard(offset: number, length: number): Promise<void> {
    assertSize(offset, 'offset');
    assertSize(length, 'length');
    await this.call(discardBytes, offset, length);
  }

  /** Waits until what was written is safe in the cluster. Implements: rbd_flush */
  async flush(): Promise<void> {
    await this.call(flushImage);
  }

  /** Makes `length` bytes zeros: holes where whole objects allow it. Implements: rbd_write_zeroes */
  async writeZeroes(offset: number, length: number): Promise<void> {
    assertSize(offset, 'offset');
    assertSize(length, 'length');
    await this.call(writeZeroes, offset, length, 0, 0);
  }

  /** One metadata value, or null where the key is not set. Implements: rbd_metadata_get */
  metadata(key: string): Promise<string | null> {
    return getText(this, metadataGet, key);
  }

  /** librbd copies an image's metadata into its clones. Implements: rbd_metadata_set */
  async setMetadata(key: string, value: string): Promise<void> {
    await this.call(metadataSet, key, value);
  }

  /** Throws ENOENT where the key is not set. Implements: rbd_metadata_remove */
  async removeMetadata(key: string): Promise<void> {
    await this.call(metadataRemove, key);
  }

  /** All metadata, by key. Implements: rbd_metadata_list */
  listMetadata(): Promise<Map<string, string>> {
    return listTexts(this, metadataList);
  }

  async #text(f: typeof getId): Promise<string> {
    const { result, buffer } = await withRoom(
      f.symbol,
      256,
      async (room): Promise<Sized & { buffer: Buffer }> => {
        const buffer = bytes(room);
        return { result: await this.try(f, buffer, room), wanted: room, buffer };
      },
    );
    check(result, f.symbol);
    return textOf(buffer);
  }

  async #show(snapshot: string | number, subject: string): Promise<void> {
    try {
      const isName = typeof snapshot === 'string';
      if (!isName) assertSize(snapshot, 'snapshot id');
      const show = isName ? snapSet : snapSetById;
      check(await this.try(show, snapshot), show.symbol, subject);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Implements: rbd_close */
  protected override async release(pointer: bigint): Promise<void> {
    check(await closeImage.later(pointer), closeImage.symbol);
  }
}
