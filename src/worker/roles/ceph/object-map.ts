// An image's object map, as cls_rbd keeps it: how many objects there are, without asking for each. Pure.

const HEADER_BYTES = 18;
const SIZE_AT = 10;
const VERSION = 1;
/** Two bits for each object. */
const OBJECTS_A_BYTE = 4;

/** What a map of so many objects takes, with its header and, for each 4 KiB of it, a checksum (BitVector::encode_footer). */
export function mapBytesMax(objects: number): number {
  const bytes = Math.ceil(objects / OBJECTS_A_BYTE);
  return HEADER_BYTES + bytes + 4 * Math.ceil(bytes / 4096) + 64;
}

/** How many of a byte's four objects are there: 0 says that there is none, 1, 2 and 3 that there may be one (librbd, object_map_types.h). */
const COUNTS = Uint8Array.from({ length: 256 }, (_, byte) => {
  return [0, 2, 4, 6].filter((shift) => ((byte >> shift) & 3) !== 0).length;
});

/**
 * Of an image of so many objects, those that may be there. The encoding is that of BitVector (ceph, common/bit_vector.hpp), which the
 * kernel's client reads too: a header with its length, version and the number of entries, then the entries. undefined: it is another.
 */
export function countObjects(map: Uint8Array, objects: number): number | undefined {
  const dataBytes = Math.ceil(objects / OBJECTS_A_BYTE);
  if (map.length < HEADER_BYTES + dataBytes) return undefined;
  const header = new DataView(map.buffer, map.byteOffset, HEADER_BYTES);
  const isKnown =
    header.getUint32(0, true) === HEADER_BYTES - 4 &&
    header.getUint8(4) === VERSION &&
    header.getBigUint64(SIZE_AT, true) === BigInt(objects);
  if (!isKnown) return undefined;
  let count = 0;
  for (const byte of map.subarray(HEADER_BYTES, HEADER_BYTES + dataBytes))
    count += COUNTS[byte] ?? 0;
  return count;
}
