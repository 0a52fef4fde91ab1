// RADOS objects as small tables: create, write, read, stat, remove, and their omap, with a compare-and-set that is safe among writers. (A pool of
// erasure code has no omap: EOPNOTSUPP.)
import { check, errno } from './errors.ts';
import { librados } from './library.ts';
import {
  assertSize,
  bytes,
  bytesAt,
  ints,
  lengthsOf,
  pointersTo,
  safeInteger,
  word,
  words,
} from './memory.ts';
import type { Pool } from './pool.ts';

const createWriteOp = librados('rados_write_op_t rados_create_write_op(void)');
const releaseWriteOp = librados('void rados_release_write_op(rados_write_op_t write_op)');
const writeCreate = librados(`void rados_write_op_create(rados_write_op_t write_op, int exclusive,
  const char *category)`);
const writeCompare = librados(`void rados_write_op_omap_cmp2(rados_write_op_t write_op,
  const char *key, uint8_t comparison_operator, const char *val, size_t key_len, size_t val_len,
  int *prval)`);
const writeSet = librados(`void rados_write_op_omap_set2(rados_write_op_t write_op,
  char const* const* keys, char const* const* vals, const size_t *key_lens, const size_t *val_lens,
  size_t num)`);
const writeRemove = librados(`void rados_write_op_omap_rm_keys2(rados_write_op_t write_op,
  char const* const* keys, const size_t *key_lens, size_t keys_len)`);
const operateWrite = librados(`int rados_write_op_operate2(rados_write_op_t write_op,
  rados_ioctx_t io, const char *oid, struct timespec *mtime, int flags)`);
const createReadOp = librados('rados_read_op_t rados_create_read_op(void)');
const releaseReadOp = librados('void rados_release_read_op(rados_read_op_t read_op)');
const readValues = librados(`void rados_read_op_omap_get_vals2(rados_read_op_t read_op,
  const char *start_after, const char *filter_prefix, uint64_t max_return,
  rados_omap_iter_t *iter, unsigned char *pmore, int *prval)`);
const readByKeys = librados(`void rados_read_op_omap_get_vals_by_keys2(rados_read_op_t read_op,
  char const* const* keys, size_t num_keys, const size_t *key_lens, rados_omap_iter_t *iter,
  int *prval)`);
const operateRead = librados(`int rados_read_op_operate(rados_read_op_t read_op, rados_ioctx_t io,
  const char *oid, int flags)`);
const next = librados(`int rados_omap_get_next2(rados_omap_iter_t iter, char **key, char **val,
  size_t *key_len, size_t *val_len)`);
const getEnd = librados('void rados_omap_get_end(rados_omap_iter_t iter)');
const stat = librados(
  'int rados_stat(rados_ioctx_t io, const char *o, uint64_t *psize, time_t *pmtime)',
);
const writeFull = librados(
  'int rados_write_full(rados_ioctx_t io, const char *oid, const char *buf, size_t len)',
);
const readBytes = librados(
  'int rados_read(rados_ioctx_t io, const char *oid, char *buf, size_t len, uint64_t off)',
);
const remove = librados('int rados_remove(rados_ioctx_t io, const char *oid)');

const exclusive = 1; // LIBRADOS_CREATE_EXCLUSIVE
const idempotent = 0; // LIBRADOS_CREATE_IDEMPOTENT
const equal = 1; // LIBRADOS_CMPXATTR_OP_EQ
const pageLength = 512; // below the OSDs' osd_max_omap_entries_per_request

export type OmapValue = string | Uint8Array;
export type OmapEntries = ReadonlyMap<string, OmapValue> | Readonly<Record<string, OmapValue>>;

export interface ObjectStat {
  readonly sizeBytes: number;
  /** To the second. */
  readonly modifiedAt: Date;
}

export interface OmapAllOptions {
  /** Only keys that begin so. */
  readonly prefix?: string;
  /** How many entries are taken before RangeError. Default 100,000. */
  readonly limit?: number;
}

export interface OmapChange {
  /** What each of these keys must hold; null for "not set", which to Ceph is the same as an empty value. */
  readonly expect:
    | ReadonlyMap<string, OmapValue | null>
    | Readonly<Record<string, OmapValue | null>>;
  readonly set?: OmapEntries;
  readonly remove?: readonly string[];
}

/** Creates an empty object. Throws EEXIST. Implements: rados_write_op_create, rados_write_op_operate2 */
export async function createObject(pool: Pool, oid: string): Promise<void> {
  const result = await write(pool, oid, (op) => writeCreate.call(op, exclusive, null));
  check(result, operateWrite.symbol, oid);
}

/** Makes `data` all that the object holds, at once; creates it where there is none. Implements: rados_write_full */
export async function writeObject(pool: Pool, oid: string, data: Uint8Array): Promise<void> {
  check(await pool.try(writeFull, oid, data, data.length), writeFull.symbol, oid);
}

/** The object's first bytes, `maxBytes` of them, or all that it has. Throws ENOENT. Implements: rados_read */
export async function readObject(pool: Pool, oid: string, maxBytes: number): Promise<Buffer> {
  assertSize(maxBytes, 'length');
  const buffer = bytes(maxBytes);
  const length = check(
    await pool.try(readBytes, oid, buffer, buffer.length, 0),
    readBytes.symbol,
    oid,
  );
  return buffer.subarray(0, length);
}

/** Removes an object with its omap. Throws ENOENT. Implements: rados_remove */
export async function removeObject(pool: Pool, oid: string): Promise<void> {
  check(await pool.try(remove, oid), remove.symbol, oid);
}

/** Size and time of last change; null where there is no such object. Implements: rados_stat */
export async function statObject(pool: Pool, oid: string): Promise<ObjectStat | null> {
  const [size, time] = [words(), words()];
  const result = await pool.try(stat, oid, size, time);
  if (result === -errno.ENOENT) return null;
  check(result, stat.symbol, oid);
  const modifiedAt = new Date(Number(word(time)) * 1000);
  return { sizeBytes: safeInteger(word(size), 'object size'), modifiedAt };
}

/**
 * The values of these keys, of those that are set. Throws ENOENT where there is no such object.
 * Implements: rados_read_op_omap_get_vals_by_keys2, rados_read_op_operate, rados_omap_get_next2, rados_omap_get_end
 */
export async function omapGet(
  pool: Pool,
  oid: string,
  keys: readonly string[],
): Promise<Map<string, Buffer>> {
  const names = keys.map((key) => Buffer.from(key));
  const [pointers, lengths] = [pointersTo(names), lengthsOf(names)];
  const page = await read(pool, oid, (op, iterator, status) =>
    readByKeys.call(op, pointers, keys.length, lengths, iterator, status),
  );
  return new Map(page);
}

/**
 * All entries, by key, page after page: what another writer changes meanwhile may be seen or not. Throws ENOENT where there is no such
 * object, RangeError beyond `limit`.
 * Implements: rados_read_op_omap_get_vals2
 */
export async function omapGetAll(
  pool: Pool,
  oid: string,
  options: OmapAllOptions = {},
): Promise<Map<string, Buffer>> {
  const { prefix = '', limit = 100_000 } = options;
  const all = new Map<string, Buffer>();
  for (let after = ''; ; ) {
    const more = bytes(1);
    const page = await read(pool, oid, (op, iterator, status) =>
      readValues.call(op, after, prefix, pageLength, iterator, more, status),
    );
    for (const [key, value] of page) all.set(key, value);
    if (all.size > limit) throw new RangeError(`${oid} holds more than ${limit} entries`);
    const last = page.at(-1);
    if (more[0] === 0 || !last) return all;
    after = last[0];
  }
}

/** Sets entries at once; creates the object where there is none. Implements: rados_write_op_omap_set2 */
export async function omapSet(pool: Pool, oid: string, entries: OmapEntries): Promise<void> {
  check(await write(pool, oid, (op) => set(op, entries)), operateWrite.symbol, oid);
}

/** Removes keys, set or not. Throws ENOENT where there is no such object. Implements: rados_write_op_omap_rm_keys2 */
export async function omapRemove(pool: Pool, oid: string, keys: readonly string[]): Promise<void> {
  check(await write(pool, oid, (op) => removeKeys(op, keys)), operateWrite.symbol, oid);
}

/**
 * Makes the change if every key of `expect` holds what it says, all at once, and tells whether it did. The object is created with it where
 * there is none.
 * Implements: rados_write_op_omap_cmp2
 */
export async function omapCompareAndSet(
  pool: Pool,
  oid: string,
  change: OmapChange,
): Promise<boolean> {
  const result = await write(pool, oid, (op) => {
    writeCreate.call(op, idempotent, null);
    for (const [key, value] of pairs(change.expect)) {
      const [name, held] = [Buffer.from(key), toBytes(value ?? '')];
      writeCompare.call(op, name, equal, held, name.length, held.length, null);
    }
    if (change.set) set(op, change.set);
    if (change.remove) removeKeys(op, change.remove);
  });
  if (result === -errno.ECANCELED) return false;
  check(result, operateWrite.symbol, oid);
  return true;
}

/** Implements: rados_create_write_op, rados_write_op_operate2, rados_release_write_op */
async function write(pool: Pool, oid: string, build: (op: bigint) => void): Promise<number> {
  const op = createWriteOp.pointer();
  try {
    build(op);
    return await pool.during((io) => operateWrite.later(op, io, oid, null, 0));
  } finally {
    releaseWriteOp.call(op);
  }
}

type BuildRead = (op: bigint, iterator: BigUint64Array, status: Int32Array) => void;

/**
 * `build` names memory that is written when the operation runs: it is alive until then because it is read afterwards.
 * Implements: rados_create_read_op, rados_read_op_operate, rados_release_read_op
 */
async function read(pool: Pool, oid: string, build: BuildRead): Promise<[string, Buffer][]> {
  const op = createReadOp.pointer();
  const [iterator, status] = [words(), ints()];
  try {
    build(op, iterator, status);
    const result = await pool.during((io) => operateRead.later(op, io, oid, 0));
    check(result, operateRead.symbol, oid);
    check(status[0] ?? 0, operateRead.symbol, oid);
    return entriesOf(word(iterator));
  } finally {
    if (word(iterator) !== 0n) getEnd.call(word(iterator));
    releaseReadOp.call(op);
  }
}

function entriesOf(iterator: bigint): [string, Buffer][] {
  const entries: [string, Buffer][] = [];
  const [key, value, keyLength, valueLength] = [words(), words(), words(), words()];
  for (;;) {
    check(next.call(iterator, key, value, keyLength, valueLength), next.symbol);
    if (word(key) === 0n) return entries;
    const name = bytesAt(word(key), Number(word(keyLength))).toString();
    entries.push([name, bytesAt(word(value), Number(word(valueLength)))]);
  }
}

function set(op: bigint, entries: OmapEntries): void {
  const all = pairs(entries);
  const keys = all.map(([key]) => Buffer.from(key));
  const values = all.map(([, value]) => toBytes(value));
  const lengths = [lengthsOf(keys), lengthsOf(values)] as const;
  writeSet.call(op, pointersTo(keys), pointersTo(values), ...lengths, all.length);
}

function removeKeys(op: bigint, keys: readonly string[]): void {
  const names = keys.map((key) => Buffer.from(key));
  writeRemove.call(op, pointersTo(names), lengthsOf(names), names.length);
}

function pairs<V>(of: ReadonlyMap<string, V> | Readonly<Record<string, V>>): [string, V][] {
  return of instanceof Map ? [...of] : Object.entries(of as Readonly<Record<string, V>>);
}

function toBytes(value: OmapValue): Uint8Array {
  return typeof value === 'string' ? Buffer.from(value) : value;
}
