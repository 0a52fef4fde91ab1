// Frames over a stream: a 4-byte big-endian length, then that many bytes of JSON. Both ends use this file. What is not a frame
// closes the channel: the peer has a defect, and nothing after it can be trusted.

import type { Duplex } from 'node:stream';
import { FRAME_BYTES_MAX } from '../wire/worker-protocol.ts';

const HEADER_BYTES = 4;

/** The peer sent what is not a frame. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/** @throws FrameError where the message is longer than a frame may be. */
export function encodeFrame(message: unknown, bytesMax = FRAME_BYTES_MAX): Buffer {
  const body = JSON.stringify(message);
  const lengthBytes = Buffer.byteLength(body);
  if (lengthBytes > bytesMax) throw new FrameError(`a message of ${lengthBytes} bytes is too long`);
  const frame = Buffer.allocUnsafe(HEADER_BYTES + lengthBytes);
  frame.writeUInt32BE(lengthBytes);
  frame.write(body, HEADER_BYTES);
  return frame;
}

/** Gathers chunks, cut anywhere, into messages. It holds at most one frame and one chunk. */
export class FrameReader {
  readonly #bytesMax: number;
  #chunks: Buffer[] = [];
  #heldBytes = 0;
  #wantedBytes = HEADER_BYTES;
  #isInBody = false;

  constructor(bytesMax = FRAME_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  /** The messages that this chunk completes. @throws FrameError for a length over the bound, or a body that is not a JSON object. */
  push(chunk: Buffer): object[] {
    this.#chunks.push(chunk);
    this.#heldBytes += chunk.length;
    const messages: object[] = [];
    while (this.#heldBytes >= this.#wantedBytes) {
      const part = this.#take(this.#wantedBytes);
      if (this.#isInBody) messages.push(parseBody(part));
      this.#wantedBytes = this.#isInBody ? HEADER_BYTES : this.#lengthIn(part);
      this.#isInBody = !this.#isInBody;
    }
    return messages;
  }

  #lengthIn(header: Buffer): number {
    const lengthBytes = header.readUInt32BE();
    if (lengthBytes > this.#bytesMax) throw new FrameError(`a frame of ${lengthBytes} bytes`);
    return lengthBytes;
  }

  #take(lengthBytes: number): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#chunks = [all.subarray(lengthBytes)];
    this.#heldBytes -= lengthBytes;
    return all.subarray(0, lengthBytes);
  }
}

function parseBody(body: Buffer): object {
  let message: unknown;
  try {
    message = JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new FrameError('a frame that is not JSON', { cause });
  }
  if (typeof message !== 'object' || message === null)
    throw new FrameError('a frame without object');
  return message;
}

export interface Channel<Out> {
  /** @throws FrameError for a message too long. Nothing is sent once the channel is closed. */
  send(message: Out): void;
  /** Says that no more comes; the peer ends. */
  end(): void;
}

/**
 * Speaks frames over `stream`. `onClosed` is called once, when the peer is gone or sent something else than frames.
 * A message is what the peer is trusted to send: it is this program's other half, of the same installation.
 */
export function openChannel<Out>(
  stream: Duplex,
  on: { message(message: object): void; closed(cause?: Error): void },
): Channel<Out> {
  const reader = new FrameReader();
  let isClosed = false;
  const close = (cause?: Error) => {
    if (isClosed) return;
    isClosed = true;
    stream.destroy();
    on.closed(cause);
  };
  stream.on('data', (chunk: Buffer) => {
    for (const message of read(reader, chunk, close)) if (!isClosed) on.message(message);
  });
  stream.on('error', close);
  stream.on('end', () => close());
  stream.on('close', () => close());
  return {
    send(message) {
      const frame = encodeFrame(message);
      if (!isClosed && stream.writable) stream.write(frame);
    },
    end() {
      if (!isClosed) stream.end();
    },
  };
}

function read(reader: FrameReader, chunk: Buffer, close: (cause: Error) => void): object[] {
  try {
    return reader.push(chunk);
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    close(error);
    return [];
  }
}
