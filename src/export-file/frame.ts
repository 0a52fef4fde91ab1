// What an export file is made of (docs/export.md): frames, each bound to all that stands before it by a chain of digests.

import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { z } from 'zod';

/** `end` never stands in a file: it is how a sender says that its input ended, which a sender that died does not. */
export type FrameKind = 'data' | 'zero' | 'trailer' | 'end';

export interface Frame {
  readonly kind: FrameKind;
  /** Which of the header's disks. */
  readonly disk: number;
  /** In the disk, in bytes. */
  readonly offset: number;
  /** What it covers; of `data` and `trailer` also what follows its head. */
  readonly length: number;
}

const HEAD_BYTES = 24;
export const CHAIN_BYTES = 32;
/** A frame without its payload. */
export const FRAME_BYTES = HEAD_BYTES + CHAIN_BYTES;
/** Of one frame. */
export const PAYLOAD_BYTES_MAX = 4 * 1024 * 1024;

/** By their numbers in the file. */
const KINDS: readonly (FrameKind | undefined)[] = [undefined, 'data', 'zero', 'trailer', 'end'];

/** A link of the chain: over what came before, the frame's head, and the digest of its payload. */
export function linkOf(chain: Uint8Array, frame: Frame, payloadDigest: Uint8Array): Buffer {
  return digest(Buffer.concat([chain, headOf(frame), payloadDigest]));
}

/** As it stands in the file, before its payload. */
export function encodeFrame(frame: Frame, link: Uint8Array): Buffer {
  assert.equal(link.length, CHAIN_BYTES);
  return Buffer.concat([headOf(frame), link]);
}

/** The frame and its link; undefined: it is no frame. */
export function decodeFrame(bytes: Buffer): { frame: Frame; link: Buffer } | undefined {
  const kind = KINDS[bytes.readUInt32LE(0)];
  const [offset, length] = [bytes.readBigUInt64LE(8), bytes.readBigUInt64LE(16)];
  if (kind === undefined || offset > MAX || length > MAX) return undefined;
  const disk = bytes.readUInt32LE(4);
  const link = Buffer.from(bytes.subarray(HEAD_BYTES, FRAME_BYTES));
  return { frame: { kind, disk, offset: Number(offset), length: Number(length) }, link };
}

const MAX = BigInt(Number.MAX_SAFE_INTEGER);

function headOf({ kind, disk, offset, length }: Frame): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(KINDS.indexOf(kind), 0);
  head.writeUInt32LE(disk, 4);
  head.writeBigUInt64LE(BigInt(offset), 8);
  head.writeBigUInt64LE(BigInt(length), 16);
  return head;
}

/** SHA-256. */
export function digest(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer');
}

/** undefined for what is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // whoever asks says what it should have been
  }
}

export const NO_PAYLOAD = digest(Buffer.alloc(0));

const Count = z.number().int().nonnegative();
const Counts = z.strictObject({ frames: Count, dataBytes: Count, zeroBytes: Count });

/** What the trailer says: how much there must have been. */
export const Trailer = z.strictObject({ disks: z.array(Counts) });
export type Trailer = z.infer<typeof Trailer>;

/** A place between two frames, and all that is needed to go on from there. */
export const Mark = z.strictObject({
  /** In the file, in bytes. */
  position: Count,
  /** The last link, in hex. */
  chain: z.string().regex(/^[0-9a-f]{64}$/),
  /** The last frame's disk, and where in it that ended. */
  disk: Count,
  offset: Count,
  disks: z.array(Counts),
});
export type Mark = z.infer<typeof Mark>;

/** Before the first frame. */
export function firstMark(disks: number, position: number, chain: Uint8Array): Mark {
  const counts = { frames: 0, dataBytes: 0, zeroBytes: 0 };
  return {
    position,
    chain: Buffer.from(chain).toString('hex'),
    disk: 0,
    offset: 0,
    disks: Array.from({ length: disks }, () => counts),
  };
}

/** The place after a data or zero frame. */
export function markAfter(mark: Mark, frame: Frame, link: Uint8Array): Mark {
  const isData = frame.kind === 'data';
  return {
    position: mark.position + FRAME_BYTES + (isData ? frame.length : 0),
    chain: Buffer.from(link).toString('hex'),
    disk: frame.disk,
    offset: frame.offset + frame.length,
    disks: mark.disks.map((counts, at) => {
      if (at !== frame.disk) return counts;
      return {
        frames: counts.frames + 1,
        dataBytes: counts.dataBytes + (isData ? frame.length : 0),
        zeroBytes: counts.zeroBytes + (isData ? 0 : frame.length),
      };
    }),
  };
}

/** The file's last bytes: how long all of it is, so that one that was cut is known by a look at its end. */
export function tailOf(fileBytes: number): Buffer {
  const tail = Buffer.alloc(TAIL_BYTES);
  tail.writeBigUInt64LE(BigInt(fileBytes), 0);
  tail.write(TAIL_MAGIC, 8, 'latin1');
  return tail;
}

export const TAIL_BYTES = 16;
const TAIL_MAGIC = 'SIPHONXE';
