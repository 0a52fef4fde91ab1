// The header of an export file: which set, of which disks, and on what state of them it stands.

import { z } from 'zod';
import { OperatingError } from '../wire/errors.ts';
import { CHAIN_BYTES, digest, parseJson } from './frame.ts';
import { DISKS_MAX, SetId, SetRecord, Target, Text, Whole } from './set-record.ts';

const MAGIC = 'SIPHONX1';
/** Magic, and the length of what follows. */
export const PREAMBLE_BYTES = 12;
/** Domain XML may be some MB, and manifests 16 MiB (src/wire/transfer-protocol.ts). */
const HEADER_BYTES_MAX = 32 * 1024 * 1024;
/** One state of one disk, wherever it is copied to: its snapshot, by ids that are never used again. */
const DiskState = z.strictObject({
  target: Target,
  poolId: Whole,
  namespace: z.string().max(1024),
  imageId: Text,
  snapId: Whole,
  sizeBytes: Whole,
});
export type DiskState = z.infer<typeof DiskState>;

/** A state of disks: the snapshots of one set in one cluster. */
export const SetState = z.strictObject({
  fsid: Text,
  setId: SetId,
  disks: z.array(DiskState).min(1).max(DISKS_MAX),
});
export type SetState = z.infer<typeof SetState>;

/** Of an image: what one must be like that takes its bytes. */
const Shape = z.strictObject({
  /** log2 of the object size. */
  order: z.number().int().min(12).max(26),
  /** RBD_FEATURE_* of features.h; whoever imports takes those that it can make. */
  features: Whole,
});
export type Shape = z.infer<typeof Shape>;

/** Of a disk's state: as it was attached to its snapshot. */
const DiskManifest = z.strictObject({ target: Target, envelope: z.string() });

export const Header = z.strictObject({
  format: z.literal(1),
  /** Of this export. */
  id: z.string().regex(/^[0-9a-f]{32}$/),
  writtenBy: Text,
  createdAtMs: Whole,
  /** What the disks are after the import. */
  state: SetState,
  /** In the order of `state.disks`, and of the frames. */
  shapes: z.array(Shape),
  /** What they must be before: absent, and the export is a full one. */
  since: SetState.optional(),
  /** Of those disks that have one. */
  manifests: z.array(DiskManifest).max(DISKS_MAX).optional(),
  set: SetRecord,
});
export type Header = z.infer<typeof Header>;

/** With magic, length and digest: the file's beginning. */
export function encodeHeader(header: Header): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const preamble = Buffer.alloc(PREAMBLE_BYTES);
  preamble.write(MAGIC, 0, 'latin1');
  preamble.writeUInt32LE(json.length, MAGIC.length);
  const bytes = Buffer.concat([preamble, json]);
  return Buffer.concat([bytes, digest(bytes)]);
}

/** How much of the header follows its first bytes. @throws OperatingError mismatch: it is no export of siphon's, or of a newer one */
export function headerBytesAfter(preamble: Buffer): number {
  const magic = preamble.toString('latin1', 0, MAGIC.length);
  const length = preamble.length < PREAMBLE_BYTES ? 0 : preamble.readUInt32LE(MAGIC.length);
  if (magic === MAGIC && length <= HEADER_BYTES_MAX) return length + CHAIN_BYTES;
  const isOther = magic.startsWith(MAGIC.slice(0, -1)) && magic !== MAGIC;
  const why = isOther ? 'it is of another format than 1' : 'it does not begin as one';
  throw new OperatingError({ code: 'mismatch', op: 'read export', subject: 'header', why });
}

/** The whole beginning of a file. @throws OperatingError corrupt, mismatch */
export function decodeHeader(bytes: Buffer): { header: Header; chain: Buffer } {
  const end = bytes.length - CHAIN_BYTES;
  const chain = Buffer.from(bytes.subarray(end));
  if (!digest(bytes.subarray(0, end)).equals(chain)) throw corrupt('its digest is another');
  const read = Header.safeParse(parseJson(bytes.toString('utf8', PREAMBLE_BYTES, end)));
  if (!read.success) throw corrupt(z.prettifyError(read.error).split('\n')[0] ?? 'no header');
  const header = read.data;
  if (header.shapes.length === header.state.disks.length) return { header, chain };
  throw corrupt('it has not one shape for each disk');
}

function corrupt(why: string): OperatingError {
  return new OperatingError({ code: 'corrupt', op: 'read export', subject: 'header', why });
}
