// Writes an export: the chain, and the counts that its trailer tells.

import {
  digest,
  encodeFrame,
  FRAME_BYTES,
  type Frame,
  linkOf,
  type Mark,
  markAfter,
  NO_PAYLOAD,
  TAIL_BYTES,
  tailOf,
} from './frame.ts';

export class ExportChain {
  #mark: Mark;

  /** From the header's end, or from where an earlier writer of the same file ended. */
  constructor(mark: Mark) {
    this.#mark = mark;
  }

  get mark(): Mark {
    return this.#mark;
  }

  /** What stands before the payload. */
  frame(frame: Frame, payloadDigest: Uint8Array = NO_PAYLOAD): Buffer {
    const link = linkOf(Buffer.from(this.#mark.chain, 'hex'), frame, payloadDigest);
    this.#mark = markAfter(this.#mark, frame, link);
    return encodeFrame(frame, link);
  }

  /** The file's end. */
  end(): Buffer {
    const { disks, chain, position } = this.#mark;
    const payload = Buffer.from(JSON.stringify({ disks }));
    const frame: Frame = { kind: 'trailer', disk: 0, offset: 0, length: payload.length };
    const link = linkOf(Buffer.from(chain, 'hex'), frame, digest(payload));
    const tail = tailOf(position + FRAME_BYTES + payload.length + TAIL_BYTES);
    return Buffer.concat([encodeFrame(frame, link), payload, tail]);
  }
}
