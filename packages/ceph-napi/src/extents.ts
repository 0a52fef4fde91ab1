// Where an image has data: what a copy must read, and what it may skip.
import koffi from 'koffi';
import { errno } from './errors.ts';
import type { Image } from './image.ts';
import { librbd } from './library.ts';
import { assertSize } from './memory.ts';

const diffIterate = librbd(`int rbd_diff_iterate2(rbd_image_t image, const char *fromsnapname,
  uint64_t ofs, uint64_t len, uint8_t include_parent, uint8_t whole_object,
  int (*cb)(uint64_t, size_t, int, void *), void *arg)`);
const diffIterate3 = librbd(`int rbd_diff_iterate3(rbd_image_t image, uint64_t from_snap_id,
  uint64_t ofs, uint64_t len, uint32_t flags, int (*cb)(uint64_t, size_t, int, void *), void *arg)`);
const callback = koffi.proto('int (uint64_t offset, size_t length, int exists, void *arg)');

const includeParentFlag = 1; // RBD_DIFF_ITERATE_FLAG_INCLUDE_PARENT
const wholeObjectFlag = 2; // RBD_DIFF_ITERATE_FLAG_WHOLE_OBJECT

/** `[offset, length]` in bytes. */
export type Extent = readonly [offset: number, length: number];
/** An {@link Extent}, and whether there may be data now: else it was, and is zeros. */
export type ChangedExtent = readonly [offset: number, length: number, exists: boolean];

export interface ExtentOptions {
  /** Also what a clone's parent has (default): else holes of the clone are holes, whatever the parent holds. */
  readonly includeParent?: boolean;
  /** In whole objects (default): from the object map alone where the image has fast-diff, hence far quicker; rounded up to objects. */
  readonly wholeObject?: boolean;
  /** Only what changed since this snapshot: by name a `user` one; by id one of any type, where the library can (else ENOSYS). */
  readonly fromSnapshot?: string | number;
  /** Bytes to look at; default: all that the handle shows. */
  readonly offset?: number;
  readonly length?: number;
  readonly signal?: AbortSignal;
}

/**
 * What may hold data, sorted, merged where it touches. librbd tells each extent from a thread of its own and waits for the event
 * loop to take it: a blocked loop delays it, and one that waits for it in turn would never wake. Takes memory by the number of extents,
 * at most one for each object if `wholeObject`. Throws CephError: ENOENT (no such `fromSnapshot`), ECANCELED after `signal`.
 * Implements: rbd_diff_iterate2, rbd_diff_iterate3
 */
export async function allocatedExtents(
  image: Image,
  options: ExtentOptions = {},
): Promise<Extent[]> {
  const extents: [number, number][] = [];
  await iterate(image, options, (offset, length, exists) => {
    if (exists) append(extents, offset, length);
  });
  return merged(extents);
}

/**
 * As {@link allocatedExtents}, and what became zeros since `fromSnapshot` too, in order of offset, not merged.
 */
export async function changedExtents(
  image: Image,
  options: ExtentOptions & { readonly fromSnapshot: string | number },
): Promise<ChangedExtent[]> {
  const extents: ChangedExtent[] = [];
  await iterate(image, options, (...extent) => void extents.push(extent));
  return extents.toSorted(([a], [b]) => a - b);
}

async function iterate(
  image: Image,
  options: ExtentOptions,
  take: (offset: number, length: number, exists: boolean) => void,
): Promise<void> {
  const { includeParent = true, wholeObject = true, fromSnapshot = null, signal } = options;
  const offset = options.offset ?? 0;
  const length = options.length ?? (await image.size()) - offset;
  assertSize(offset, 'offset');
  assertSize(length, 'length');
  const pointer = koffi.register((at: number | bigint, size: number | bigint, exists: number) => {
    if (signal?.aborted) return -errno.ECANCELED;
    take(Number(at), Number(size), exists !== 0);
    return 0;
  }, koffi.pointer(callback));
  try {
    if (typeof fromSnapshot === 'number') {
      assertSize(fromSnapshot, 'snapshot id');
      const mask = (includeParent ? includeParentFlag : 0) | (wholeObject ? wholeObjectFlag : 0);
      await image.call(diffIterate3, fromSnapshot, offset, length, mask, pointer, null);
    } else {
      const flags = [includeParent ? 1 : 0, wholeObject ? 1 : 0];
      await image.call(diffIterate, fromSnapshot, offset, length, ...flags, pointer, null);
    }
  } finally {
    koffi.unregister(pointer);
  }
}

/** Most come in order: then they are merged as they come. */
function append(extents: [number, number][], offset: number, length: number): void {
  const last = extents.at(-1);
  if (last && last[0] + last[1] === offset) last[1] += length;
  else extents.push([offset, length]);
}

function merged(extents: [number, number][]): Extent[] {
  const result: [number, number][] = [];
  for (const [offset, length] of extents.toSorted(([a], [b]) => a - b)) {
    const last = result.at(-1);
    if (last && offset <= last[0] + last[1]) last[1] = Math.max(last[1], offset + length - last[0]);
    else result.push([offset, length]);
  }
  return result;
}
