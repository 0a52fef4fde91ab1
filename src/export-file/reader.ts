// Reads an export: each frame is checked, by the chain and by where it stands, before anybody sees it.

import { OperatingError } from '../wire/errors.ts';
import {
  decodeFrame,
  digest,
  FRAME_BYTES,
  type Frame,
  firstMark,
  linkOf,
  type Mark,
  markAfter,
  NO_PAYLOAD,
  PAYLOAD_BYTES_MAX,
  parseJson,
  TAIL_BYTES,
  Trailer,
  tailOf,
} from './frame.ts';
import { decodeHeader, type Header, headerBytesAfter, PREAMBLE_BYTES } from './header.ts';

/** Bytes in their order. */
export interface ByteSource {
  /** Fills `into`; gives how much, which is less only where there is no more. */
  read(into: Buffer): Promise<number>;
}

export interface Checked {
  readonly frame: Frame & { readonly kind: 'data' | 'zero' };
  /** Of `data`: the memory that was given for it. */
  readonly payload: Buffer;
  readonly payloadDigest: Buffer;
}

/** Memory for a payload, of exactly so many bytes. */
export type TakeMemory = (length: number) => Promise<Buffer> | Buffer;

export class ExportReader {
  readonly header: Header;
  readonly #source: ByteSource;
  #mark: Mark;

  private constructor(source: ByteSource, header: Header, mark: Mark) {
    this.#source = source;
    this.header = header;
    this.#mark = mark;
  }

  /** Reads the header. @throws OperatingError corrupt, mismatch */
  static async open(source: ByteSource): Promise<ExportReader> {
    const preamble = await exactly(source, PREAMBLE_BYTES, 'header');
    const rest = await exactly(source, headerBytesAfter(preamble), 'header');
    const bytes = Buffer.concat([preamble, rest]);
    const { header, chain } = decodeHeader(bytes);
    const mark = firstMark(header.state.disks.length, bytes.length, chain);
    return new ExportReader(source, header, mark);
  }

  /** After the last frame that was read. */
  get mark(): Mark {
    return this.#mark;
  }

  /** The source goes on at `mark`, which an earlier reader of the same file gave. */
  goOnFrom(mark: Mark): void {
    this.#mark = mark;
  }

  /**
   * The next frame; undefined after a trailer that says that all was there.
   * @throws OperatingError corrupt: cut, changed, or out of order
   */
  async next(memory: TakeMemory): Promise<Checked | undefined> {
    const bytes = await exactly(this.#source, FRAME_BYTES, this.#at());
    const decoded = decodeFrame(bytes);
    if (decoded === undefined) throw this.#corrupt('what stands there is no frame');
    const { frame, link } = decoded;
    if (frame.kind === 'end') throw cut(this.#at());
    const isStored = frame.kind !== 'zero';
    if (isStored && frame.length > PAYLOAD_BYTES_MAX) throw this.#corrupt('a frame is too long');
    const payload = await this.#payload(isStored ? frame.length : 0, memory);
    const payloadDigest = payload.length === 0 ? NO_PAYLOAD : digest(payload);
    const chain = Buffer.from(this.#mark.chain, 'hex');
    if (!linkOf(chain, frame, payloadDigest).equals(link)) {
      throw this.#corrupt('a digest is another: bytes were changed, or are of another export');
    }
    const { kind } = frame;
    if (kind === 'trailer') return await this.#end(frame, payload);
    this.#assertPlace(frame);
    this.#mark = markAfter(this.#mark, frame, link);
    return { frame: { ...frame, kind }, payload, payloadDigest };
  }

  async #payload(length: number, memory: TakeMemory): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0);
    const payload = await memory(length);
    if ((await this.#source.read(payload)) < length) throw cut(this.#at());
    return payload;
  }

  /** Frames follow one another, so that no byte comes twice. */
  #assertPlace({ disk, offset, length }: Frame): void {
    const { state } = this.header;
    const size = state.disks[disk]?.sizeBytes;
    if (size === undefined) throw this.#corrupt('a frame is of a disk that there is not');
    const from = disk === this.#mark.disk ? this.#mark.offset : 0;
    const isInOrder = disk >= this.#mark.disk && offset >= from;
    if (!isInOrder || length === 0) throw this.#corrupt('frames are not in order');
    if (offset + length > size) throw this.#corrupt('a frame lies beyond the end of its disk');
  }

  async #end(frame: Frame, payload: Buffer): Promise<undefined> {
    const read = Trailer.safeParse(parseJson(payload.toString('utf8')));
    const isSame =
      read.success && JSON.stringify(read.data.disks) === JSON.stringify(this.#mark.disks);
    if (!isSame) throw this.#corrupt('its trailer counts other frames than there were');
    const wanted = tailOf(this.#mark.position + FRAME_BYTES + frame.length + TAIL_BYTES);
    const tail = await exactly(this.#source, TAIL_BYTES, this.#at());
    if (!tail.equals(wanted)) throw this.#corrupt('its last bytes are others');
    return undefined;
  }

  #at(): string {
    return `byte ${this.#mark.position}`;
  }

  #corrupt(why: string): OperatingError {
    return new OperatingError({ code: 'corrupt', op: 'read export', subject: this.#at(), why });
  }
}

async function exactly(source: ByteSource, length: number, at: string): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  if ((await source.read(bytes)) === length) return bytes;
  throw cut(at);
}

function cut(subject: string): OperatingError {
  const why = 'it ends before its trailer: the file was cut';
  const hint = 'Make the export again with the same command: it goes on where it ended.';
  return new OperatingError({ code: 'corrupt', op: 'read export', subject, why, hint });
}
